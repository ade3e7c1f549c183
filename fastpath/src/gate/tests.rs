//! Calls that do not take place.
#![allow(unsafe_code, reason = "stands in for the host, which makes the memory")]

extern crate std;

use super::*;
use sluice_control::publish;
use std::boxed::Box;

/// Zeroed memory that is never freed.
fn page() -> PeerSlice<'static> {
    let words = Box::leak(Box::new([0u64; 512]));
    // SAFETY: never freed, and only slices lead into it from now on.
    unsafe { PeerSlice::from_raw(words.as_mut_ptr().cast(), 4096) }
}

fn discover(directory: PeerSlice<'static>) -> Result<Gate, GateError> {
    // SAFETY: no peer is ready, so nothing is reached; memory here is reached through slices alone.
    unsafe { Gate::discover(Access { directory, request: page(), packets: page(), slot: core::ptr::null_mut() }) }
}

fn gate() -> Gate {
    let directory = page();
    publish(&directory.table(0, word::COUNT as u16).unwrap(), &Layout::default());
    discover(directory).unwrap()
}

const PACKETS: [Packet; 2] = [Packet::new(0, 64, PeerIdx(3)); 2];

#[test]
fn a_call_within_a_call_sends_nothing_and_says_so() {
    let gate = gate();
    let Kind::Here { local, .. } = &gate.kind else { panic!("the gate of a directory of nobody is `Direct`") };
    let within = local.borrow_mut();
    assert_eq!(gate.send(&PACKETS), Outcome::nothing(Status::new(Code::Aborted)));
    drop(within);
    assert_eq!(gate.send(&PACKETS), Outcome::nothing(Status::of_peer(Code::PeerNotReady, PeerIdx(3)).naming(0)));
}

#[test]
fn while_the_host_writes_nothing_is_sent_and_nothing_is_known() {
    let gate = gate();
    gate.access.directory.write(8 * word::SEQUENCE as u64, 7u64).unwrap();
    assert_eq!(gate.send(&PACKETS), Outcome::nothing(Status::of_peer(Code::PeerNotReady, PeerIdx(3)).naming(0)));
    assert_eq!((gate.peer(PeerIdx(0)), gate.find("b")), (Err(PeerError::Busy), Err(PeerError::Busy)));
}

#[test]
fn a_page_without_a_directory_has_no_gate() {
    assert_eq!(discover(page()).err(), Some(GateError::NoDirectory(0)));
    let directory = page();
    publish(&directory.table(0, word::COUNT as u16).unwrap(), &Layout { version: VERSION + 1, ..Layout::default() });
    assert_eq!(discover(directory).err(), Some(GateError::Version(VERSION + 1)));
    publish(&directory.table(0, word::COUNT as u16).unwrap(), &Layout { gate: 4, ..Layout::default() });
    assert_eq!(discover(directory).err(), Some(GateError::Kind(4)));
    publish(&directory.table(0, word::COUNT as u16).unwrap(), &Layout::default());
    for len in [0, 7, 8, 11, 32, 8 * word::COUNT as u64 - 1] {
        assert_eq!(discover(directory.sub(0, len).unwrap()).err(), Some(GateError::Directory), "{len} bytes");
    }
}
