//! Programs within VMs, which have the memory of their peers as devices. The test plays one.

use crate::lab::*;
use crate::stranger::Stranger;
use crate::windows::PAIRS;
use sluice_abi::call::CALLS;
use sluice_abi::handover::window_file;
use sluice_abi::map::PAGE;
use sluice_vhost_user::Frontend;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// A number by which a program knows the answer to its first message.
const NUMBER: u32 = 77;

fn policy(mib: u32) -> String {
    let file = format!("ram_mib = {mib}\nwindow_file = \"g.window\"\npeers = [\"b\"]");
    vm('g', &file) + &vm('b', "") + &vm('p', "ram_mib = 2")
}

fn connect(lab: &Lab) -> Stranger {
    Stranger::in_vm(lab, 'g', "g.window")
}

/// Says that the program begins, and that it has the memory of its peer, which is that of `b`, as a device.
#[track_caller]
fn begin(g: &mut Stranger, b: &Frontend) {
    assert_eq!(g.request([4, NUMBER, 0, 0]).expect("an answer"), NUMBER);
    assert!(!g.sees(0), "it has not said what devices it has");
    has_device(g, b.memory_len());
}

#[track_caller]
fn has_device(g: &mut Stranger, len: u64) {
    assert_eq!(g.request([5, 0, (len / PAGE) as u32, 0]).expect("an answer"), 0);
}

/// A server with a front-end b, and a program in VM g that has a window on it.
#[track_caller]
fn opened() -> (Lab, Frontend, Stranger) {
    let lab = Lab::new(&policy(62));
    let (b, mut g) = (lab.connect_with('b', &PAIRS), connect(&lab));
    begin(&mut g, &b);
    g.until_it_sees(0, true);
    (lab, b, g)
}

/// Returns what the server has logged.
fn log(lab: &Lab) -> String {
    std::fs::read_to_string(lab.file("log")).expect("a log")
}

/// Waits until the server has logged `what`.
#[track_caller]
fn until_logged(lab: &Lab, what: &str) {
    let start = Instant::now();
    while !log(lab).contains(what) {
        assert!(start.elapsed() < PATIENCE, "{}", log(lab));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A window is the memory as it lies in its file: nothing else could be a device.
#[test]
fn a_program_is_shown_a_peer_that_its_vm_has_as_a_device() {
    let (lab, b, g) = opened();
    let peer = g.peer(0);
    assert_eq!((peer.region_count, peer.regions[0].len), (1, b.memory_len()));
    assert_eq!(peer.regions[0].slot_offset, sluice_abi::map::PEERS);
    assert_eq!(lab.status('g')["windows"][0]["state"], "open");
}

#[test]
fn a_device_of_another_length_is_not_the_memory_of_a_peer() {
    let lab = Lab::new(&policy(62));
    let (b, mut g) = (lab.connect_with('b', &PAIRS), connect(&lab));
    assert_eq!(g.request([4, NUMBER, 0, 0]).expect("an answer"), NUMBER);
    for len in [b.memory_len() - PAGE, 2 * b.memory_len(), 0] {
        has_device(&mut g, len);
        assert!(!g.sees(0), "{len} bytes");
    }
    until_logged(&lab, "not the one that the VM has as a device");
    has_device(&mut g, b.memory_len());
    g.until_it_sees(0, true);
}

/// A VM may be paused: it is not ended. The queue of its peer is recovered, and it gets the window again.
#[test]
fn a_vm_that_stays_in_a_call_loses_its_window_and_goes_on() {
    let (lab, mut b, mut g) = opened();
    g.call(41);
    b.stop().expect("positions");
    assert!(!g.sees(0));
    until_logged(&lab, "the VM stays in a call");
    assert!(g.child.try_wait().expect("a state").is_none(), "it goes on");
    assert_eq!(lab.status('g')["windows"][0]["state"], "closed");
    // As long as it has not left, it goes by the window of before.
    b.start().expect("rings");
    std::thread::sleep(Duration::from_millis(100));
    assert!(!g.sees(0), "it is in the call");
    g.call(42);
    g.until_it_sees(0, true);
}

/// Whoever was in a call before is gone: nobody waits for it.
#[test]
fn a_program_that_begins_again_is_shown_windows_anew() {
    let (lab, mut b, mut g) = opened();
    g.call(41);
    begin(&mut g, &b);
    g.until_it_sees(0, true);
    let mut word = [0; 8];
    g.block.read_exact_at(&mut word, window_file::REQUEST + 8 * CALLS as u64).expect("a block");
    assert_eq!(word, [0; 8]);
    b.stop().expect("positions");
    assert!(!log(&lab).contains("stays in a call"), "{}", log(&lab));
}

/// The VM keeps the device that it has: memory of before.
#[test]
fn a_peer_that_comes_back_with_other_memory_is_not_shown() {
    let (lab, b, mut g) = opened();
    drop(b);
    g.until_it_sees(0, false);
    let b = lab.connect_with('b', &PAIRS);
    until_logged(&lab, "not the one that the VM has as a device");
    assert!(!g.sees(0));
    // Another program says what devices its VM has. That is no proof, but all that there is.
    begin(&mut g, &b);
    g.until_it_sees(0, true);
}

/// Asserts that the server hangs up on a program for `request`, and says `why`.
#[track_caller]
fn hangs_up(lab: &Lab, request: [u32; 4], why: &str) {
    let mut g = connect(lab);
    g.request(request).expect_err("no answer");
    let read = g.socket.read(&mut [0]);
    assert!(read.is_ok_and(|len| len == 0), "{why}");
    lab.until('g', |g| g["last_end"].as_str().is_some_and(|end| end.contains(why)));
    assert!(g.child.try_wait().expect("a state").is_none(), "a VM is not ended");
}

#[test]
fn requests_that_say_nothing_end_the_session_of_a_vm_and_not_the_vm() {
    let lab = Lab::new(&policy(62));
    hangs_up(&lab, [5, 1, 1, 0], "a device for peer 1");
    hangs_up(&lab, [5, u32::MAX, 1, 0], "a device for peer 4294967295");
    hangs_up(&lab, [5, 0, 1, 1], "a request of kind 5");
    hangs_up(&lab, [4, NUMBER, 1, 0], "a request of kind 4");
    hangs_up(&lab, [6, 0, 0, 0], "a request of kind 6");
    let (b, mut g) = (lab.connect_with('b', &PAIRS), connect(&lab));
    begin(&mut g, &b);
    g.until_it_sees(0, true);
}

/// The program may go on: what it was shown is taken back, as it is from one that keeps the rules.
#[test]
fn a_session_of_a_vm_ends_behind_its_last_call() {
    let (lab, _b, mut g) = opened();
    g.call(41);
    g.socket.write_all([6_u32, 0, 0, 0].as_bytes()).expect("sent");
    g.until_it_sees(0, false);
    assert!(lab.status('g')["connected_seconds"].is_number(), "a call is under way");
    g.call(42);
    lab.until('g', |g| g["connected_seconds"].is_null());
    assert_eq!(lab.status('g')["last_end"], "a request of kind 6");
}

/// It could not take the lock, which is no device.
#[test]
fn a_program_within_a_vm_shares_no_queue() {
    let lab = Lab::new(&policy(62));
    let mut g = connect(&lab);
    let one = lab.connect('b', SPLIT);
    begin(&mut g, &one);
    std::thread::sleep(Duration::from_millis(100));
    assert!(!g.sees(0) && lab.status('g')["windows"][0]["state"] == "closed");
    drop(one);
    let two = lab.connect_with('b', &PAIRS);
    has_device(&mut g, two.memory_len());
    g.until_it_sees(0, true);
}

#[test]
fn a_process_has_no_devices() {
    let lab = Lab::new(&policy(62));
    let mut p = Stranger::connect(&lab, 'p');
    p.request([4, NUMBER, 0, 0]).expect_err("no answer");
    p.ends(&lab, 'p', "a request of kind 4");
}

#[test]
fn a_window_file_stays_when_its_server_is_killed_and_the_next_one_goes_on_with_it() {
    let mut lab = Lab::new(&policy(62));
    let inode = |lab: &Lab| lab.file("g.window").metadata().expect("a file").ino();
    let (before, len) = (inode(&lab), lab.file("g.window").metadata().expect("a file").len());
    assert_eq!(len, 64 << 20);
    lab.start_again(&policy(62));
    let (b, mut g) = (lab.connect_with('b', &PAIRS), connect(&lab));
    assert_eq!(inode(&lab), before);
    begin(&mut g, &b);
    g.until_it_sees(0, true);
}

#[test]
fn a_policy_that_wants_another_length_of_a_window_file_is_refused() {
    let lab = Lab::new(&policy(62));
    lab.policy(&policy(30));
    let said = lab.ask(&["reload"]);
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && error.contains("it has 67108864 bytes; 33554432 are needed"), "{error}");
    // Other keys of the VM may change: the file is kept. Another one is made.
    let more = vm('h', "ram_mib = 30\nwindow_file = \"h.window\"");
    lab.policy(&(policy(62).replace("peers = [\"b\"]", "peers = []") + &more));
    assert!(lab.ask(&["reload"]).status.success());
    assert_eq!(lab.file("h.window").metadata().expect("a file").len(), 32 << 20);
    let mut g = connect(&lab);
    assert_eq!(g.request([4, NUMBER, 0, 0]).expect("an answer"), NUMBER);
}
