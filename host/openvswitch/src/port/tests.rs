//! A port, and others at the end where Open vSwitch is.

use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread::sleep;
use tempfile::TempDir;

fn listening() -> (TempDir, UnixListener, Port) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("port");
    let listener = UnixListener::bind(&path).expect("a socket");
    (folder, listener, Port::new(&path))
}

fn connected() -> (TempDir, UnixListener, Port, UnixStream) {
    let (folder, listener, mut port) = listening();
    assert!(port.connect());
    let other = listener.accept().expect("the port").0;
    (folder, listener, port, other)
}

fn received(port: &mut Port) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    port.receive(100, |frame| frames.push(frame.to_vec()));
    frames
}

#[test]
fn a_frame_goes_behind_its_length() {
    let (_folder, _listener, mut port, mut other) = connected();
    assert_eq!(port.send(&[7; 300]).expect("a frame"), Sent::Queued);
    let mut bytes = [0; 302];
    other.read_exact(&mut bytes).expect("a frame");
    assert_eq!((&bytes[..2], &bytes[2..]), (&[1, 44][..], &[7; 300][..]));
}

#[test]
fn a_frame_is_received_when_all_of_it_is_there() {
    let (_folder, _listener, mut port, mut other) = connected();
    let stream = [&[0, 14][..], &[1; 14], &[0, 60], &[2; 60], &[1, 0], &[3; 256]].concat();
    let mut frames = Vec::new();
    for byte in stream {
        other.write_all(&[byte]).expect("room");
        frames.extend(received(&mut port));
    }
    assert_eq!(frames, [vec![1; 14], vec![2; 60], vec![3; 256]]);
}

#[test]
fn no_more_frames_are_received_than_are_asked_for() {
    let (_folder, _listener, mut port, mut other) = connected();
    other.write_all(&[[0, 14].as_slice(), &[1; 14]].concat().repeat(5)).expect("room");
    assert_eq!([2, 2, 2, 2].map(|most| port.receive(most, |_| {})), [2, 2, 1, 0]);
}

/// The stream would be at an end: Open vSwitch hangs up on who sends less than an Ethernet header.
#[test]
fn a_frame_that_no_port_takes_is_not_sent() {
    let (_folder, _listener, mut port, mut other) = connected();
    assert!(matches!(port.send(&[0; 13]), Err(Error::Frame(13))));
    assert!(matches!(port.send(&[0; 65_536]), Err(Error::Frame(65_536))));
    drop(port);
    assert_eq!(other.read(&mut [0; 8]).expect("its end"), 0);
}

#[test]
fn what_does_not_fit_is_not_taken_and_what_was_taken_arrives_whole() {
    let (_folder, _listener, mut port, mut other) = connected();
    let frame = |number: u8| vec![number; 60_000];
    let queued = (0..200).take_while(|at| port.send(&frame(*at)).expect("a frame") == Sent::Queued).count();
    assert!((16..100).contains(&queued), "{queued}");
    let mut bytes = vec![0; 60_002];
    for at in 0..queued {
        // Whatever the socket did not take is written as there is room.
        let mut filled = 0;
        while filled < bytes.len() {
            filled += other.read(&mut bytes[filled..]).expect("frames");
            port.receive(1, |_| {});
        }
        assert_eq!(bytes[2..], frame(at as u8));
    }
    assert_eq!(port.send(&frame(0)).expect("a frame"), Sent::Queued);
}

#[test]
fn after_a_break_the_next_connection_begins_with_a_whole_frame() {
    let (_folder, listener, mut port, mut other) = connected();
    while port.send(&[1; 60_000]).expect("a frame") == Sent::Queued {}
    // Half a frame came, and half a frame was sent.
    other.write_all(&[0, 60, 5, 5]).expect("room");
    assert_eq!(received(&mut port), [[0; 0]; 0]);
    drop(other);
    received(&mut port);
    assert_eq!((port.send(&[2; 60]).expect("a frame"), port.is_up()), (Sent::Down, false));
    sleep(PAUSE);
    assert_eq!(port.send(&[3; 60]).expect("a frame"), Sent::Queued);
    let mut other = listener.accept().expect("the port").0;
    let mut bytes = [0; 62];
    other.read_exact(&mut bytes).expect("a frame");
    assert_eq!((bytes[1], bytes[2]), (60, 3));
    other.write_all(&[[0, 14].as_slice(), &[6; 14]].concat()).expect("room");
    assert_eq!((received(&mut port), port.connections()), (vec![vec![6; 14]], 2));
}

#[test]
fn a_length_that_no_frame_has_ends_the_connection() {
    let (_folder, _listener, mut port, mut other) = connected();
    other.write_all(&[0, 14, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 3, 9, 9, 9]).expect("room");
    assert_eq!((received(&mut port), port.is_up()), (vec![vec![1; 14]], false));
}

#[test]
fn nobody_who_listens_is_a_port_that_is_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut port = Port::new(&folder.path().join("port"));
    assert_eq!(port.send(&[0; 60]).expect("a frame"), Sent::Down);
    assert_eq!(received(&mut port).len(), 0);
}
