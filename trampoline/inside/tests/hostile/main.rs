//! What the window code makes of rings, honest and hostile. One test per case; every test ends with a look at the
//! poison around everybody's memory.

mod anything;
mod attach;
mod descriptors;
mod honest;
mod indices;
mod lifecycle;
mod mistakes;
mod runs;

#[path = "../peer/mod.rs"]
mod peer;

use peer::*;
use sluice_abi::PeerIdx;
use sluice_abi::call::{Clause, Code, Status};
use sluice_abi::virtq::DescF;

const SIZE: u16 = 8;
/// Longest frame that a peer's buffers must hold, bytes.
const OWED: u16 = MTU + 14;
/// Longest frame with one VLAN tag that is accepted, bytes.
const LONGEST: u16 = MTU + 18;
const MORE: DescF = DescF::WRITE.union(DescF::NEXT);

/// One packet arrives; then `lie` makes the ring break `clause`, and the peer is quarantined, while another one goes
/// on. With frames of different lengths, and with such as the window has a loop of its own for.
#[track_caller]
fn blames(clause: Clause, lie: impl Fn(&mut Peer)) {
    for lines in [false, true] {
        let mut sender = WindowSender::new(2, SIZE);
        sender.lines = lines;
        blames_with(sender, clause, &lie);
    }
}

#[track_caller]
fn blames_with(mut sender: WindowSender, clause: Clause, lie: impl Fn(&mut Peer)) {
    sender.peers[0].give(1);
    assert_eq!(sender.send(&[0]).accepted, [0]);
    sender.check();
    lie(&mut sender.peers[0]);
    sender.peers[1].give(2);
    let burst = sender.send(&[1, 0, 0, 1]);
    assert_eq!(burst, Burst { status: Status::peer_fault(clause, PeerIdx(0)), accepted: vec![0, 3] });
    assert_eq!([0, 1].map(|place| sender.window.is_quarantined(PeerIdx(place))), [true, false]);
    assert_eq!(sender.send(&[0]), Burst { status: Status::of_peer(Code::PeerNotReady, PeerIdx(0)), accepted: vec![] });
    assert_eq!(sender.peers[0].used_idx(), 1);
    sender.check();
}
