//! The table beside a model of it, over epochs, full, and full of rubbish.

mod flows;

use flows::{SHAPE, key, mask, memory, output, port_of, reader, seed, writer};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_memory::CacheLine;
use sluice_switch::{BURST, EntryId, Front, Key, Reader, SUBTABLES, Shape, ShapeError, TableError};
use std::collections::HashMap;
use std::sync::atomic::Ordering;

/// Returns the port to which each key goes in `epoch`.
fn ports(reader: &mut Reader<'_>, epoch: u64, keys: &[Key]) -> Vec<Option<u16>> {
    let mut hits = vec![None; keys.len()];
    reader.look_up(epoch, keys, &mut hits);
    hits.iter().map(|hit| hit.as_ref().and_then(|hit| port_of(reader, hit))).collect()
}

#[test]
fn a_flow_is_found_from_its_epoch_on_and_until_its_last() {
    let memory = memory(SHAPE);
    let (mut writer, mut reader) = (writer(&memory, SHAPE), reader(&memory, SHAPE, None));
    let (all, keys) = (mask(0b1_1101), [key(1, false), key(2, false)]);
    let one = writer.insert(&keys[0], &all, &output(5)).expect("room");
    assert_eq!(ports(&mut reader, writer.epoch(), &keys), [None, None]);
    assert_eq!(writer.publish(), 1);
    assert_eq!((reader.epoch(), ports(&mut reader, 1, &keys)), (1, vec![Some(5), None]));
    assert!(writer.remove(one) && !writer.remove(one));
    let two = writer.insert(&keys[1], &all, &output(6)).expect("room");
    assert_eq!(ports(&mut reader, 1, &keys), [Some(5), None]);
    // A burst of epoch 1 that goes on sees what it saw, whatever is published.
    assert_eq!(writer.publish(), 2);
    assert_eq!(ports(&mut reader, 1, &keys), [Some(5), None]);
    assert_eq!(ports(&mut reader, 2, &keys), [None, Some(6)]);
    assert!(writer.revoke(two));
    assert_eq!([1, 2, 3].map(|epoch| ports(&mut reader, epoch, &keys)[1]), [None; 3]);
}

/// The flow is another one in the next epoch, and no epoch is without it.
#[test]
fn consistency_c4_a_flow_is_replaced_without_a_miss_between() {
    let memory = memory(SHAPE);
    let (mut writer, mut reader) = (writer(&memory, SHAPE), reader(&memory, SHAPE, None));
    let (all, keys) = (mask(0b1_1101), [key(1, false)]);
    let mut id = writer.insert(&keys[0], &all, &output(0)).expect("room");
    for epoch in 1..100 {
        assert_eq!(writer.publish(), epoch);
        assert_eq!(writer.insert(&keys[0], &all, &output(9)), Err(TableError::Duplicate(id)));
        assert!(writer.remove(id));
        id = writer.insert(&keys[0], &all, &output(epoch as u16)).expect("room");
        for epoch in epoch - 1..=epoch + 1 {
            let wanted = (epoch > 0).then(|| epoch as u16 - 1);
            assert_eq!(ports(&mut reader, epoch, &keys), [wanted], "{epoch}");
        }
        writer.reclaim(epoch - 1);
    }
}

/// An entry is not used again while a burst may read it, and is not found by who knew the one before.
#[test]
fn an_entry_is_used_again_after_all_readers_reported() {
    let shape = Shape { entries: 4, lists: 1 };
    let memory = memory(shape);
    let (mut writer, mut reader) = (writer(&memory, shape), reader(&memory, shape, None));
    let all = mask(0b1_1101);
    let ids: Vec<_> = (0..4).map(|it| writer.insert(&key(it, false), &all, &output(1)).expect("room")).collect();
    writer.publish();
    let mut hits = [None; 1];
    reader.look_up(1, &[key(2, false)], &mut hits);
    let hit = hits[0].expect("a hit");
    assert_eq!(hit.entry, ids[2].index());
    assert!(writer.remove(ids[2]));
    writer.publish();
    writer.reclaim(1);
    assert_eq!(writer.insert(&key(9, false), &all, &output(1)), Err(TableError::Full(4)));
    assert_eq!(port_of(&reader, &hit), Some(1));
    writer.reclaim(2);
    let id = writer.insert(&key(9, false), &all, &output(1)).expect("room");
    assert_eq!((id.index(), reader.actions(&hit)), (hit.entry, None));
    assert!(!writer.remove(ids[2]) && !writer.revoke(ids[2]), "another flow has the entry");
    writer.publish();
    assert_eq!(ports(&mut reader, 3, &[key(9, false), key(2, false)]), [Some(1), None]);
}

#[test]
fn what_is_full_says_so_and_changes_nothing() {
    let memory = memory(SHAPE);
    let (mut writer, mut reader) = (writer(&memory, SHAPE), reader(&memory, SHAPE, None));
    let masks: Vec<_> = (0..=SUBTABLES as u8).map(mask).collect();
    for (number, mask) in masks.iter().enumerate().take(SUBTABLES) {
        writer.insert(&key(number as u32, false), mask, &output(number as u16)).expect("room");
    }
    assert_eq!(writer.insert(&key(0, false), &masks[SUBTABLES], &output(0)), Err(TableError::Masks));
    let list = writer.insert(&key(77, false), &masks[1], &output(77));
    assert_eq!(list, Err(TableError::Lists(16)));
    for number in SUBTABLES as u32..64 {
        writer.insert(&key(100 + number, false), &masks[1], &output(3)).expect("room");
    }
    assert_eq!(writer.insert(&key(77, false), &masks[1], &output(3)), Err(TableError::Full(64)));
    writer.publish();
    let keys: Vec<_> = (SUBTABLES as u32..64).map(|number| key(100 + number, false)).collect();
    assert!(ports(&mut reader, 1, &keys).iter().all(Option::is_some));
}

/// Every entry of a table finds a place, as flows give way to each other, and every one is found.
#[test]
fn a_table_takes_all_its_entries() {
    let shape = Shape { entries: 1 << 14, lists: 1 };
    let memory = memory(shape);
    let (mut writer, mut reader) = (writer(&memory, shape), reader(&memory, shape, None));
    let keys: Vec<_> = (0..shape.entries).map(|number| key(number, number % 3 == 0)).collect();
    let all = mask(0b1_1111);
    let ids: Vec<_> = keys.iter().map(|key| writer.insert(key, &all, &output(1)).expect("room")).collect();
    writer.publish();
    assert!(ports(&mut reader, 1, &keys).iter().all(|port| *port == Some(1)));
    assert!(keys.iter().zip(&ids).all(|(key, id)| writer.find(key, &all) == Some(*id)));
    for id in ids {
        assert!(writer.remove(id));
    }
    writer.publish();
    writer.reclaim(2);
    assert!(ports(&mut reader, 2, &keys).iter().all(Option::is_none));
    let id = writer.insert(&keys[0], &mask(0), &output(2)).expect("the subtable and the list are free, too");
    assert!(id.index() < shape.entries);
}

#[test]
fn the_order_of_look_up_changes_no_result() {
    let memory = memory(SHAPE);
    let (mut writer, mut reader) = (writer(&memory, SHAPE), reader(&memory, SHAPE, None));
    let keys: Vec<_> = (0..16).map(|number| key(number + 1, false)).collect();
    for (number, key) in keys.iter().enumerate() {
        writer.insert(key, &mask(number as u8), &output(number as u16)).ok();
    }
    writer.publish();
    let exact = |reader: &mut Reader<'_>| ports(reader, 1, &keys[12..]);
    let before = exact(&mut reader);
    writer.order(|mask| mask.words().iter().map(|word| u64::from(word.count_ones())).sum());
    assert_eq!(before.iter().flatten().count(), 4);
    assert_eq!(exact(&mut reader).iter().flatten().count(), 4);
}

/// Stores to each word of the buckets what `change` makes of the word and its place.
fn rewrite_buckets(memory: &[CacheLine], change: impl Fn(usize, u64) -> u64) {
    let buckets = &memory[2 + 2 * SUBTABLES..][..SHAPE.entries as usize / 4];
    for (at, word) in buckets.iter().flat_map(|line| line.words().iter().enumerate()) {
        word.store(change(at, word.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
}

/// A bucket that leads to an entry of another subtable, whose key has the words that are looked for under this mask.
#[test]
fn an_entry_of_another_subtable_is_not_taken() {
    let memory = memory(SHAPE);
    let (mut writer, mut reader) = (writer(&memory, SHAPE), reader(&memory, SHAPE, None));
    writer.insert(&key(5, false), &mask(0b1_0000), &output(1)).expect("room");
    let narrow = writer.insert(&key(0, false), &mask(0b1_0001), &output(2)).expect("room");
    writer.publish();
    assert_eq!(ports(&mut reader, 1, &[key(5, false)]), [Some(1)]);
    let index = u64::from(narrow.index());
    rewrite_buckets(&memory, |at, word| if (2..6).contains(&at) { index << 32 | index } else { word });
    // By its note of an entry that is alone, and by its buckets.
    for note in [index + 1, 0] {
        memory[1].words().iter().for_each(|word| word.store(note << 32 | note, Ordering::Relaxed));
        assert_eq!(ports(&mut reader, 1, &[key(5, false)]), [None]);
    }
}

/// Without buckets, and notes of entries that are alone, only the front knows an entry. It is asked from the third
/// subtable on.
#[test]
fn the_front_finds_what_was_found_before() {
    for subtables in 1..5 {
        let (memory, mut words) = (memory(SHAPE), [0; 64]);
        let (mut writer, mut reader) = (writer(&memory, SHAPE), reader(&memory, SHAPE, Some(&mut words)));
        let keys = [key(1, false), key(2, true), key(3, false), key(4, true)];
        for (number, key) in keys[..subtables].iter().enumerate() {
            let mask = mask([0b1_1101, 0b1_1110, 0b0_1101, 0b0_1110][number]);
            writer.insert(key, &mask, &output(number as u16)).expect("room");
        }
        writer.publish();
        let found = ports(&mut reader, 1, &keys[..subtables]);
        assert!(found.iter().all(Option::is_some));
        rewrite_buckets(&memory, |_, _| 0);
        memory[1].words().iter().for_each(|word| word.store(0, Ordering::Relaxed));
        let wanted = if subtables > 2 { found } else { vec![None; subtables] };
        assert_eq!(ports(&mut reader, 1, &keys[..subtables]), wanted, "{subtables} subtables");
        // Another key at the same place of the front, and an entry that is no longer.
        assert_eq!(ports(&mut reader, 2, &[key(9, false)]), [None]);
    }
}

#[test]
fn shape_and_memory_are_checked() {
    let memory = memory(SHAPE);
    let of = |entries, lists| Reader::new(&memory, Shape { entries, lists }, seed(), None).err();
    assert_eq!(of(64, 16), None);
    for (entries, lists) in [(0, 1), (3, 1), (2, 1), (4, 0), (1 << 25, 1), (4, 1 << 25)] {
        assert_eq!(of(entries, lists), Some(ShapeError::Shape(Shape { entries, lists })));
    }
    let wanted = Shape { entries: 64, lists: 32 }.lines();
    assert_eq!(of(64, 32), Some(ShapeError::Memory { wanted, lines: memory.len() }));
    assert!(Front::new(&mut []).is_none() && Front::new(&mut [0; 3]).is_none());
}

/// A change of the table.
#[derive(Clone, Debug)]
enum Step {
    Insert { number: u32, long: bool, mask: u8, port: u16 },
    Remove(usize),
    Revoke(usize),
    Publish,
    Reclaim,
    LookUp(Vec<(u32, bool)>),
}

fn step() -> impl Strategy<Value = Step> {
    // Disjoint flows, as a switch has them: the masks of a key's kind are told apart by their ports.
    let insert = (0u32..24, any::<bool>(), 0u8..12, 0u16..12);
    let insert = insert.prop_map(|(number, long, mask, port)| Step::Insert { number, long, mask, port });
    prop_oneof![
        6 => insert,
        2 => any::<usize>().prop_map(Step::Remove),
        1 => any::<usize>().prop_map(Step::Revoke),
        2 => Just(Step::Publish),
        1 => Just(Step::Reclaim),
        4 => vec((0u32..24, any::<bool>()), 1..2 * BURST).prop_map(Step::LookUp),
    ]
}

/// A flow as the model knows it.
#[derive(Clone, Debug)]
struct Flow {
    id: EntryId,
    port: u16,
    born: u64,
    dies: u64,
}

/// The table as maps: for each mask its flows by masked key, each key's last one at the end.
#[derive(Default)]
struct Model {
    flows: HashMap<[u64; 13], HashMap<[u64; 13], Vec<Flow>>>,
}

impl Model {
    /// Returns the ports of all flows that `key` matches in `epoch`.
    fn ports(&self, epoch: u64, key: &Key) -> Vec<u16> {
        let matching =
            self.flows.iter().filter_map(|(mask, flows)| flows.get(key.masked(&Key::from_words(*mask)).words()));
        matching.flatten().filter(|flow| flow.born <= epoch && epoch < flow.dies).map(|flow| flow.port).collect()
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Flow> {
        self.flows.values_mut().flat_map(HashMap::values_mut).flatten()
    }
}

fn run(steps: &[Step], front: Option<&mut [u64]>) {
    let shape = Shape { entries: 32, lists: 8 };
    let memory = memory(shape);
    let (mut writer, mut reader, mut model) = (writer(&memory, shape), reader(&memory, shape, front), Model::default());
    let mut ids = Vec::new();
    for step in steps {
        let next = writer.epoch() + 1;
        match step {
            Step::Insert { number, long, mask: which, port } => {
                let (key, mask) = (key(*number, *long), mask(*which));
                if let Ok(id) = writer.insert(&key, &mask, &output(*port)) {
                    let flow = Flow { id, port: *port, born: next, dies: u64::MAX };
                    let flows = model.flows.entry(*mask.words()).or_default();
                    flows.entry(*key.masked(mask.key()).words()).or_default().push(flow);
                    ids.push(id);
                }
            }
            Step::Remove(at) if !ids.is_empty() => {
                let id = ids[at % ids.len()];
                let flow = model.all().find(|flow| flow.id == id && flow.dies == u64::MAX);
                assert_eq!(writer.remove(id), flow.is_some());
                flow.into_iter().for_each(|flow| flow.dies = next);
            }
            Step::Revoke(at) if !ids.is_empty() => {
                let id = ids[at % ids.len()];
                writer.revoke(id);
                model.all().filter(|flow| flow.id == id).for_each(|flow| flow.dies = 0);
            }
            Step::Publish => {
                writer.publish();
            }
            Step::Reclaim => writer.reclaim(writer.epoch()),
            Step::LookUp(keys) => {
                let keys: Vec<_> = keys.iter().map(|&(number, long)| key(number, long)).collect();
                let epoch = reader.epoch();
                for (key, port) in keys.iter().zip(ports(&mut reader, epoch, &keys)) {
                    let wanted = model.ports(epoch, key);
                    assert!(port.map_or(wanted.is_empty(), |port| wanted.contains(&port)), "{port:?} of {wanted:?}");
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn consistency_c5_the_table_does_what_its_model_does(steps in vec(step(), 0..120)) {
        run(&steps, None);
    }

    #[test]
    fn a_front_changes_no_result(steps in vec(step(), 0..120)) {
        run(&steps, Some(&mut [0; 16]));
    }

    /// Words that are anything: what is found is an entry that matches, by the mask of its subtable.
    #[test]
    fn consistency_c5_a_table_of_random_words_gives_nothing_to_a_key_that_does_not_match(
        words in vec((any::<u16>(), any::<u64>()), 0..400),
        dense in any::<bool>(),
        numbers in vec((0u32..24, any::<bool>()), 1..BURST),
    ) {
        let shape = Shape { entries: 8, lists: 2 };
        let memory = memory(shape);
        let mut writer = writer(&memory, shape);
        for number in 0..6 {
            writer.insert(&key(number, number % 2 == 0), &mask(number as u8 + 8), &output(1)).ok();
        }
        writer.publish();
        // A dense table has few different words, so that more of them look right.
        for (at, word) in words {
            let line = &memory[usize::from(at) / 8 % memory.len()];
            let word = if dense { word & 0x0000_0007_0700_0007 } else { word };
            line.words()[usize::from(at) % 8].store(word, Ordering::Relaxed);
        }
        let mut front = [0; 4];
        let keys: Vec<_> = numbers.iter().map(|&(number, long)| key(number, long)).collect();
        let mut hits = vec![None; keys.len()];
        let mut reader = reader(&memory, shape, Some(&mut front));
        let epoch = reader.epoch();
        for _ in 0..2 {
            reader.look_up(epoch, &keys, &mut hits);
            for (key, hit) in keys.iter().zip(&hits) {
                if let Some(hit) = hit {
                    prop_assert!(is_match(&memory, epoch, key, hit.entry as usize % 8));
                    reader.actions(hit).iter().for_each(|list| list.actions().for_each(drop));
                }
            }
        }
    }
}

/// Returns whether entry `number` of a table of 8 entries lives and matches `key`, by the words as they are laid out.
fn is_match(memory: &[CacheLine], epoch: u64, key: &Key, number: usize) -> bool {
    let record = |line: usize| -> Vec<u64> {
        let words = memory[line..line + 2].iter().flat_map(CacheLine::words);
        words.map(|word| word.load(Ordering::Relaxed)).collect()
    };
    let lives = |record: &[u64]| record[0] >> 32 & 1 == 0 && record[1] <= epoch && epoch < record[2];
    let entry = record(2 + 2 * SUBTABLES + 2 + 2 * number);
    let subtable = record(2 + 2 * (entry[0] >> 24 & 0xff) as usize);
    let long = subtable[8..].iter().any(|word| *word != 0);
    let count = if long { 13 } else { 5 };
    let equal = (0..count).all(|at| key.words()[at] & subtable[3 + at] == entry[3 + at]);
    lives(&entry) && lives(&subtable) && (entry[0] >> 24 & 0xff) < 16 && equal
}
