//! Another policy while the server runs.

use crate::lab::*;
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_reload_drops_no_frame_of_vms_that_stay() {
    let lab = Lab::new(&pair());
    let (mut a, mut b) = (lab.connect('a', SPLIT), lab.connect('b', PACKED));
    let policies = [vm('c', "") + &pair(), pair()];
    for round in 0..20 {
        send(&mut a, mac('b'), mac('a'), round * 50..round * 50 + 50);
        lab.policy(&policies[round as usize % 2]);
        assert!(lab.ask(&["reload"]).status.success());
        assert!(take_all(&mut b, 50).into_iter().eq(round * 50..round * 50 + 50));
    }
    assert_eq!((lab.counter('a', "taken"), lab.counter('b', "forwarded")), (1_000, 1_000), "counters stay");
    assert_eq!(lab.status('a')["connects"], 1);
}

#[test]
fn a_policy_that_is_wrong_changes_nothing_and_says_why() {
    let lab = Lab::new(&pair());
    let (mut a, mut b) = (lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    for (policy, why) in [
        (vm('a', "lan = [\"z\"]"), "policy.toml:6: vm \"a\": lan \"z\": no such vm"),
        (vm('a', "socket = \"/no/such/folder/s\""), "socket /no/such/folder/s: No such file"),
        (vm('a', "capture = \"/no/such/folder/c\""), "capture /no/such/folder/c: No such file"),
    ] {
        lab.policy(&policy);
        let output = lab.ask(&["reload"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(why), "{error}");
        send(&mut a, mac('b'), mac('a'), 0..1);
        assert_eq!(take_all(&mut b, 1), [0]);
    }
    assert!(lab.socket('a').exists() && lab.socket('b').exists());
}

#[test]
fn a_reload_by_a_signal_takes_and_gives_rights() {
    let lab = Lab::new(&pair());
    let (mut a, mut b) = (lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    lab.policy(&(vm('a', "") + &vm('b', "lan = [\"a\"]") + &vm('c', "lan = [\"a\"]")));
    kill_process(Pid::from_child(&lab.child), Signal::HUP).expect("sent");
    let start = std::time::Instant::now();
    while !lab.socket('c').exists() {
        assert!(start.elapsed() < PATIENCE);
    }
    send(&mut a, mac('b'), mac('a'), 0..3);
    lab.until('a', |a| a["counters"]["denied"] == 3);
    nothing(&mut b);
    let mut c = lab.connect('c', SPLIT);
    send(&mut c, mac('a'), mac('c'), 7..8);
    assert_eq!(take_all(&mut a, 1), [7]);
}

#[test]
fn a_vm_that_is_gone_or_another_loses_its_session_and_no_one_else_does() {
    let lab = Lab::new(&(pair() + &vm('c', "")));
    let (a, b, c) = (lab.connect('a', SPLIT), lab.connect('b', SPLIT), lab.connect('c', SPLIT));
    lab.policy(&(vm('a', "pairs = 2") + &vm('b', "")));
    assert!(lab.ask(&["reload"]).status.success());
    assert!(a.is_over().expect("a socket") && c.is_over().expect("a socket"));
    assert!(!b.is_over().expect("a socket"));
    assert!(lab.socket('a').exists() && !lab.socket('c').exists());
    drop(lab.connect('a', SPLIT));
}
