//! The one queue of a front-end, which two processes and the switch fill.

use crate::lab::*;
use crate::watch::{Watch, count_of, generator, lab, program, take_any, until_any};
use crate::windows::Killed;
use rustix::process::{Pid, Signal, kill_process};
use sluice_abi::queue_lock::{FREE, HOST, counter, number_of, word};
use sluice_abi::virtq::used;
use sluice_vhost_user::{Frontend, Request};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn two_processes_and_the_switch_fill_the_one_queue_of_a_front_end() {
    fill_the_one_queue(&Request { features: SPLIT, pairs: 1, size: 256 });
}

/// Two processes and the switch fill the one queue of a front-end that is as `request` says.
pub fn fill_the_one_queue(request: &Request) {
    const EACH: u64 = 1_000;
    let lab = lab();
    let (mut b, mut c) = (lab.connect_with('b', request), lab.connect('c', SPLIT));
    let load = ["rate=30"];
    let program = program();
    let processes = ['g', 'h'].map(|vm| Killed(generator(&program, &lab, vm, &load)));
    // What is next of g and of h, and the last of c; and how many frames of each came since all had begun.
    let (mut next, mut last, mut counts, mut changes, mut before) = ([0; 2], None, [0; 3], 0, 'b');
    let mut sent = 0;
    let mut arrive = |b: &mut Frontend| {
        let (from, number) = take_any(b)?;
        match ['g', 'h'].iter().position(|&vm| vm == from) {
            Some(place) => {
                assert_eq!(number, next[place], "{from}: in order, none lost, none twice");
                next[place] += 1;
            }
            None => {
                assert!(last < Some(number), "c: in order, none twice");
                last = Some(number);
            }
        }
        Some(from)
    };
    let begin = Instant::now();
    while counts.iter().any(|&count| count < EACH) {
        assert!(begin.elapsed() < 3 * PATIENCE, "{counts:?} frames of g, h and c");
        if c.send(0, &frame(mac('b'), mac('c'), sent)).expect("a transmit queue") {
            sent += 1;
        }
        c.flush(0).expect("published");
        if let Some(from) = arrive(&mut b) {
            changes += u64::from(from != before);
            (before, counts[from as usize % 3]) = (from, counts[from as usize % 3] + 1);
        }
    }
    assert!(changes > 10, "they fill it by turns: {changes} changes");
    lab.until('c', |c| c["counters"]["taken"] == sent);
    drop(processes);
    ['g', 'h'].iter().for_each(|&vm| lab.until(vm, |it| it["connected_seconds"].is_null()));
    while let Some(from) = arrive(&mut b) {
        counts[from as usize % 3] += 1;
    }
    let [forwarded, full] = ["forwarded", "full"].map(|name| lab.counter('b', name));
    assert_eq!((counts[usize::from(b'c') % 3], forwarded + full), (forwarded, sent.into()), "what is accepted arrives");
}

/// A process that is killed behind each of the stores of a burst: from taking the lock to leaving it.
#[test]
fn a_burst_whose_process_is_killed_at_any_store_is_there_as_a_whole_or_not_at_all() {
    const FRAMES: u16 = 2;
    let lab = lab();
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    let mut watch = Watch::new(&lab);
    let (mut published, mut rounds, mut is_over) = ([false; 2], 0, false);
    while !is_over {
        rounds += 1;
        let before = watch.used_idx();
        let g = watch.stop_behind_a_store(&lab, FRAMES, rounds);
        is_over = watch.owner() == FREE;
        assert!(!is_over || watch.used_idx() != before, "what is filled is published before the lock is left");
        g.kill();
        let filled = watch.used_idx().wrapping_sub(before);
        watch.until_free();
        lab.until('g', |g| g["connected_seconds"].is_null());
        assert!([0, FRAMES].contains(&filled), "{filled} frames of {FRAMES} after {rounds} stores");
        assert_eq!(watch.used_idx().wrapping_sub(before), filled, "the server leaves it as it is");
        // Others go on behind it.
        send(&mut c, mac('b'), mac('c'), rounds..rounds + 1);
        let all: Vec<_> = (0..=filled).map(|_| until_any(&mut b)).collect();
        let whole: Vec<_> = (0..u64::from(filled)).map(|number| ('g', number)).chain([('c', rounds.into())]).collect();
        assert_eq!(all, whole, "after {rounds} stores");
        published[usize::from(filled > 0)] = true;
    }
    assert_eq!(published, [true; 2], "it was killed before and behind the store that publishes");
    assert!(
        rounds >= 4 + 3 * u32::from(FRAMES),
        "{rounds} stores: the lock, frames, used elements, the index, and the lock again"
    );
    assert_eq!(lab.counter('b', "full"), 0, "nobody found the lock taken by who had ended");
}

#[test]
fn a_process_that_is_stopped_in_a_burst_is_ended_and_others_go_on() {
    let lab = lab();
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    let watch = Watch::new(&lab);
    let mut g = watch.stop_before_a_burst(&lab, &[]);
    watch.step_into_a_burst(&g);
    g.leave_stopped();
    send(&mut c, mac('b'), mac('c'), 0..9);
    lab.until('c', |c| c["counters"]["taken"] == 9);
    assert_eq!(g.ended_by(), Some(9));
    watch.until_free();
    lab.until('g', |g| g["last_end"].as_str().is_some_and(|why| why.contains("stays in a burst")));
    let lost = lab.counter('b', "full");
    send(&mut c, mac('b'), mac('c'), 9..12);
    let numbers: Vec<_> = (lost..12).map(|_| until_any(&mut b)).collect();
    assert!(numbers.ends_with(&[('c', 9), ('c', 10), ('c', 11)]), "{numbers:?}");
    let next = Killed(generator(&watch.program, &lab, 'g', &[]));
    assert_eq!(until_any(&mut b), ('g', 0), "and so does another process of it");
    drop(next);
    assert!(watch.h.sees(0));
}

/// A machine that stands still for a while, with all that runs on it, has stopped nobody in a burst.
#[test]
fn a_process_in_a_burst_has_its_time_however_long_the_server_stood_still() {
    let lab = lab();
    let mut b = lab.connect('b', SPLIT);
    let watch = Watch::new(&lab);
    let g = watch.stop_before_a_burst(&lab, &["count=2"]);
    watch.step_into_a_burst(&g);
    std::thread::sleep(Duration::from_millis(50));
    let signal = |signal| kill_process(Pid::from_child(&lab.child), signal).expect("sent");
    signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(1_500));
    signal(Signal::CONT);
    std::thread::sleep(Duration::from_millis(50));
    g.leave();
    assert_eq!([until_any(&mut b), until_any(&mut b)], [('g', 0), ('g', 1)]);
    lab.until('g', |g| g["connected_seconds"].is_null());
    let log = std::fs::read_to_string(lab.file("log")).expect("a log");
    assert!(!log.contains("stays in a burst"), "{log}");
}

/// What stands in the owner word is everybody's to write who shares the queue.
#[test]
fn an_owner_word_that_nobody_writes_holds_nobody() {
    let lab = lab();
    let (mut b, mut c) = (lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    let watch = Watch::new(&lab);
    let of = |owner| word(owner, 7);
    // The host, which is in no burst when it looks; a process that is not there; VMs without a window on it; nobody.
    let hostile = [of(HOST), of(number_of(0)), of(number_of(2)), of(number_of(3)), of(9), of(1023), of(0), u32::MAX];
    for (number, word) in (0..).zip(hostile) {
        watch.set_owner(word);
        watch.until_free();
        send(&mut c, mac('b'), mac('c'), number..number + 1);
        assert_eq!(until_any(&mut b), ('c', number.into()), "{word:#x}");
    }
    assert!(
        std::fs::read_to_string(lab.file("log")).expect("a log").contains("owner word 0x7ffff, which nobody writes")
    );
    // What a process says of what it has published is shown, and no more.
    watch.lock.write_all_at(&[0xff; 4], counter(number_of(1))).expect("a lock");
    lab.until('h', |h| h["windows"][0]["frames"] == u32::MAX && h["windows"][0]["is_shared"] == true);
    // Its own word is good for as long as one burst may take.
    watch.set_owner(of(number_of(1)));
    watch.h.ends(&lab, 'h', "stays in a burst");
    send(&mut c, mac('b'), mac('c'), 50..51);
    while until_any(&mut b) != ('c', 50) {}
    assert_eq!(count_of(&mut b, 'c'), 0);
}

/// A ring stops once who is in a burst has left it, and behind what that brought.
#[test]
fn a_shared_ring_stops_behind_the_burst_that_is_under_way() {
    let lab = lab();
    let mut b = lab.connect('b', SPLIT);
    let watch = Watch::new(&lab);
    watch.h.call(41);
    watch.set_owner(word(number_of(1), 20));
    let at = watch.offset(watch.peer().queues[0].addresses.device) + used::IDX;
    let is_free = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            watch.h.until_it_sees(0, false);
            std::thread::sleep(Duration::from_millis(100));
            watch.memory.write_all_at(&3_u16.to_le_bytes(), at).expect("written");
            is_free.store(true, Ordering::Release);
            watch.set_owner(FREE);
            watch.h.call(42);
        });
        let stands = b.stop().expect("positions")[0];
        assert!(is_free.load(Ordering::Acquire), "the burst is under way");
        assert_eq!(stands, 3);
    });
}
