//! The end of a server.

use crate::lab::*;
use crate::windows::{example, start};
use rustix::process::Signal;
use sluice_abi::net::F;
use sluice_vhost_user::Request;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_signal_ends_the_server_and_its_sockets_are_gone() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut lab = Lab::new(&pair());
        let front = lab.connect('a', SPLIT);
        for file in ["a.sock", "b.sock", "control.sock"] {
            let mode = std::fs::metadata(lab.file(file)).expect("a socket").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let (code, log) = lab.end(signal);
        assert_eq!(code, Some(0), "{log}");
        assert!(["a.sock", "b.sock", "control.sock"].iter().all(|file| !lab.file(file).exists()));
        assert!(front.is_over().expect("a socket"));
    }
}

#[test]
fn a_front_end_that_leaves_is_logged_and_one_that_errs_is_warned_of() {
    let mut lab = Lab::new(&pair());
    drop(lab.connect('a', SPLIT));
    lab.until('a', |a| a["connected_seconds"].is_null() && a["connects"] == 1);
    let (_, log) = lab.end(Signal::TERM);
    assert!(log.contains("INFO") && log.contains("the front-end has left vm=\"a\""), "{log}");
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn a_process_that_ends_is_logged_and_nobody_is_warned_of_it() {
    let mut lab = Lab::new(&(vm('g', "ram_mib = 32\npeers = [\"b\"]") + &vm('b', "")));
    let request = Request { features: SPLIT | F::MQ, pairs: 2, size: 256 };
    let _b = lab.connect_with('b', &request);
    // A VM has eight lines of the log in a second.
    for ended in 1..=4 {
        let mut generator = example("generator");
        generator.args(["b", "count=1"]);
        assert!(start(&lab, 'g', generator).wait_with_output().expect("an end").status.success());
        lab.until('g', |g| g["connected_seconds"].is_null() && g["connects"] == ended);
    }
    let (_, log) = lab.end(Signal::TERM);
    assert!(log.contains("the process has left vm=\"g\""), "{log}");
    assert!(!log.contains("WARN"), "{log}");
}
