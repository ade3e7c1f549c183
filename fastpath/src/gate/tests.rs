//! Calls that do not take place.

extern crate std;

use super::*;
use crate::AccessMemory;
use sluice_abi::directory::{Header, word};
use sluice_control::Directory as Layout;
use sluice_control::publish;
use sluice_inside::Slot;
use sluice_memory::PeerSlice;
use sluice_test_memory::zeroed;
use std::boxed::Box;

/// Returns memory as long as a directory.
fn page() -> PeerSlice<'static> {
    zeroed(8 * word::COUNT as u64)
}

/// Returns memory of `directory`, and no peer's.
fn memory(directory: PeerSlice<'static>) -> AccessMemory {
    AccessMemory {
        directory,
        request: page(),
        packets: page(),
        slot: Slot::of(page()),
        state: Box::leak(Box::default()),
    }
}

fn discover(directory: PeerSlice<'static>) -> Result<Gate, GateError> {
    Gate::discover(Access::direct(memory(directory)))
}

/// Returns the gate of a directory without peers, and the directory.
fn gate_and_directory() -> (Gate, PeerSlice<'static>) {
    let directory = page();
    publish(&directory.table(0, word::COUNT as u16).unwrap(), &Layout::default());
    (discover(directory).unwrap(), directory)
}

const PACKETS: [Packet; 2] = [Packet::new(0, 64, PeerIdx(3)); 2];

#[test]
fn a_call_within_a_call_sends_nothing_and_says_so() {
    let (gate, _) = gate_and_directory();
    let within = gate.crossing.look(|_| gate.send(&PACKETS));
    assert_eq!(
        within,
        Some(Outcome::nothing(Status::new(Code::Aborted))),
        "the gate of a directory of nobody is `Direct`"
    );
    assert_eq!(gate.send(&PACKETS), Outcome::nothing(Status::of_peer(Code::PeerNotReady, PeerIdx(3)).naming(0)));
}

#[test]
fn while_the_host_writes_nothing_is_sent_and_nothing_is_known() {
    let (gate, directory) = gate_and_directory();
    directory.write(8 * word::SEQUENCE as u64, 7u64).unwrap();
    assert_eq!(gate.send(&PACKETS), Outcome::nothing(Status::of_peer(Code::PeerNotReady, PeerIdx(3)).naming(0)));
    assert_eq!((gate.peer(PeerIdx(0)), gate.find("b")), (Err(PeerError::Busy), Err(PeerError::Busy)));
}

#[test]
fn a_page_without_a_directory_has_no_gate() {
    assert_eq!(discover(page()).err(), Some(GateError::NoDirectory(0)));
    let directory = page();
    let says =
        |header| publish(&directory.table(0, word::COUNT as u16).unwrap(), &Layout { header, ..Layout::default() });
    says(Header { version: VERSION + 1, ..Header::default() });
    assert_eq!(discover(directory).err(), Some(GateError::Version(VERSION + 1)));
    says(Header { gate: 4, ..Header::default() });
    assert_eq!(discover(directory).err(), Some(GateError::Kind(4)));
    for kind in GateKind::ALL {
        says(Header { gate: kind as u32, ..Header::default() });
        let refused = discover(directory).err();
        assert_eq!(refused, Some(kind).filter(|kind| *kind != GateKind::Direct).map(GateError::NotDirect));
    }
    says(Header::default());
    for len in [0, 7, 8, 11, 32, 64, 8 * word::COUNT as u64 - 1] {
        assert_eq!(discover(directory.sub(0, len).unwrap()).err(), Some(GateError::Directory), "{len} bytes");
    }
}

/// A later host may have longer entries. Shorter entries, and entries beyond the end of the memory, are
/// refused.
#[test]
fn entries_are_as_long_as_the_header_says() {
    const MORE: usize = 3;
    let longer = word::PEER_LEN + MORE;
    let words = word::peer(MAX_PEERS, longer);
    let all = zeroed(8 * words as u64);
    let directory = all.table::<u64>(0, words as u16).unwrap();
    let peers = (0..MAX_PEERS as u32).map(|vm_id| Peer { vm_id, mtu: 9000, ..Peer::default() });
    publish(&directory, &Layout { peers: peers.clone().collect(), ..Layout::default() });
    // The entries are moved further apart.
    for (index, peer) in peers.enumerate() {
        let entry: [u64; word::PEER_LEN] = zerocopy::transmute!(peer);
        (0..longer).for_each(|at| {
            all.write(8 * (word::peer(index, longer) + at) as u64, *entry.get(at).unwrap_or(&u64::MAX)).unwrap();
        });
    }
    let says = |entry_len: usize| all.write(12, entry_len as u32).unwrap();
    says(8 * longer);
    let gate = discover(all).unwrap();
    for index in PeerIdx::all() {
        assert_eq!(gate.peer(index).map(|peer| (peer.vm_id, peer.mtu)), Ok((index.0.into(), 9000)));
        assert_eq!(gate.peer_state(index), PeerState::Absent);
    }
    for entry_len in [0, 8, 8 * (word::PEER_LEN - 1), 8 * word::PEER_LEN + 4, 8 * longer + 8, u32::MAX as usize] {
        says(entry_len);
        assert_eq!(discover(all).err(), Some(GateError::Directory), "{entry_len} bytes");
    }
}
