//! Processes that put frames into the queues of others by themselves.

use crate::lab::*;
use sluice_abi::net::F;
use sluice_vhost_user::{Frontend, Request};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Two queue pairs: one for the switch, and one for a window.
const PAIRS: Request = Request { features: SPLIT.union(F::MQ), pairs: 2, size: 256 };

/// A program of examples/, built, as a command.
fn example(name: &str) -> Command {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).args(["build", "--quiet", "--release", "--package", name, "--message-format=json"]);
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo");
    assert!(output.status.success(), "{name} can't be built");
    let lines = String::from_utf8(output.stdout).expect("JSON");
    let path = lines.lines().find_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        (value["target"]["name"] == name).then(|| value["executable"].as_str().map(PathBuf::from)).flatten()
    });
    Command::new(path.expect("a program"))
}

/// Starts `command` as the process of VM `vm`.
fn start(lab: &Lab, vm: char, mut command: Command) -> Child {
    command.env("SLUICE_SERVER", lab.socket(vm));
    sluice_guard::tie(&mut command).stdout(Stdio::piped()).spawn().expect("a process")
}

/// A sender of frames to b.
fn generator(lab: &Lab, arguments: &[&str]) -> Child {
    let mut command = example("generator");
    command.arg("b").args(arguments);
    start(lab, 'g', command)
}

fn policy() -> String {
    vm('g', "ram_mib = 32\npeers = [\"b\"]") + &vm('b', "")
}

/// Takes the next frame of the window's queue, and returns its number and length.
fn take_from_window(front: &mut Frontend) -> Option<(u64, usize)> {
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
