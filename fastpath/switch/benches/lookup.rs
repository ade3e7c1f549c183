//! Ticks of the time-stamp counter a packet, on one core, in bursts of 32: parsing, look-up with lease and prefetch of
//! statistics, actions (two MAC addresses, time to live, output), and counting with the report, for tables of three
//! kinds and flows of four numbers. Before that, what a burst costs with its report word alone.
//!
//! Frames have 60 bytes, TCP and UDP over IPv4 in turn, flows come one after the other in a mixed order. A chunk of 64
//! bursts counts if a loop of fixed work before and after it was not slowed down; a figure is the median of the chunks
//! that count. `cargo bench -p sluice-switch --bench lookup`, with `-- --quick` for a tenth of the chunks.

use sluice::{BufferLen, Burst, Mempool, PacketMemory, PeerSlice};
use sluice_memory::CacheLine;
use sluice_switch::{
    Action, ActionList, BURST, Front, Head, Hit, Key, Layers, Mask, Parsed, Reader, Report, Seed, Shape, Statistics,
    Writer,
};
use sluice_vnf::clock::now;
use std::hint::black_box;
use zerocopy::network_endian::U16;

const SEED: [u64; 2] = [0x5851_f42d_4c95_7f2d, 0x1405_7b7e_f767_814f];
const FRAME: usize = 60;
const FLOWS: [u32; 4] = [10, 1_000, 64_000, 1_000_000];
const CHUNK: usize = 64;
const CHUNKS: usize = 200;

/// Which flow entries there are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// One for all flows.
    Wide,
    /// One for each flow.
    Exact,
    /// 32, under 16 masks, looked up in the subtables alone.
    Masks,
    /// The same, with an exact-match front of twice as many places as there are flows, and at least 4,096.
    Front,
}

fn main() {
    parsing();
    reporting();
    let chunks = if std::env::args().any(|it| it == "--quick") { CHUNKS / 10 } else { CHUNKS };
    println!(
        "{:>8} {:>9} {:>6} {:>7} {:>8} {:>8} {:>7} {:>7} {:>6}",
        "table", "flows", "load", "parse", "look-up", "actions", "counts", "all", "quiet"
    );
    for kind in [Kind::Wide, Kind::Exact, Kind::Masks, Kind::Front] {
        for flows in FLOWS {
            row(kind, flows, chunks);
        }
    }
}

/// Prints what parsing costs, by kind of frame: one frame 32 times.
fn parsing() {
    let plain = frame(1);
    let tagged = [&plain[..12], &[0x81, 0, 0, 5], &plain[12..]].concat();
    let v6 = [&plain[..12], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64], &[0xfd; 32], &frame(0)[34..54]].concat();
    let nsh = [&plain[..12], &[0x89, 0x4f, 0x0f, 0xc6, 1, 3, 0, 0, 1, 255], &[0; 16], &plain].concat();
    println!("{:>8} {:>7}", "frame", "parse");
    for (name, frame) in [("IPv4", plain.to_vec()), ("VLAN", tagged), ("IPv6", v6), ("NSH", nsh)] {
        let mut parsed = [Parsed::default(); BURST];
        let turn = |_| {
            let start = now();
            for parsed in black_box(&mut parsed) {
                parsed.parse(0, black_box(&frame), frame.len() as u16);
            }
            (now() - start).saturating_sub(empty()) as f64 / BURST as f64
        };
        println!("{name:>8} {:>7.1}", median((0..20_000).map(turn).collect()));
        assert!(parsed[0].key.layers.contains(Layers::TRANSPORT));
    }
}

/// Prints what a burst costs that does nothing but begin and end: of a reader that polls, and of one that rests behind
/// each burst and so begins each with a full fence.
fn reporting() {
    let shape = Shape { entries: 4, lists: 1 };
    let (memory, line) = (lines(shape.lines()), CacheLine::default());
    let mut writer = Writer::new(&memory, shape, Seed::new(SEED)).expect("a table");
    writer.lease(u64::MAX);
    writer.publish();
    let reader = Reader::new(&memory, shape, Seed::new(SEED), None).expect("a table");
    let mut report = Report::new(&line);
    println!("{:>8} {:>7}", "reader", "burst");
    for (name, rests) in [("polls", false), ("rests", true)] {
        let turn = |_| {
            let start = now();
            for at in 0..CHUNK as u64 {
                black_box(reader.begin(black_box(&mut report), at));
                reader.end(black_box(&mut report));
                if rests {
                    report.rest();
                }
            }
            (now() - start).saturating_sub(empty()) as f64 / CHUNK as f64
        };
        println!("{name:>8} {:>7.1}", median((0..20_000).map(turn).collect()));
    }
}

fn lines(count: usize) -> Vec<CacheLine> {
    (0..count).map(|_| CacheLine::default()).collect()
}

fn row(kind: Kind, flows: u32, chunks: usize) {
    let shape = Shape { entries: if kind == Kind::Exact { flows.next_power_of_two() } else { 32 }, lists: 1 };
    let (memory, records, line) = (lines(shape.lines()), lines(shape.entries as usize), CacheLine::default());
    let mut writer = Writer::new(&memory, shape, Seed::new(SEED)).expect("a table");
    writer.lease(u64::MAX);
    fill(&mut writer, kind, flows);
    let mut words = vec![0; (2 * flows).next_power_of_two().max(4096) as usize];
    let front = (kind == Kind::Front).then(|| Front::new(&mut words).expect("a power of two"));
    let reader = Reader::new(&memory, shape, Seed::new(SEED), front).expect("a table");
    let packets = PeerSlice::from_mut(vec![0u64; 64 << 10].leak());
    let pool = PacketMemory::new(sluice_vnf::abi::Gpa(0), packets).expect("small");
    let mut free = [0; 64];
    let pool = Mempool::new(pool, BufferLen::KiB2, &mut free).expect("room");
    let (report, statistics) = (Report::new(&line), Statistics::new(&records).expect("a power of two"));
    let heads = Box::new([Head::EMPTY; BURST]);
    let mut run = Run { reader, report, statistics, burst: pool.burst(), heads, flows, at: 0 };
    (0..flows as usize / BURST / CHUNK + 20).for_each(|_| _ = run.chunk());
    let (mut kept, mut tries) = (Vec::new(), 0);
    while kept.len() < chunks && tries < 50 * chunks {
        tries += 1;
        let before = work();
        let chunk = run.chunk();
        if before.max(work()) * 100 <= 115 * best() {
            kept.push(chunk);
        }
    }
    let part = |at: usize| median(kept.iter().map(|chunk| chunk[at]).collect());
    let all = median(kept.iter().map(|chunk| chunk.iter().sum()).collect());
    let share = 100 * kept.len() / tries;
    println!(
        "{kind:>8?} {flows:>9} {:>6.1} {:>7.1} {:>8.1} {:>8.1} {:>7.1} {all:>7.1} {share:>5}%",
        part(0),
        part(1),
        part(2),
        part(3),
        part(4)
    );
}

/// Adds the entries, each of which sends its frames on as a router does.
fn fill(writer: &mut Writer<'_>, kind: Kind, flows: u32) {
    let actions = [Action::SetDestination([2; 6]), Action::SetSource([4; 6]), Action::DecrementTtl, Action::Output(1)];
    let actions = ActionList::new(&actions, 2).expect("a list");
    let base = Key { ether_type: U16::new(0xffff), in_port: 0xffff, ..Key::default() };
    let mut insert = |flow, mask: Key| {
        let parsed = Parsed::of(0, &frame(flow), FRAME as u16);
        writer.insert(&parsed.key, &Mask::closed(mask), &actions).expect("room");
    };
    match kind {
        Kind::Wide => insert(0, base),
        Kind::Exact => (0..flows).for_each(|flow| insert(flow, exact(base))),
        Kind::Masks | Kind::Front => {
            for flow in 0..32 {
                let mut source = [0; 6];
                source[usize::from(flow as u16 % 16 / 8)] = 1 << (flow % 8);
                insert(flow, Key { destination: [0xff; 6], source, ..base });
            }
        }
    }
    writer.publish();
}

/// Returns the mask of all that tells the flows of [`frame`] apart, and of what a switch sees besides.
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

/// Returns a frame of a flow. Its destination is one of 32.
fn frame(flow: u32) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, flow as u8 % 32, 6, 6, 0, 0, 0, 1, 8, 0]);
    frame[14..24].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, if flow.is_multiple_of(2) { 6 } else { 17 }]);
    let mixed = u64::from(flow).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    frame[26..30].copy_from_slice(&flow.to_be_bytes());
    frame[30..38].copy_from_slice(&mixed.to_be_bytes());
    // The length of UDP; the sequence number of TCP.
    frame[38..40].copy_from_slice(&[0, 26]);
    frame[46] = 0x50;
    frame
}

/// What is measured, and how far it is.
struct Run<'m> {
    reader: Reader<'m>,
    report: Report<&'m CacheLine>,
    statistics: Statistics<'m>,
    burst: Burst<'m>,
    heads: Box<[Head; BURST]>,
    flows: u32,
    at: u32,
}

impl Run<'_> {
    /// Returns the ticks a packet of the parts in one chunk.
    fn chunk(&mut self) -> [f64; 5] {
        let mut sums = [0; 5];
        for _ in 0..CHUNK {
            let parts = self.one_burst();
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        sums.map(|sum| sum as f64 / (CHUNK * BURST) as f64)
    }

    fn one_burst(&mut self) -> [u64; 5] {
        self.burst.clear();
        for _ in 0..BURST {
            // A step that has no divisor in common with the number of flows.
            self.at = (self.at + 7_919) % self.flows;
            self.burst.push_bytes(&frame(self.at)).expect("room");
        }
        let (mut parsed, mut hits) = ([Parsed::default(); BURST], [None; BURST]);
        let begin = now();
        for (head, frame) in self.heads.iter_mut().zip(self.burst.frames()) {
            head.load(&frame);
        }
        let start = now();
        for (parsed, head) in parsed.iter_mut().zip(black_box(self.heads.iter())) {
            parsed.parse(0, head.bytes(), FRAME as u16);
        }
        let parse = now();
        let epoch = self.reader.begin(&mut self.report, parse).expect("a lease");
        self.reader.look_up(epoch, black_box(&parsed), &mut hits);
        self.statistics.prefetch(&hits);
        let look_up = now();
        self.act(&parsed, black_box(&hits));
        let act = now();
        self.count(&parsed, black_box(&hits), act);
        self.reader.end(&mut self.report);
        let end = now();
        let spent = |from: u64, to: u64| (to - from).saturating_sub(empty());
        [spent(begin, start), spent(start, parse), spent(parse, look_up), spent(look_up, act), spent(act, end)]
    }

    #[inline(never)]
    fn act(&mut self, parsed: &[Parsed; BURST], hits: &[Option<Hit>; BURST]) {
        for (at, (parsed, hit)) in parsed.iter().zip(hits).enumerate() {
            let list = self.reader.actions(hit.as_ref().expect("a hit")).expect("it stays");
            let mut frame = self.burst.frame_mut(at).expect("a frame");
            black_box(list.apply(&mut frame, &mut self.heads[at], parsed));
        }
    }
}

impl Run<'_> {
    #[inline(never)]
    fn count(&mut self, parsed: &[Parsed; BURST], hits: &[Option<Hit>; BURST], now: u64) {
        let frames = hits.iter().zip(parsed);
        let frames = frames.map(|(hit, parsed)| (hit.expect("a hit"), FRAME as u16, parsed.key.tcp_flags.get()));
        self.statistics.add(now, frames);
    }
}

/// Ticks of a fixed piece of work.
fn work() -> u64 {
    let start = now();
    black_box((0..200u64).fold(1u64, |all, it| black_box(all.wrapping_mul(3) ^ it)));
    now() - start
}

/// The least ticks of [`work`] on this machine.
fn best() -> u64 {
    static BEST: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *BEST.get_or_init(|| (0..100_000).map(|_| work()).min().unwrap_or(0))
}

/// The least ticks from one reading of the counter to the next.
fn empty() -> u64 {
    static EMPTY: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *EMPTY.get_or_init(|| (0..10_000).map(|_| now().abs_diff(now())).min().unwrap_or(0))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
