use super::*;
use crate::model::Model;
use loom::thread;
use std::sync::atomic::{AtomicU64, Ordering};

/// Two flows that have one entry, one after the other, and what a burst has of each.
const FLOWS: [Sum; 2] = [
    Sum { generation: 2, packets: 1, flags: 0b001, bytes: 60 },
    Sum { generation: 4, packets: 7, flags: 0b110, bytes: 700 },
];

/// The host reads the counts of both flows while the reader adds two bursts of one and one of the other. Returns the
/// number of orders, and of those in which it found the counts of either flow.
fn turn<const FENCED: bool>() -> [u64; 3] {
    static COUNTS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
    loom::model(move || {
        COUNTS[0].fetch_add(1, Ordering::Relaxed);
        let record = Model::<FENCED>::default();
        add(&record, &FLOWS[0], 10);
        let written = record.clone();
        let reader = thread::spawn(move || {
            add(&written, &FLOWS[1], 20);
        });
        for (flow, time) in [(0, 10), (1, 20)] {
            let sum = &FLOWS[flow];
            if let Some(words) = read(&record, sum.generation) {
                let own = [sum.packets.into(), sum.bytes, time, sum.flags.into()];
                assert_eq!(words, own, "counts of another flow");
                COUNTS[1 + flow].fetch_add(1, Ordering::Relaxed);
            }
        }
        reader.join().expect("it does not panic");
    });
    COUNTS.each_ref().map(|count| count.load(Ordering::Relaxed))
}

#[test]
fn consistency_c7_a_record_that_becomes_another_flows_gives_the_counts_of_one() {
    let counts = turn::<true>();
    assert!(counts[0] > 50 && counts[1..].iter().all(|count| *count > 5), "{counts:?}");
}

#[test]
#[should_panic(expected = "counts of another flow")]
fn without_fences_a_record_gives_the_counts_of_two() {
    turn::<false>();
}
