//! The key of any frame, and a flow table of any words.

use arbitrary::Arbitrary;
use sluice::{BufferLen, Mempool, PacketMemory};
use sluice_abi::Gpa;
use sluice_memory::{CacheLine, PeerSlice};
use sluice_switch::{
    Action, ActionList, EntryId, Front, Head, Hit, Key, LIST_WORDS, Layers, Mask, Parsed, Reader, SUBTABLES, Seed,
    Shape, WORDS, Writer,
};
use sluice_test_memory::guarded;
use std::cell::OnceCell;
use std::sync::atomic::Ordering::Relaxed;

/// Length of the longest frame in bytes.
const LONGEST: usize = 1500;
const SHAPE: Shape = Shape { entries: 8, lists: 2 };
/// The first line of a table's entries: behind the header, the subtables and two buckets.
const ENTRIES: usize = 2 + 2 * SUBTABLES + 2;

/// A frame, where it is cut off, and what is done with it.
#[derive(Arbitrary, Debug)]
pub struct Frame {
    cut: u16,
    words: [u64; LIST_WORDS],
    /// The operations of the words are among those that there are.
    known: bool,
    bytes: Vec<u8>,
}

thread_local! {
    static PACKETS: OnceCell<PeerSlice<'static>> = const { OnceCell::new() };
}

/// Asserts that no part of a frame proves more than the whole frame, and does the actions on it.
pub fn frame(input: &Frame) {
    let frame = &input.bytes[..input.bytes.len().min(LONGEST)];
    let part = &frame[..usize::from(input.cut) % (frame.len() + 1)];
    let whole = Parsed::of(1, frame, frame.len() as u16).key;
    for len in [part.len(), frame.len()] {
        let cut = Parsed::of(1, part, len as u16).key;
        assert!(whole.layers.contains(cut.layers), "{cut:?}\n{whole:?}");
    }
    let words = input.words.map(|word| if input.known { word & !0xe0 } else { word });
    if let (false, Ok(list)) = (frame.is_empty(), ActionList::check(words, u16::MAX)) {
        act(frame, &list);
    }
}

/// Does the actions on a frame of its own, in memory between guards.
fn act(frame: &[u8], list: &ActionList) {
    let memory = PACKETS.with(|memory| *memory.get_or_init(|| guarded(&[4096]).run(0)));
    let memory = PacketMemory::new(Gpa(0), memory).expect("small");
    let mut free = [0; 1];
    let pool = Mempool::new(memory, BufferLen::KiB2, &mut free).expect("room");
    let mut burst = pool.burst();
    let (mut head, mut frame) = (Head::EMPTY, burst.push_bytes(frame).expect("room"));
    head.load(&frame);
    let parsed = Parsed::of(1, head.bytes(), frame.len());
    list.apply(&mut frame, &mut head, &parsed);
}

/// A table, and the steps on it.
#[derive(Arbitrary, Debug)]
pub struct Table {
    front: bool,
    steps: Vec<Step>,
}

/// A step of the writer, of a reader, or of whoever wrote the memory instead of the writer.
#[derive(Arbitrary, Debug)]
enum Step {
    Insert { number: u8, mask: u8, port: u8 },
    Remove { at: u8 },
    Revoke { at: u8 },
    Publish,
    Reclaim,
    Order,
    LookUp { first: u8, epoch: Option<u64> },
    Word { at: u16, value: u64 },
}

/// Runs a script. The writer keeps its word as long as nobody else writes.
pub fn table(input: &Table) {
    let memory: Vec<_> = (0..SHAPE.lines()).map(|_| CacheLine::default()).collect();
    let (seed, mut words) = (Seed::new([1, 2]), [0; 8]);
    let front = Front::new(&mut words).filter(|_| input.front);
    let mut writer = Writer::new(&memory, SHAPE, seed).expect("a table");
    let mut reader = Reader::new(&memory, SHAPE, seed, front).expect("a table");
    let mut ids: Vec<EntryId> = Vec::new();
    for step in &input.steps {
        let id = |at: u8| ids.get(usize::from(at) % ids.len().max(1)).copied();
        match *step {
            Step::Insert { number, mask: which, port } => {
                let list = ActionList::new(&[Action::Output(port.into())], 256).expect("a list");
                ids.extend(writer.insert(&key(number), &mask(which), &list));
            }
            Step::Remove { at } => _ = id(at).map(|id| writer.remove(id)),
            Step::Revoke { at } => _ = id(at).map(|id| writer.revoke(id)),
            Step::Publish => _ = writer.publish(),
            Step::Reclaim => writer.reclaim(writer.epoch()),
            Step::Order => writer.order(|mask| mask.words()[2]),
            Step::LookUp { first, epoch } => look_up(&memory, &mut reader, first, epoch),
            Step::Word { at, value } => {
                let line = usize::from(at) / CacheLine::WORDS % memory.len();
                memory[line].words()[usize::from(at) % CacheLine::WORDS].store(value, Relaxed);
                // A reader keeps a mask as long as its generation stays, as the writer's rule is.
                if (2..2 + 2 * SUBTABLES).contains(&line) {
                    reader = Reader::new(&memory, SHAPE, seed, None).expect("a table");
                }
            }
        }
    }
}

/// Asserts that each hit is an entry that lives and that the key matches.
fn look_up(memory: &[CacheLine], reader: &mut Reader<'_>, first: u8, epoch: Option<u64>) {
    let keys: [Key; 5] = std::array::from_fn(|at| key(first.wrapping_add(at as u8)));
    let epoch = epoch.unwrap_or(reader.epoch());
    let mut hits = [None; 5];
    reader.look_up(epoch, &keys, &mut hits);
    for (key, hit) in keys.iter().zip(&hits) {
        if let Some(hit) = hit {
            assert!(matches(memory, epoch, key, hit), "{key:?}: {hit:?}");
            reader.actions(hit).expect("nobody writes").actions().for_each(drop);
        }
    }
}

/// Returns whether the entry matches, by the words as they are laid out.
fn matches(memory: &[CacheLine], epoch: u64, key: &Key, hit: &Hit) -> bool {
    let record = |line: usize| -> Vec<u64> {
        memory[line..line + 2].iter().flat_map(CacheLine::words).map(|word| word.load(Relaxed)).collect()
    };
    let lives = |record: &[u64]| record[0] >> 32 & 1 == 0 && record[1] <= epoch && epoch < record[2];
    let entry = record(ENTRIES + 2 * (hit.entry as usize % SHAPE.entries as usize));
    let number = (entry[0] >> 24) as usize & 0xff;
    let subtable = record(2 + 2 * (number % SUBTABLES));
    let count = if subtable[8..].iter().any(|word| *word != 0) { WORDS } else { 5 };
    let equal = (0..count).all(|at| key.words()[at] & subtable[3 + at] == entry[3 + at]);
    number < SUBTABLES && lives(&entry) && lives(&subtable) && equal
}

/// Returns one of few keys, with and without words behind the first ones.
fn key(number: u8) -> Key {
    let mut key = Key { in_port: (number % 4).into(), layers: Layers::ETHERNET | Layers::IPV4, ..Key::default() };
    (key.ttl, key.ipv4_source[0], key.ipv6_source[0]) = (number / 4 % 2, number / 8 % 2, number / 16 % 2);
    key
}

fn mask(which: u8) -> Mask {
    let bit = |at: u8| (which >> at & 1) * 0xff;
    let mut mask = Key { in_port: bit(0).into(), ttl: bit(1), ..Key::default() };
    (mask.ipv4_source[0], mask.ipv6_source[0], mask.source[0]) = (bit(2), bit(3), bit(4));
    Mask::closed(mask)
}
