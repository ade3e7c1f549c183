//! Available and used indices that a peer may not have written, and heads of no chain.

use super::*;

#[test]
fn an_available_index_too_far_ahead_is_blamed() {
    blames(Clause::AvailIdx, |peer| peer.set_avail_idx(1 + SIZE + 1));
    blames(Clause::AvailIdx, |peer| peer.set_avail_idx(0x8000));
}

#[test]
fn an_available_index_that_goes_backwards_is_blamed() {
    blames(Clause::AvailIdx, |peer| peer.set_avail_idx(0));
}

#[test]
fn a_head_beyond_the_table_is_blamed() {
    blames(Clause::DescIndex, |peer| peer.offer(SIZE));
    blames(Clause::DescIndex, |peer| peer.offer(u16::MAX));
}

#[test]
fn a_used_index_moved_by_the_peer_is_not_believed() {
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].give(3);
    sender.send(&[0]);
    sender.check();
    sender.peers[0].ram().write(DEVICE + 2, 0x1234u16).expect("inside");
    assert_eq!(sender.send(&[0, 0]).accepted, [0, 1]);
    assert_eq!(sender.peers[0].used_idx(), 3);
    sender.check();
}
