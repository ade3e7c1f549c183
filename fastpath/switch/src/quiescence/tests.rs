use super::*;
use crate::epoch;
use crate::model::Model;
use crate::report::Report;
use loom::thread;
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_memory::CacheLine;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of the model's entry: the flow that it has, how often the old one was used, whether the new one is written.
const FLOW: usize = 0;
const USES: usize = 1;
const WRITTEN: usize = 2;

/// Two bursts, with a rest between them or not, while the host replaces the flow that epoch 1 has. Returns the number
/// of orders, and of those in which the entry was used again.
fn replace<const FENCED: bool>(rests: bool, polls: usize) -> [u64; 2] {
    static COUNTS: [[AtomicU64; 2]; 4] = [const { [const { AtomicU64::new(0) }; 2] }; 4];
    let counts = &COUNTS[usize::from(rests) + 2 * usize::from(FENCED)];
    loom::model(move || {
        counts[0].fetch_add(1, Ordering::Relaxed);
        let [header, word, entry]: [Model<FENCED>; 3] = Default::default();
        epoch::publish(&header, 1);
        let shared = (header.clone(), word.clone(), entry.clone());
        let reader = thread::spawn(move || read(shared, rests));
        let mut quiescence = Quiescence::default();
        quiescence.join(0, word, 1, 0);
        entry.store(WRITTEN, 1, Ordering::Relaxed);
        epoch::publish(&header, 2);
        let fault = |_, fault| panic!("{fault}");
        let done = (0..polls).any(|_| quiescence.poll(2, 0, fault) >= 2).then(|| {
            entry.store(FLOW, 1, Ordering::Relaxed);
            entry.load(USES, Ordering::Relaxed)
        });
        reader.join().expect("it does not panic");
        if let Some(uses) = done {
            assert_eq!(entry.load(USES, Ordering::Relaxed), uses, "a use after the change was done");
            counts[1].fetch_add(1, Ordering::Relaxed);
        }
    });
    counts.each_ref().map(|count| count.load(Ordering::Relaxed))
}

fn read<const FENCED: bool>((header, word, entry): (Model<FENCED>, Model<FENCED>, Model<FENCED>), rests: bool) {
    let mut report = Report::new(word);
    for burst in 1..3 {
        if report.begin(&header) == 1 {
            entry.store(USES, burst, Ordering::Relaxed);
            assert_eq!(entry.load(FLOW, Ordering::Relaxed), 0, "a burst found the entry used again");
        } else {
            assert_eq!(entry.load(WRITTEN, Ordering::Relaxed), 1, "an epoch was seen before its flows");
        }
        report.end(epoch::load(&header));
        if rests {
            report.rest();
        }
    }
}

#[test]
fn consistency_c1_an_entry_is_not_used_again_while_a_burst_may_use_it() {
    for rests in [false, true] {
        let [orders, again] = replace::<true>(rests, 2);
        assert!(orders > 100 && again > 10, "loom tried {orders} orders, {again} to the end");
    }
}

#[test]
#[should_panic(expected = "a use after the change was done")]
fn without_fences_a_reader_that_wakes_up_is_not_seen() {
    replace::<false>(true, 1);
}

/// A reader's line, and what it says by hand.
fn line(word: u64) -> CacheLine {
    let line = CacheLine::default();
    say(&line, word);
    line
}

fn say(line: &CacheLine, word: u64) {
    line.words()[WORD].store(word, Ordering::Relaxed);
}

fn quiet(_: u32, fault: ReportFault) {
    panic!("{fault}");
}

#[test]
fn what_all_readers_reported_is_the_oldest_report() {
    let lines = [line(3), line(5), line(AWAKE)];
    let mut quiescence = Quiescence::default();
    assert_eq!(quiescence.poll(5, 0, quiet), 5, "nobody is waited for");
    (0..).zip(&lines).for_each(|(reader, line)| quiescence.join(reader, line, 5, 0));
    assert_eq!((quiescence.poll(5, 0, quiet), quiescence.reported(2)), (0, Some(0)), "one never reported");
    say(&lines[2], 4);
    assert_eq!(quiescence.poll(5, 0, quiet), 3);
    say(&lines[0], RESTS);
    assert_eq!((quiescence.poll(6, 0, quiet), quiescence.reported(0)), (4, Some(6)));
    say(&lines[0], AWAKE);
    assert_eq!((quiescence.poll(7, 0, quiet), quiescence.reported(0)), (4, Some(6)), "awake since epoch 6");
    assert!(quiescence.leave(2) && !quiescence.leave(2));
    assert_eq!((quiescence.poll(7, 0, quiet), quiescence.reported(2)), (5, None));
}

#[test]
fn a_word_that_is_no_report_is_named_and_frees_nothing() {
    let (line, mut said) = (line(4), Vec::new());
    let mut quiescence = Quiescence::default();
    quiescence.join(9, &line, 5, 0);
    for word in [4, 6, AWAKE - 1, 3, 1, 4, 5] {
        say(&line, word);
        let all = quiescence.poll(5, 0, |reader, fault| said.push((reader, fault)));
        assert_eq!(all, if word == 5 { 5 } else { 4 });
    }
    let not_issued = |word| (9, ReportFault::NotIssued { word, epoch: 5 });
    let backwards = |word| (9, ReportFault::Backwards { word, reported: 4 });
    assert_eq!(said, [not_issued(6), not_issued(AWAKE - 1), backwards(3), backwards(1)]);
}

#[test]
fn consistency_c2_who_does_not_report_within_the_bound_is_overdue() {
    let lines = [line(1), line(RESTS), line(1)];
    let mut quiescence = Quiescence::default();
    (0..).zip(&lines).for_each(|(reader, line)| quiescence.join(reader, line, 1, 100));
    quiescence.poll(1, 100, quiet);
    quiescence.poll(2, 200, quiet);
    say(&lines[2], 2);
    quiescence.poll(2, 300, quiet);
    let overdue = |quiescence: &Quiescence<_>, now| quiescence.overdue(now, 50).collect::<Vec<_>>();
    assert_eq!(
        (overdue(&quiescence, 250), overdue(&quiescence, 251), overdue(&quiescence, 0)),
        (vec![], vec![0], vec![])
    );
    // One more report of what it had reported, and one of an epoch that is not the awaited one, change nothing.
    for (word, now) in [(1, 350), (1, 400)] {
        say(&lines[0], word);
        quiescence.poll(9, now, quiet);
    }
    assert!(overdue(&quiescence, 401).contains(&0));
    say(&lines[0], 9);
    quiescence.poll(9, 500, quiet);
    assert!(!overdue(&quiescence, 500).contains(&0));
    quiescence.join(2, &lines[2], 9, 500);
    assert_eq!(quiescence.reported(2), Some(0), "who joins again has reported nothing");
}

proptest! {
    /// One reader writes anything, another one what is true.
    #[test]
    fn random_report_words_free_nothing_early(
        steps in vec((prop_oneof![0u64..12, any::<u64>(), Just(AWAKE)], 0u64..3, any::<bool>()), 1..40),
    ) {
        let (wild, honest) = (line(0), line(AWAKE));
        let (mut quiescence, mut epoch, mut truth) = (Quiescence::default(), 1, 0);
        quiescence.join(0, &wild, epoch, 0);
        quiescence.join(1, &honest, epoch, 0);
        for (word, published, reports) in steps {
            epoch += published;
            if reports {
                truth = epoch;
                say(&honest, truth);
            }
            say(&wild, word);
            let (before, mut said) = (quiescence.reported(0).unwrap_or(0), 0);
            let all = quiescence.poll(epoch, 0, |reader, _| said += 1 + 9 * reader);
            let counted = match word {
                RESTS => Some(epoch),
                AWAKE => Some(before),
                word => (before..=epoch).contains(&word).then_some(word),
            };
            prop_assert_eq!(quiescence.reported(0), Some(counted.unwrap_or(before)));
            prop_assert_eq!(said, u32::from(counted.is_none()));
            prop_assert_eq!(all, truth.min(counted.unwrap_or(before)));
        }
    }
}
