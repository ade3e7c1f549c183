//! The flow cache: a burst of frames on its way through it.

use super::frames::{Draw, Frame, Headers, Strangers};
use super::subject::{Subject, Work};
use super::table::{PORT, Table};
use crate::clock::ticks;
use crate::slot::pages;
use anyhow::{Context, Result, bail};
use sluice::{BufferLen, Burst, Mempool, PacketMemory, PeerSlice};
use sluice_memory::CacheLine;
use sluice_switch::{
    BURST, Front, Head, Hit, Layers, Parsed, Reader, Report, Seed, Shape, Statistics, Verdict, Writer,
};
use sluice_vnf::clock::about_now;
use std::fs;
use std::sync::atomic::Ordering::Relaxed;

const SEED: [u64; 2] = [0x5851_f42d_4c95_7f2d, 0x1405_7b7e_f767_814f];
/// Bytes of packet memory.
const PACKETS: usize = 512 << 10;

/// A reader of a table, and a burst.
pub struct Cache {
    memory: &'static [CacheLine],
    reader: Reader<'static>,
    report: Report<&'static CacheLine>,
    records: &'static [CacheLine],
    statistics: Statistics<'static>,
    /// When the burst began, and its epoch.
    now: u64,
    epoch: u64,
    burst: Burst<'static>,
    heads: Box<[Head; BURST]>,
    parsed: [Parsed; BURST],
    hits: [Option<Hit>; BURST],
    sent: usize,
    headers: Headers,
    draw: Draw,
    /// Whose frames come in bursts between those that are measured.
    strangers: Option<Strangers>,
}

/// The other side of a table.
pub struct Host {
    /// The table's writer.
    pub writer: Writer<'static>,
    /// Where its reader reports.
    pub report: &'static CacheLine,
}

/// A part of the work.
type Stage = fn(&mut Cache);
const ALL: &[Stage] = &[Cache::load, Cache::parse, Cache::look_up, Cache::act, Cache::count, Cache::report];

impl Cache {
    /// Makes `table`, in large pages if there are any, for frames with `headers` of `flows` flows. It is there for as
    /// long as the program runs.
    pub fn new(table: Table, flows: u32, large: bool, headers: Headers) -> Result<Self> {
        Self::with_host(table, flows, large, headers).map(|(cache, _)| cache)
    }

    /// As [`Cache::new`], and returns the table's other side as well.
    pub fn with_host(table: Table, flows: u32, large: bool, headers: Headers) -> Result<(Self, Host)> {
        let entries = table.entries(flows);
        let shape = Shape { entries, lists: 1 };
        let memory = lines(shape.lines(), large)?;
        let (records, report) = (lines(entries as usize, large)?, &lines(1, false)?[0]);
        let mut writer = Writer::new(memory, shape, Seed::new(SEED))?;
        table.fill(&mut writer, flows)?;
        let front = if table == Table::Front {
            Front::new(pages((2 * flows).next_power_of_two().max(4096) as usize, large)?)
        } else {
            None
        };
        let cache = Self {
            memory,
            reader: Reader::new(memory, shape, Seed::new(SEED), front)?,
            report: Report::new(report),
            records,
            statistics: Statistics::new(records).context("records")?,
            now: 0,
            epoch: 0,
            burst: pool()?.burst(),
            heads: Box::new([Head::EMPTY; BURST]),
            parsed: [Parsed::default(); BURST],
            hits: [None; BURST],
            sent: 0,
            headers,
            draw: Draw::new(flows),
            strangers: None,
        };
        Ok((cache, Host { writer, report }))
    }

    /// Lets a burst of `strangers`, of which no entry wants any, go the whole way before each burst that is measured.
    pub fn among(mut self, strangers: Strangers) -> Self {
        self.strangers = Some(strangers);
        self
    }

    /// Returns the share of the table's memory that is in large pages.
    pub fn large_share(&self) -> Result<f64> {
        large_share(&fs::read_to_string("/proc/self/smaps")?, self.memory.as_ptr() as u64)
            .context("/proc/self/smaps says nothing of the table")
    }

    #[inline(never)]
    fn load(&mut self) {
        for (head, frame) in self.heads.iter_mut().zip(self.burst.frames()) {
            head.load(&frame);
        }
    }

    #[inline(never)]
    fn parse(&mut self) {
        for ((parsed, head), frame) in self.parsed.iter_mut().zip(self.heads.iter()).zip(self.burst.frames()) {
            parsed.parse(0, head.bytes(), frame.len());
        }
    }

    #[inline(never)]
    fn look_up(&mut self) {
        self.now = about_now();
        if let Some(epoch) = self.reader.begin(&mut self.report, self.now) {
            self.epoch = epoch;
            self.find();
        }
    }

    /// Looks up without asking for epoch, lease and time.
    #[inline(never)]
    fn find(&mut self) {
        self.reader.look_up(self.epoch, &self.parsed, &mut self.hits);
        self.statistics.prefetch(&self.hits);
    }

    #[inline(never)]
    fn act(&mut self) {
        self.sent = 0;
        for (at, (parsed, hit)) in self.parsed.iter().zip(&self.hits).enumerate() {
            if let (Some(hit), Ok(mut frame)) = (hit, self.burst.frame_mut(at)) {
                let verdict = self.reader.apply(hit, &mut frame, &mut self.heads[at], parsed);
                self.sent += usize::from(verdict == Some(Verdict::Output(PORT)));
            }
        }
    }

    #[inline(never)]
    fn count(&mut self) {
        let frames = self.parsed.iter().zip(&self.hits).zip(self.burst.frames());
        let counts =
            frames.filter_map(|((parsed, hit), frame)| Some(((*hit)?, frame.len(), parsed.key.tcp_flags.get())));
        self.statistics.add(self.now, counts);
    }

    #[inline(never)]
    fn report(&mut self) {
        self.reader.end(&mut self.report);
    }

    /// Fills the burst with frames of flows that are drawn.
    fn refill(&mut self) -> Result<()> {
        self.burst.clear();
        for _ in 0..BURST {
            self.burst.push_bytes(Frame::of(self.headers, self.draw.next()).bytes())?;
        }
        Ok(())
    }

    /// Lets a burst of strangers go by.
    fn pass(&mut self) -> Result<()> {
        let Some(strangers) = &mut self.strangers else { return Ok(()) };
        self.burst.clear();
        for _ in 0..BURST {
            self.burst.push_bytes(&strangers.next())?;
        }
        ALL.iter().for_each(|stage| stage(self));
        let hits = self.hits.iter().flatten().count();
        if hits == 0 { Ok(()) } else { bail!("{hits} strangers have entries") }
    }

    /// Returns the packets that were counted for an entry.
    fn packets(&self, hit: &Hit) -> u64 {
        self.records[hit.entry as usize].words()[1].load(Relaxed)
    }

    /// Checks what came of a burst of `work`.
    fn check(&self, work: Work) -> Result<()> {
        let (hits, sent) = (self.hits.iter().flatten().count(), self.sent);
        let whole = self.parsed.iter().filter(|parsed| parsed.key.layers.contains(Layers::TRANSPORT)).count();
        match work {
            Work::Load => Ok(()),
            _ if whole != BURST => bail!("{whole} frames of {BURST} are known to the end"),
            Work::Parse => Ok(()),
            _ if hits != BURST => bail!("the flow cache finds {hits} flows of {BURST}"),
            Work::Lookup | Work::Bare | Work::Consistent => Ok(()),
            _ if sent != BURST => bail!("the flow cache sends {sent} frames of {BURST}"),
            Work::Act => Ok(()),
            _ if !self.hits.iter().flatten().all(|hit| self.packets(hit) > 0) => bail!("a flow has no packets"),
            _ => Ok(()),
        }
    }
}

impl Subject for Cache {
    fn burst(&mut self, work: Work) -> Result<u64> {
        let (before, timed): (_, &[Stage]) = match work {
            Work::Load => (0, &ALL[..1]),
            Work::Parse => (1, &ALL[1..2]),
            Work::Lookup => (2, &ALL[2..3]),
            Work::Bare => (2, &[Self::find]),
            Work::Consistent => (2, &[Self::look_up, Self::report]),
            Work::Act => (3, &ALL[3..4]),
            Work::Count => (4, &ALL[4..]),
            Work::All => (0, ALL),
        };
        self.pass()?;
        self.refill()?;
        ALL[..before].iter().for_each(|stage| stage(self));
        self.epoch = self.reader.epoch();
        let start = ticks();
        timed.iter().for_each(|stage| stage(self));
        let spent = ticks() - start;
        self.check(work)?;
        Ok(spent)
    }
}

/// A cache, and what is measured is the look-up of strangers.
pub struct Missing(pub Cache);

impl Subject for Missing {
    fn burst(&mut self, _work: Work) -> Result<u64> {
        let cache = &mut self.0;
        let strangers = cache.strangers.as_mut().context("no strangers")?;
        cache.burst.clear();
        for _ in 0..BURST {
            cache.burst.push_bytes(&strangers.next())?;
        }
        ALL[..2].iter().for_each(|stage| stage(cache));
        let start = ticks();
        cache.look_up();
        let spent = ticks() - start;
        if cache.hits.iter().flatten().count() == 0 { Ok(spent) } else { bail!("a stranger has an entry") }
    }
}

/// Returns `count` cache lines of zeros, which stay.
fn lines(count: usize, large: bool) -> Result<&'static [CacheLine]> {
    PeerSlice::from_mut(pages(count * CacheLine::WORDS, large)?).lines().context("lines")
}

/// Returns a pool of packets in memory of its own, which stays.
fn pool() -> Result<&'static mut Mempool<'static>> {
    let packets = PeerSlice::from_mut(vec![0u64; PACKETS / size_of::<u64>()].leak());
    let memory = PacketMemory::new(sluice_abi::Gpa(0), packets).context("packet memory")?;
    let pool = Mempool::new(memory, BufferLen::KiB2, vec![0; 2 * BURST].leak()).context("no room for packets")?;
    Ok(Box::leak(Box::new(pool)))
}

/// Returns the share of the resident memory around address `at` that is in large pages, by the text of smaps.
/// See: proc_pid_smaps(5).
fn large_share(smaps: &str, at: u64) -> Option<f64> {
    let holds = |line: &str| {
        let (from, to) = line.split_whitespace().next()?.split_once('-')?;
        let [from, to] = [from, to].map(|number| u64::from_str_radix(number, 16).ok());
        Some((from?..to?).contains(&at))
    };
    let lines = || smaps.lines().skip_while(|line| holds(line) != Some(true)).skip(1);
    let size = |name: &str| lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    let (resident, large): (f64, f64) = (size("Rss:")?, size("AnonHugePages:")?);
    (resident > 0.0).then(|| large / resident)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "7f0000000000-7f0000400000 rw-p 00000000 00:00 0\nRss:  100 kB\nAnonHugePages: 0 kB\n\
        7f0000400000-7f0000800000 rw-p 00000000 00:00 0\nRss:  4096 kB\nAnonHugePages:  2048 kB\n";

    #[test]
    fn the_share_is_that_of_the_mapping_around_the_address() {
        assert_eq!(large_share(SMAPS, 0x7f00_0040_0000), Some(0.5));
        assert_eq!(large_share(SMAPS, 0x7f00_003f_ffff), Some(0.0));
        assert_eq!(large_share(SMAPS, 0x7f00_0080_0000), None);
    }

    #[test]
    fn a_flow_without_an_entry_is_an_error() {
        let mut cache = Cache::new(Table::Exact, 100, false, Headers::Ipv4).unwrap();
        assert!((0..50).all(|_| cache.burst(Work::Lookup).is_ok() && cache.burst(Work::All).is_ok()));
        cache.draw = Draw::new(101);
        let error = (0..50).find_map(|_| cache.burst(Work::Lookup).err()).unwrap().to_string();
        assert!(error.contains("finds 31 flows of 32") || error.contains("finds 30 flows of 32"), "{error}");
        let error = (0..50).find_map(|_| cache.burst(Work::All).err()).unwrap().to_string();
        assert!(error.contains("finds 31 flows of 32") || error.contains("finds 30 flows of 32"), "{error}");
    }

    #[test]
    fn all_packets_of_all_work_are_counted() {
        let mut cache = Cache::new(Table::Wide, 100, false, Headers::Ipv4).unwrap();
        assert!((0..50).all(|_| cache.burst(Work::All).is_ok()));
        assert_eq!(cache.packets(&cache.hits[0].unwrap()), 50 * BURST as u64);
    }
}
