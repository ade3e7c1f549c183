//! A log that nobody reads, and front-ends that would fill it.

use crate::lab::*;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Sessions that err, and the lines of each: that the front-end has connected, and that the session is closed.
const SESSIONS: u64 = 1_000;
const LINES: u64 = 2;

#[test]
fn a_server_whose_log_nobody_reads_forwards_and_ends_as_asked() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("flags");
    while writer.write(&[b'x'; 4_096]).is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).expect("flags");
    let mut lab = Lab::with_log(&pair(), OwnedFd::from(writer).into());
    let (mut a, mut b) = (lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    send(&mut a, mac('b'), mac('a'), 0..200);
    assert_eq!(take_all(&mut b, 200).len(), 200);
    kill_process(Pid::from_child(&lab.child), Signal::TERM).expect("sent");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = lab.child.try_wait().expect("a child") {
            break status;
        }
        assert!(start.elapsed() < PATIENCE, "the server does not end");
        std::thread::yield_now();
    };
    assert_eq!(status.code(), Some(0));
    drop(reader);
}

/// Returns the number that follows `key=` in `line`.
fn number(line: &str, key: &str) -> Option<u64> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}

#[test]
fn a_front_end_that_errs_without_end_gets_few_lines_and_all_are_counted() {
    let mut lab = Lab::new(&pair());
    let start = Instant::now();
    for _ in 0..SESSIONS {
        let mut socket = UnixStream::connect(lab.socket('a')).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        socket.write_all(&[0xff; 12]).expect("sent");
        // The server may close before it has read everything.
        assert!(!matches!(socket.read(&mut [0; 16]), Ok(1..)), "an answer to no request");
    }
    let seconds = start.elapsed().as_secs() + 2;
    drop(lab.connect('b', SPLIT));
    lab.until('b', |b| b["connected_seconds"].is_null() && b["connects"] == 1);
    assert_eq!(lab.status('a')["connects"], SESSIONS);
    let (code, log) = lab.end(Signal::TERM);
    assert_eq!(code, Some(0));
    let of_a: Vec<_> = log.lines().filter(|line| line.contains("vm=\"a\"")).collect();
    assert!(of_a.len() as u64 <= 9 * seconds, "{} lines in {seconds} s: {log}", of_a.len());
    let (counts, said): (Vec<&str>, Vec<&str>) = of_a.iter().partition(|line| line.contains("lines were left out"));
    let left_out: u64 = counts.iter().filter_map(|line| number(line, "lines")).sum();
    assert_eq!(said.len() as u64 + left_out, LINES * SESSIONS, "{log}");
    assert!(log.contains("the front-end has left vm=\"b\""), "another VM has its own lines: {log}");
}
