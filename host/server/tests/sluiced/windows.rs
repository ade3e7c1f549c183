//! Processes that put frames into the queues of others by themselves.

use crate::lab::*;
use sluice_abi::net::F;
use sluice_vhost_user::{Frontend, Request};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Two queue pairs: one for the switch, and one for a window.
pub const PAIRS: Request = Request { features: SPLIT.union(F::MQ), pairs: 2, size: 256 };

/// A program of examples/, built, as a command.
pub fn example(name: &str) -> Command {
    Command::new(built(name, &[]))
}

/// A program of examples/, built for any Linux: it needs no libraries.
pub fn example_for_guests(name: &str) -> PathBuf {
    let rustflags = "target.x86_64-unknown-linux-gnu.rustflags=['-Ctarget-feature=+crt-static']";
    built(name, &["--target=x86_64-unknown-linux-gnu", "--config", rustflags])
}

fn built(name: &str, options: &[&str]) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).args(["build", "--quiet", "--release", "--package", name, "--message-format=json"]);
    cargo.args(options);
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo");
    assert!(output.status.success(), "{name} can't be built");
    let lines = String::from_utf8(output.stdout).expect("JSON");
    let path = lines.lines().find_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        (value["target"]["name"] == name).then(|| value["executable"].as_str().map(PathBuf::from)).flatten()
    });
    path.expect("a program")
}

/// Starts `command` as the process of VM `vm`.
pub fn start(lab: &Lab, vm: char, mut command: Command) -> Child {
    command.env("SLUICE_SERVER", lab.socket(vm));
    sluice_guard::tie(&mut command).stdout(Stdio::piped()).spawn().expect("a process")
}

/// A process that is killed when this is dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A sender of frames to b.
pub fn generator(lab: &Lab, arguments: &[&str]) -> Child {
    let mut command = example("generator");
    command.arg("b").args(arguments);
    start(lab, 'g', command)
}

/// The process g, which may fill a queue of b.
pub fn policy() -> String {
    vm('g', "ram_mib = 32\npeers = [\"b\"]") + &vm('b', "")
}

/// Takes the next frame of the window's queue, and returns its number and length.
pub fn take_from_window(front: &mut Frontend) -> Option<(u64, usize)> {
    let mut bytes = [0; 2_048];
    let len = front.receive(1, &mut bytes).expect("a receive queue")?;
    front.flush(1).expect("published");
    assert_eq!(bytes[12..14], [0x88, 0xb5]);
    assert!(bytes[22..len].iter().all(|&byte| byte == 0), "a frame is whole");
    Some((u64::from_be_bytes(bytes[14..22].try_into().expect("eight")), len))
}

#[test]
fn a_process_fills_a_queue_of_a_front_end_by_itself() {
    const FRAMES: u64 = 20_000;
    let lab = Lab::new(&policy());
    let mut b = lab.connect_with('b', &PAIRS);
    let process = generator(&lab, &["length=64,594,1514", &format!("count={FRAMES}")]);
    let start = Instant::now();
    for number in 0..FRAMES {
        let frame = loop {
            match take_from_window(&mut b) {
                Some(frame) => break frame,
                None => assert!(start.elapsed() < Duration::from_secs(60), "{number} frames"),
            }
        };
        assert_eq!(frame, (number, [64, 594, 1514][number as usize % 3]), "in order, none lost, none twice");
    }
    let output = process.wait_with_output().expect("an end");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(take_from_window(&mut b).is_none());
    assert_eq!(lab.counter('g', "taken"), 0, "the switch has no part in it");
}

/// A receiver that sees whether each frame is the next of its sender.
pub struct Receiver {
    pub front: Frontend,
    request: Request,
    next: u64,
    /// Number of all frames.
    all: u64,
}

impl Receiver {
    fn new(lab: &Lab) -> Self {
        Self::with(lab, &PAIRS)
    }

    pub fn with(lab: &Lab, request: &Request) -> Self {
        Self { front: lab.connect_with('b', request), request: *request, next: 0, all: 0 }
    }

    /// Takes a frame, if there is one.
    pub fn take(&mut self) -> bool {
        let Some((number, _)) = take_from_window(&mut self.front) else { return false };
        assert_eq!(number, self.next, "in order, none lost, none twice");
        (self.next, self.all) = (self.next + 1, self.all + 1);
        true
    }

    /// The next frame is the first of another sender.
    pub const fn begin_again(&mut self) {
        self.next = 0;
    }

    /// Takes `count` frames.
    #[track_caller]
    pub fn take_all(&mut self, count: u64) {
        let (start, end) = (Instant::now(), self.all + count);
        while self.all < end {
            if !self.take() {
                assert!(start.elapsed() < PATIENCE, "{} of {end} frames", self.all);
                std::thread::yield_now();
            }
        }
    }

    /// Stops the rings, and sees that nothing came or comes behind where they stand.
    pub fn stop(&mut self) {
        let stands = self.front.stop().expect("positions");
        std::thread::sleep(Duration::from_millis(1));
        while self.take() {}
        let (size, is_packed) = (u64::from(self.request.size), self.request.features.contains(F::RING_PACKED));
        // Slot and wrap counter, twice.
        let packed = (self.all % size) as u32 | u32::from((self.all / size).is_multiple_of(2)) << 15;
        let behind = if is_packed { packed << 16 | packed } else { u32::from(self.all as u16) };
        assert_eq!(stands[2], behind, "the position is behind the last frame");
    }
}

/// The answer to GET_VRING_BASE says how far the window's sender came, and after it nothing is written.
pub fn stop_while_a_process_fills(request: &Request) {
    let lab = Lab::new(&policy());
    let mut b = Receiver::with(&lab, request);
    let mut process = generator(&lab, &[]);
    for round in 0..200 {
        b.take_all(200 + round % 7);
        b.stop();
        b.front.start().expect("rings");
    }
    b.take_all(1_000);
    process.kill().and_then(|()| process.wait()).expect("killed");
}

#[test]
fn a_queue_that_is_stopped_while_a_process_fills_it_stands_behind_the_last_frame() {
    stop_while_a_process_fills(&PAIRS);
}

/// Each process is killed after other frames than the last. None of them leaves anything open in the server.
pub fn kill_processes(rounds: u64, request: &Request) {
    let lab = Lab::new(&policy());
    let (mut b, mut open) = (Receiver::with(&lab, request), Vec::new());
    for round in 0..rounds {
        let mut process = generator(&lab, &[]);
        b.take_all(100 + 37 * (round % 50));
        process.kill().and_then(|()| process.wait()).expect("killed");
        lab.until('g', |g| g["connected_seconds"].is_null());
        while b.take() {}
        b.next = 0;
        if [4, rounds - 1].contains(&round) {
            open.push(lab.open_at_rest());
        }
    }
    b.stop();
    assert_eq!(lab.status('g')["connects"], rounds);
    assert_eq!(open[0], open[1], "descriptors and mappings");
}

#[test]
fn a_process_that_is_killed_leaves_a_queue_that_the_next_one_fills() {
    kill_processes(50, &PAIRS);
}

#[test]
#[ignore = "minutes"]
fn killed_200_times_a_process_leaves_a_queue_that_the_next_one_fills() {
    kill_processes(200, &PAIRS);
}

/// The words of /proc/PID/maps of the first mapping whose name has `name`: start and end.
fn mapping(process: &Child, name: &str) -> (u64, u64) {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", process.id())).expect("maps");
    let line = maps.lines().find(|line| line.contains(name)).expect("a mapping");
    let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
    let number = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
    (number(start), number(end))
}

/// Stops `process` in the middle of a call.
fn stop_in_a_call(process: &Child) {
    let pid = rustix::process::Pid::from_child(process);
    let signal = |signal| rustix::process::kill_process(pid, signal).expect("sent");
    let memory = std::fs::File::open(format!("/proc/{}/mem", process.id())).expect("memory");
    let calls = mapping(process, "sluice request block").0 + 8 * sluice_abi::call::CALLS as u64;
    let start = Instant::now();
    loop {
        signal(rustix::process::Signal::STOP);
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("a state");
        while !stat().contains(") T ") {
            std::thread::yield_now();
        }
        let mut word = [0; 8];
        memory.read_exact_at(&mut word, calls).expect("the request block");
        if u64::from_le_bytes(word) % 2 == 1 {
            return;
        }
        signal(rustix::process::Signal::CONT);
        assert!(start.elapsed() < PATIENCE, "it is in no call");
    }
}

/// A front-end that stops a ring waits for the window's sender, but not for ever; and no other VM waits with it.
#[test]
fn a_process_that_stays_in_a_call_is_ended_and_the_ring_stops() {
    let lab = Lab::new(&(policy() + &vm('c', "lan = [\"d\"]") + &vm('d', "")));
    let mut b = Receiver::new(&lab);
    let mut process = generator(&lab, &[]);
    b.take_all(100);
    stop_in_a_call(&process);
    while b.take() {}
    let (done, has_stopped) = (AtomicU32::new(0), AtomicBool::new(false));
    let meanwhile = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut c, mut d) = (lab.connect('c', SPLIT), lab.connect('d', SPLIT));
            while !has_stopped.load(Ordering::Relaxed) {
                let number = done.load(Ordering::Relaxed);
                send(&mut c, mac('d'), mac('c'), number..number + 1);
                assert_eq!(take_all(&mut d, 1), [number]);
                done.store(number + 1, Ordering::Release);
            }
        });
        while done.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        let before = done.load(Ordering::Acquire);
        b.stop();
        has_stopped.store(true, Ordering::Relaxed);
        done.load(Ordering::Acquire) - before
    });
    assert_eq!(process.wait().expect("an end").signal(), Some(9));
    // The one that is under way when it stops, and the one after that, might be those of a server that waits.
    assert!(meanwhile > 2, "others waited: {meanwhile} frames");
    lab.until('g', |g| g["last_end"].as_str().is_some_and(|why| why.contains("stays in a call")));
}

#[test]
fn a_process_maps_its_peers_and_nobody_else() {
    let lab = Lab::new(&(policy() + &vm('c', "")));
    let (mut b, _c) = (Receiver::new(&lab), lab.connect('c', SPLIT));
    let mut denied = example("generator");
    denied.arg("c");
    let output = start(&lab, 'g', denied).wait_with_output().expect("an end");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("error: peer \"c\": not in the window directory"), "{said}");
    lab.until('g', |g| g["connected_seconds"].is_null());
    let mut process = generator(&lab, &[]);
    b.take_all(100);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", process.id())).expect("maps");
    let shared: Vec<_> = maps.lines().filter(|line| line.contains("memfd:sluice-vhost-user")).collect();
    assert_eq!(shared.len(), 1, "{shared:?}");
    process.kill().and_then(|()| process.wait()).expect("killed");
}

#[test]
fn a_policy_is_read_again_while_a_process_sends() {
    let lab = Lab::new(&policy());
    let mut b = Receiver::new(&lab);
    let mut process = generator(&lab, &[]);
    for round in 0..20 {
        b.take_all(300);
        // Another VM comes before the two, and goes.
        let more = if round % 2 == 0 { vm('a', "") } else { String::new() };
        lab.policy(&(more + &policy()));
        assert!(lab.ask(&["reload"]).status.success());
    }
    b.take_all(300);
    assert_eq!((lab.status('g')["connects"].clone(), lab.status('b')["connects"].clone()), (1.into(), 1.into()));
    // A policy without the window ends the process.
    lab.policy(&(vm('g', "ram_mib = 32") + &vm('b', "pairs = 2")));
    assert!(lab.ask(&["reload"]).status.success());
    assert_eq!(process.wait().expect("an end").signal(), Some(9));
}

/// Frames pass a process that passes on what arrives in its own queue.
#[test]
fn a_process_fills_the_queue_of_another_that_fills_a_front_end() {
    let lab = Lab::new(
        &(vm('g', "ram_mib = 32\npeers = [\"f\"]") + &vm('f', "ram_mib = 32\npeers = [\"b\"]") + &vm('b', "")),
    );
    let mut b = Receiver::new(&lab);
    let mut forward = example("forward");
    forward.arg("b");
    let mut forward = start(&lab, 'f', forward);
    let mut command = example("generator");
    command.args(["f", "count=20000"]);
    let generator = start(&lab, 'g', command);
    b.take_all(20_000);
    assert!(generator.wait_with_output().expect("an end").status.success());
    lab.until('f', |f| f["windows"][0]["frames"] == 20_000);
    forward.kill().and_then(|()| forward.wait()).expect("killed");
}

/// What is on its way to a front-end that goes is lost with it. The next one shares other memory.
pub fn leave_a_process(rounds: u64, request: &Request) {
    let lab = Lab::new(&policy());
    let mut process = generator(&lab, &[]);
    let (mut next, mut open) = (0, Vec::new());
    for round in 0..rounds {
        let mut b = Receiver::with(&lab, request);
        let start = Instant::now();
        let first = loop {
            if let Some((number, _)) = take_from_window(&mut b.front) {
                break number;
            }
            assert!(start.elapsed() < PATIENCE, "no frame in round {round}");
        };
        assert!(first >= next, "frame {first} came before, as frame {next} did not");
        b.next = first + 1;
        b.take_all(100 + 11 * (round % 50));
        next = b.next;
        drop(b);
        lab.until('b', |b| b["connected_seconds"].is_null());
        if [4, rounds - 1].contains(&round) {
            open.push(lab.open_at_rest());
        }
    }
    assert_eq!(open[0], open[1], "descriptors and mappings of the server");
    process.kill().and_then(|()| process.wait()).expect("killed");
}

#[test]
fn a_process_goes_on_with_the_next_front_end_of_its_peer() {
    leave_a_process(50, &PAIRS);
}

#[test]
#[ignore = "minutes"]
fn killed_200_times_a_peer_has_a_sender_that_goes_on() {
    leave_a_process(200, &PAIRS);
}

/// A process can't outlive its server: another server would give the queue to somebody else.
#[test]
fn a_process_ends_with_its_server_and_the_next_one_goes_on_where_it_was() {
    let mut lab = Lab::new(&policy());
    let mut b = Receiver::new(&lab);
    for _ in 0..10 {
        let process = generator(&lab, &[]);
        b.take_all(500);
        lab.start_again(&policy());
        let start = Instant::now();
        let output = process.wait_with_output().expect("an end");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains("error: the server has gone"), "{said}");
        while b.take() {}
        b.next = 0;
        crate::reconnect::reconnect(&lab, 'b', &mut b.front);
    }
    b.stop();
}
