use super::*;
use crate::model::Model;
use loom::thread;
use std::sync::atomic::{AtomicU64, Ordering};

/// Two flows that have one entry, one after the other: the generation of each, its packets, the length of each in
/// bytes, their flags, and the time.
const FLOWS: [(u32, u64, u16, u16, u64); 2] = [(2, 2, 60, 0b001, 10), (4, 1, 700, 0b110, 20)];

/// The host reads the counts of both flows while the reader begins to count the second one. Returns the number of
/// orders, and of those in which it found the counts of either flow.
fn turn<const FENCED: bool>() -> [u64; 3] {
    static COUNTS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
    loom::model(move || {
        COUNTS[0].fetch_add(1, Ordering::Relaxed);
        let record = Model::<FENCED>::default();
        let count = |record: &Model<FENCED>, (generation, packets, len, flags, time)| {
            (0..packets).for_each(|_| add(record, time, generation, len, flags));
        };
        count(&record, FLOWS[0]);
        let written = record.clone();
        let reader = thread::spawn(move || count(&written, FLOWS[1]));
        for ((generation, packets, len, flags, time), found) in FLOWS.into_iter().zip(&COUNTS[1..]) {
            if let Some(words) = read(&record, generation) {
                let own = [packets, packets * u64::from(len), time, flags.into()];
                assert_eq!(words, own, "counts of another flow");
                found.fetch_add(1, Ordering::Relaxed);
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
