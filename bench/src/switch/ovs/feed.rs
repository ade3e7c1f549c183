//! What rte_vhost/feeder.c is told, and what it measured: a file that it maps, `struct feed`.

use crate::quiet::Beside;
use crate::switch::frames::{Frame, Headers, PLAIN};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Bursts of a chunk, and packets of a burst.
const CHUNK: u64 = 64;
const BURST: u64 = 32;
/// Chunks that the file has room for, and words of each.
const KEPT: u64 = 4096;
const CHUNK_WORDS: u64 = 3;
/// Words of the file, and where in it a frame and the chunks are.
const FLOWS: u64 = 0;
const DESTINATIONS: u64 = 1;
const ASKED: u64 = 2;
const BEGUN: u64 = 3;
const DONE: u64 = 4;
const BEST: u64 = 5;
const SAMPLE: u64 = 6;
const CHUNKS: u64 = 14;
const WORDS: u64 = CHUNKS + CHUNK_WORDS * KEPT;
/// Time within which a program that is fed asks for packets.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was measured of a number of bursts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chunk {
    /// Ticks a packet.
    ticks: f64,
    beside: Beside,
}

/// What was measured of one program at one work.
pub struct Series(Vec<Chunk>);

impl Series {
    /// Returns the series of chunks with these ticks a packet and these readings.
    #[cfg(test)]
    pub fn of(chunks: impl IntoIterator<Item = (f64, u64)>) -> Self {
        let beside = |slower| Beside { slower, switched: false };
        Self(chunks.into_iter().map(|(ticks, slower)| Chunk { ticks, beside: beside(slower) }).collect())
    }

    /// Returns the number of chunks.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the ticks of the chunks that count by `best`, the best reading of all series.
    pub fn quiet(&self, best: u64) -> Vec<f64> {
        self.0.iter().filter(|chunk| chunk.beside.counts(best)).map(|chunk| chunk.ticks).collect()
    }
}

/// The file.
pub struct Feed {
    file: File,
    path: PathBuf,
    series: u64,
    /// The best reading so far of the loop of fixed work.
    pub best: u64,
}

impl Feed {
    /// Makes the file in `folder`. Nothing is fed yet.
    pub fn new(folder: &Path) -> Result<Self> {
        let path = folder.join("feed");
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        file.set_len(8 * WORDS)?;
        Ok(Self { file, path, series: 0, best: u64::MAX })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Feeds frames of `flows` flows, to this number of destinations. Without flows, nothing is fed.
    pub fn give(&self, flows: u32, destinations: u32) -> Result<()> {
        self.set(DESTINATIONS, destinations.into())?;
        self.set(FLOWS, flows.into())
    }

    /// Measures for as long as `enough` says, and four times as long if fewer than `fewest` chunks count; and checks a
    /// frame that is fed.
    pub fn measure(&mut self, enough: Duration, fewest: usize) -> Result<Series> {
        self.series += 1;
        self.set(ASKED, self.series)?;
        let start = Instant::now();
        while self.get(BEGUN)? != self.series {
            if start.elapsed() > PATIENCE {
                bail!("nobody asks for packets");
            }
            sleep(Duration::from_millis(5));
        }
        self.check()?;
        let start = Instant::now();
        loop {
            sleep(enough);
            let series = self.read()?;
            self.best = self.best.min(self.get(BEST)?);
            if start.elapsed() >= 4 * enough || series.quiet(self.best).len() >= fewest {
                return Ok(series);
            }
        }
    }

    /// Compares the frame that the feeder shows, of the last flow, with the one that others get.
    fn check(&self) -> Result<()> {
        let flow = self.get(FLOWS)?.saturating_sub(1) as u32;
        let mut wanted = Frame::of(Headers::Ipv4, flow).bytes().to_vec();
        wanted[5] = flow.checked_rem(self.get(DESTINATIONS)? as u32).unwrap_or(0) as u8;
        let mut fed = [0; PLAIN];
        self.file.read_exact_at(&mut fed, 8 * SAMPLE)?;
        if fed[..] == wanted[..] { Ok(()) } else { bail!("flow {flow} is fed as {fed:x?}, and is {wanted:x?}") }
    }

    fn read(&self) -> Result<Series> {
        let count = self.get(DONE)?.min(KEPT);
        let chunk = |number| {
            let [ticks, slower, switched] = [0, 1, 2].map(|at| self.get(CHUNKS + CHUNK_WORDS * number + at));
            let ticks = ticks? as f64 / (CHUNK * BURST) as f64;
            Ok(Chunk { ticks, beside: Beside { slower: slower?, switched: switched? != 0 } })
        };
        (0..count).map(chunk).collect::<Result<_>>().map(Series)
    }

    fn get(&self, word: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 8 * word).with_context(|| self.path.display().to_string())?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn set(&self, word: u64, value: u64) -> Result<()> {
        self.file.write_all_at(&value.to_ne_bytes(), 8 * word).with_context(|| self.path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(ticks: f64, slower: u64, switched: bool) -> Chunk {
        Chunk { ticks, beside: Beside { slower, switched } }
    }

    #[test]
    fn a_chunk_counts_by_the_best_reading_of_all_series() {
        let series = Series(vec![chunk(1.0, 115, false), chunk(2.0, 100, true), chunk(3.0, 100, false)]);
        assert_eq!((series.quiet(100), series.quiet(99), series.count()), (vec![1.0, 3.0], vec![3.0], 3));
    }

    /// Here the test is the feeder: it writes one frame of another flow, then the right one, and more chunks than there
    /// are.
    #[test]
    fn a_feeder_whose_frames_are_others_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut feed = Feed::new(folder.path()).unwrap();
        feed.give(100, 1).unwrap();
        feed.set(BEGUN, 1).unwrap();
        let error = feed.measure(Duration::ZERO, 0).err().unwrap().to_string();
        assert!(error.starts_with("flow 99 is fed as"), "{error}");
        let mut frame = Frame::of(Headers::Ipv4, 99).bytes().to_vec();
        frame[5] = 0;
        feed.file.write_all_at(&frame, 8 * SAMPLE).unwrap();
        let words = [(BEGUN, 2), (DONE, 1 << 40), (BEST, 4), (CHUNKS, 64 * 32 * 7), (CHUNKS + 1, 5), (CHUNKS + 2, 1)];
        words.iter().for_each(|&(word, value)| feed.set(word, value).unwrap());
        let series = feed.measure(Duration::ZERO, 0).unwrap();
        assert_eq!((series.count(), series.0[0], feed.best), (KEPT as usize, chunk(7.0, 5, true), 4));
    }
}
