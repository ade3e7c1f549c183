//! The flow cache: its tables, and a burst of frames on its way through it.

use super::frames::{Draw, Frame, Headers};
use super::subject::{Subject, Work};
use crate::clock::ticks;
use crate::slot::pages;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use sluice::{BufferLen, Burst, Mempool, PacketMemory, PeerSlice};
use sluice_memory::CacheLine;
use sluice_switch::{
    Action, ActionList, BURST, Front, Head, Hit, Key, Layers, Mask, Parsed, Reader, Report, Seed, Shape, Statistics,
    Verdict, Writer,
};
use std::fs;
use std::sync::atomic::Ordering::Relaxed;
use zerocopy::network_endian::U16;

const SEED: [u64; 2] = [0x5851_f42d_4c95_7f2d, 0x1405_7b7e_f767_814f];
/// Bytes of packet memory.
const PACKETS: usize = 512 << 10;
/// The port that every flow leaves by.
const PORT: u16 = 1;
/// Entries of a table that does not have one for each flow.
const FEW: u32 = 32;

/// Which flow entries there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// One for all flows.
    Wide,
    /// One for each flow, under one mask.
    Exact,
    /// 32, under 16 masks, looked up in the subtables alone.
    Subtables,
    /// The same, with an exact-match front of twice as many places as there are flows, and at least 4,096.
    Front,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Wide, Self::Exact, Self::Subtables, Self::Front];

    /// Returns the number of masks.
    pub const fn masks(self) -> u16 {
        if matches!(self, Self::Subtables | Self::Front) { 16 } else { 1 }
    }

    /// Adds the entries, each of which sends its frames on as a router does. Those of `flows` flows have theirs.
    pub fn fill(self, writer: &mut Writer<'_>, flows: u32) -> Result<()> {
        let actions =
            [Action::SetDestination([2; 6]), Action::SetSource([4; 6]), Action::DecrementTtl, Action::Output(PORT)];
        let actions = ActionList::new(&actions, PORT + 1)?;
        let base = Key { ether_type: U16::new(0xffff), in_port: 0xffff, ..Key::default() };
        let mut insert = |flow, mask: Key| {
            let frame = Frame::of(Headers::Ipv4, flow);
            let parsed = Parsed::of(0, frame.bytes(), frame.bytes().len() as u16);
            writer.insert(&parsed.key, &Mask::closed(mask), &actions).map(drop)
        };
        match self {
            Self::Wide => insert(0, base)?,
            Self::Exact => (0..flows).try_for_each(|flow| insert(flow, exact(base)))?,
            Self::Subtables | Self::Front => {
                (0..FEW).try_for_each(|flow| insert(flow, one_of_sixteen(base, flow as u16 % 16)))?
            }
        }
        writer.lease(u64::MAX);
        writer.publish();
        Ok(())
    }
}

/// Returns the mask of all that tells flows apart, and of what a switch sees besides.
fn exact(base: Key) -> Key {
    Key {
        destination: [0xff; 6],
        source: [0xff; 6],
        ipv4_source: [0xff; 4],
        ipv4_destination: [0xff; 4],
        layers: Layers::all(),
        source_port: U16::new(0xffff),
        destination_port: U16::new(0xffff),
        protocol: 0xff,
        tos: 0xff,
        ..base
    }
}

/// Returns the mask of the destination, and of one bit of the source.
fn one_of_sixteen(base: Key, number: u16) -> Key {
    let mut source = [0; 6];
    source[usize::from(number / 8)] = 1 << (number % 8);
    Key { destination: [0xff; 6], source, ..base }
}

/// A reader of a table, and a burst.
pub struct Cache {
    memory: &'static [CacheLine],
    reader: Reader<'static>,
    report: Report<&'static CacheLine>,
    records: &'static [CacheLine],
    statistics: Statistics<'static>,
    /// When the burst began.
    now: u64,
    burst: Burst<'static>,
    heads: Box<[Head; BURST]>,
    parsed: [Parsed; BURST],
    hits: [Option<Hit>; BURST],
    sent: usize,
    headers: Headers,
    draw: Draw,
}

impl Cache {
    /// Makes `table`, in large pages if there are any, for frames with `headers` of `flows` flows. It is there for as
    /// long as the program runs.
    pub fn new(table: Table, flows: u32, large: bool, headers: Headers) -> Result<Self> {
        let entries = if table == Table::Exact { flows.next_power_of_two().max(4) } else { FEW };
        let shape = Shape { entries, lists: 1 };
        let memory = lines(shape.lines(), large)?;
        let records = lines(entries as usize, large)?;
        table.fill(&mut Writer::new(memory, shape, Seed::new(SEED))?, flows)?;
        let front = if table == Table::Front {
            Front::new(pages((2 * flows).next_power_of_two().max(4096) as usize, large)?)
        } else {
            None
        };
        Ok(Self {
            memory,
            reader: Reader::new(memory, shape, Seed::new(SEED), front)?,
            report: Report::new(&lines(1, false)?[0]),
            records,
            statistics: Statistics::new(records).context("records")?,
            now: 0,
            burst: pool()?.burst(),
            heads: Box::new([Head::EMPTY; BURST]),
            parsed: [Parsed::default(); BURST],
            hits: [None; BURST],
            sent: 0,
            headers,
            draw: Draw::new(flows),
        })
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
        self.now = ticks();
        if let Some(epoch) = self.reader.begin(&mut self.report, self.now) {
            self.reader.look_up(epoch, &self.parsed, &mut self.hits);
            self.statistics.prefetch(&self.hits);
        }
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

    /// Returns the packets that were counted for an entry.
    fn packets(&self, hit: &Hit) -> u64 {
        self.records[hit.entry as usize].words()[1].load(Relaxed)
    }

    /// Checks what came of a burst whose last stage was `last`.
    fn check(&self, last: usize) -> Result<()> {
        let (hits, sent) = (self.hits.iter().flatten().count(), self.sent);
        let whole = self.parsed.iter().filter(|parsed| parsed.key.layers.contains(Layers::TRANSPORT)).count();
        match last {
            1.. if whole != BURST => bail!("{whole} frames of {BURST} are known to the end"),
            2.. if hits != BURST => bail!("the flow cache finds {hits} flows of {BURST}"),
            3.. if sent != BURST => bail!("the flow cache sends {sent} frames of {BURST}"),
            4.. if !self.hits.iter().flatten().all(|hit| self.packets(hit) > 0) => bail!("a flow has no packets"),
            _ => Ok(()),
        }
    }
}

impl Subject for Cache {
    fn burst(&mut self, work: Work) -> Result<u64> {
        const STAGES: [fn(&mut Cache); 5] = [Cache::load, Cache::parse, Cache::look_up, Cache::act, Cache::count];
        let (first, last) = match work {
            Work::Load => (0, 0),
            Work::Parse => (1, 1),
            Work::Lookup => (2, 2),
            Work::Act => (3, 3),
            Work::Count => (4, 4),
            Work::All => (0, 4),
        };
        self.refill()?;
        STAGES[..first].iter().for_each(|stage| stage(self));
        let start = ticks();
        STAGES[first..=last].iter().for_each(|stage| stage(self));
        let spent = ticks() - start;
        self.check(last)?;
        Ok(spent)
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
