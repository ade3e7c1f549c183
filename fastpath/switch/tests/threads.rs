//! Readers beside a writer, each in a thread.

mod flows;

use flows::{key, mask, memory, output, port_of, reader, writer};
use sluice_switch::{Shape, Writer};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A reader in another thread, while entries change as fast as they can: what it gets is whole, of its epoch, and never
/// of two entries. Each flow goes to the port that its key says, in the epoch's half of the ports.
#[test]
fn consistency_c3_a_reader_beside_a_writer_sees_whole_entries_of_one_epoch() {
    let shape = Shape { entries: 64, lists: 64 };
    let memory = memory(shape);
    let (all, keys) = (mask(0b1_1101), (0..16).map(|number| key(number, false)).collect::<Vec<_>>());
    let (reported, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let port = |number: usize, epoch: u64| (epoch % 2 * 16) as u16 + number as u16;
    let mut writer = writer(&memory, shape);
    let insert = |writer: &mut Writer<'_>, number: usize| {
        let list = output(port(number, writer.epoch() + 1));
        writer.insert(&keys[number], &all, &list).expect("room")
    };
    let mut ids: Vec<_> = (0..keys.len()).map(|number| insert(&mut writer, number)).collect();
    writer.publish();
    std::thread::scope(|scope| {
        let read = scope.spawn(|| {
            let (mut reader, mut hits, mut found) = (reader(&memory, shape, None), [None; 16], 0);
            while !over.load(Ordering::Relaxed) {
                let epoch = reader.epoch();
                reader.look_up(epoch, &keys, &mut hits);
                for (number, hit) in hits.iter().enumerate() {
                    let hit = hit.as_ref().expect("every epoch has every flow");
                    assert_eq!(port_of(&reader, hit), Some(port(number, epoch)), "flow {number} in {epoch}");
                    found += 1;
                }
                reported.store(epoch, Ordering::Release);
            }
            found
        });
        for _ in 0..2_000 {
            for (number, id) in ids.iter_mut().enumerate() {
                assert!(writer.remove(*id));
                *id = insert(&mut writer, number);
            }
            let epoch = writer.publish();
            while reported.load(Ordering::Acquire) < epoch && !read.is_finished() {
                std::hint::spin_loop();
            }
            writer.reclaim(reported.load(Ordering::Acquire));
        }
        over.store(true, Ordering::Relaxed);
        assert!(read.join().expect("the reader") > 10_000);
    });
}

/// As above, with entries that are taken away at once: a reader misses, or gets the port of its key.
#[test]
fn a_reader_beside_a_writer_that_revokes_misses_or_is_right() {
    let shape = Shape { entries: 4, lists: 4 };
    let memory = memory(shape);
    let (all, keys) = (mask(0b1_1101), (0..8).map(|number| key(number, false)).collect::<Vec<_>>());
    let over = AtomicBool::new(false);
    let mut writer = writer(&memory, shape);
    std::thread::scope(|scope| {
        let read = scope.spawn(|| {
            let (mut front, mut hits, mut found) = ([0; 64], [None; 8], 0u32);
            let mut reader = reader(&memory, shape, Some(&mut front));
            while !over.load(Ordering::Relaxed) {
                reader.look_up(u64::MAX - 1, &keys, &mut hits);
                for (key, hit) in keys.iter().zip(&hits) {
                    let matched = hit.as_ref().map(|hit| hit.entry);
                    found += u32::from(matched.is_some());
                    let port = hit.as_ref().and_then(|hit| port_of(&reader, hit));
                    assert!(port.is_none_or(|port| port == key.source_port.get()), "{key:?} to {port:?}");
                }
            }
            found
        });
        for number in 0..200_000 {
            let key = &keys[number % keys.len()];
            // Nothing waits for the reader: an entry is another flow's as soon as it was taken away.
            let id = writer.insert(key, &all, &output(key.source_port.get())).expect("room");
            (0..number % 64).for_each(|_| std::hint::spin_loop());
            assert!(writer.revoke(id));
            let epoch = writer.publish();
            writer.reclaim(epoch);
        }
        over.store(true, Ordering::Relaxed);
        assert!(read.join().expect("the reader") > 0, "no look-up fell between two changes");
    });
}
