//! Calls that were interrupted, at places that no test from outside can stop at.

use super::*;
use crate::peer::{SECOND_GPA, SECOND_LEN, WindowSender};
use sluice_abi::call::Packet;
use sluice_abi::virtq::DescF;
use sluice_memory::Words;

/// Returns a window that has filled two buffers of peer 0 when it is interrupted.
fn interrupted() -> WindowSender {
    let mut sender = WindowSender::new(1, 8);
    sender.peers[0].give(4);
    let request = sender.request();
    for index in 0..2 {
        request.write(8 * index, Packet::new(0, 64, PeerIdx(0))).expect("inside");
    }
    sender.window.begin(2, 0);
    let packets = request.table(0, 2).expect("aligned");
    assert_eq!(sender.window.peer(0).map(|peer| peer.enqueue_more(packets, PeerIdx(0), Words)), Some(2));
    sender
}

/// What the loop fills by itself, without the general path.
#[test]
fn buffers_in_several_regions_are_all_filled_by_the_loop() {
    for lines in [64, 100] {
        let mut sender = WindowSender::new(1, 8);
        sender.peers[0].give(2);
        for at in [0, 2048] {
            sender.peers[0].give_buffer((SECOND_GPA + at, 2048), DescF::WRITE);
        }
        sender.peers[0].give(1);
        let request = sender.request();
        let packet = Packet::new(0, lines, PeerIdx(0));
        (0..6).for_each(|index| request.write(8 * index, packet).expect("inside"));
        let packets = request.table(0, 6).expect("aligned");
        let peer = sender.window.peer(0).expect("attached");
        let filled = [0, 2, 4, 5].map(|from| peer.enqueue_more(packets.from(from), PeerIdx(0), Words));
        assert_eq!(filled, [2, 2, 1, 0]);
    }
}

/// A driver that changes the region while the loop looks for it gets nothing that is not its own, and ends no call
/// late.
#[test]
fn a_buffer_in_no_region_is_left_to_the_general_path() {
    let mut sender = WindowSender::new(1, 8);
    sender.peers[0].give_buffer((SECOND_GPA + SECOND_LEN, 2048), DescF::WRITE);
    sender.request().write(0, Packet::new(0, 64, PeerIdx(0))).expect("inside");
    let packets = sender.request().table(0, 1).expect("aligned");
    let peer = sender.window.peer(0).expect("attached");
    assert_eq!(peer.enqueue_more(packets, PeerIdx(0), Words), 0);
}

#[test]
fn a_call_interrupted_before_it_publishes_is_undone() {
    let mut sender = interrupted();
    assert_eq!((sender.window.recover(), sender.peers[0].used_idx()), (Accepted::default(), 0));
    assert_eq!(sender.send(&[0, 0, 0, 0]).accepted, [0, 1, 2, 3]);
    sender.check();
}

#[test]
fn a_call_interrupted_while_it_publishes_is_completed() {
    let mut sender = interrupted();
    sender.window.phase.set(Phase::WHOLE);
    assert_eq!((sender.window.recover(), sender.peers[0].used_idx()), (Accepted([0b11, 0, 0, 0]), 2));
    let mut sender = interrupted();
    sender.window.accepted = Accepted([0b101, 0, 0, 0]);
    sender.window.phase.set(Phase::PARTIAL);
    assert_eq!((sender.window.recover(), sender.peers[0].used_idx()), (Accepted([0b101, 0, 0, 0]), 2));
    assert_eq!((sender.window.recover(), sender.peers[0].used_idx()), (Accepted([0b101, 0, 0, 0]), 2));
}
