//! What becomes of frames that are under way when somebody goes.

use crate::lab::*;
use rustix::process::{Pid, Signal, kill_process};

/// Has nothing happen in the server until [`go_on`].
fn stop(lab: &Lab) {
    kill_process(Pid::from_child(&lab.child), Signal::STOP).expect("sent");
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", lab.child.id())).expect("a state");
    while !state().contains(") T ") {
        std::thread::yield_now();
    }
}

fn go_on(lab: &Lab) {
    kill_process(Pid::from_child(&lab.child), Signal::CONT).expect("sent");
}

#[test]
fn what_a_front_end_sent_before_it_left_is_forwarded() {
    for features in [SPLIT, PACKED] {
        let lab = Lab::new(&pair());
        let (mut a, mut b) = (lab.connect('a', features), lab.connect('b', SPLIT));
        stop(&lab);
        send(&mut a, mac('b'), mac('a'), 0..200);
        drop(a);
        go_on(&lab);
        assert!(take_all(&mut b, 200).into_iter().eq(0..200));
        lab.until('a', |a| a["connected_seconds"].is_null() && a["counters"]["taken"] == 200);
    }
}

#[test]
fn what_was_sent_before_the_server_was_asked_to_end_is_forwarded() {
    for features in [SPLIT, PACKED] {
        let mut lab = Lab::new(&pair());
        let (mut a, mut b) = (lab.connect('a', features), lab.connect('b', SPLIT));
        stop(&lab);
        send(&mut a, mac('b'), mac('a'), 0..200);
        kill_process(Pid::from_child(&lab.child), Signal::TERM).expect("sent");
        go_on(&lab);
        assert_eq!(lab.child.wait().expect("an end").code(), Some(0));
        assert!(take_all(&mut b, 200).into_iter().eq(0..200));
    }
}

/// Nothing that was taken is gone without a count, whoever comes and goes meanwhile.
#[test]
fn each_frame_that_was_taken_is_forwarded_or_counted() {
    const CAUSES: [&str; 6] = ["denied", "source_refused", "no_queue", "full", "limited", "too_long"];
    let lab = Lab::new(&(vm('a', "lan = [\"b\", \"c\"]") + &vm('b', "lan = [\"a\"]") + &vm('c', "lan = [\"a\"]")));
    let mut a = lab.connect('a', SPLIT);
    let mut sent = 0;
    for round in 0..30 {
        let mut b = lab.connect('b', [SPLIT, PACKED][round % 2]);
        send(&mut b, mac('a'), mac('b'), 0..20);
        // The receiver reads nothing: it is full after a while. It may have left already, and nobody is at c.
        send(&mut a, mac('b'), mac('a'), 0..300);
        send(&mut a, mac('c'), mac('a'), 0..10);
        send(&mut b, mac('c'), mac('b'), 0..10);
        drop(b);
        sent += 340;
        while take(&mut a).is_some() {}
    }
    let all = |name: &str| ['a', 'b', 'c'].map(|vm| lab.counter(vm, name)).iter().sum::<u64>();
    let start = std::time::Instant::now();
    while all("taken") < sent {
        assert!(start.elapsed() < PATIENCE, "{} of {sent} frames were taken", all("taken"));
    }
    let counted: Vec<_> = CAUSES.iter().map(|cause| (*cause, all(cause))).collect();
    let forwarded = all("forwarded");
    println!("{sent} frames: {forwarded} forwarded, {counted:?}");
    assert_eq!(forwarded + counted.iter().map(|(_, count)| count).sum::<u64>(), sent, "{counted:?}");
    assert!(counted.iter().filter(|(_, count)| *count > 0).count() >= 3, "{counted:?}");
}
