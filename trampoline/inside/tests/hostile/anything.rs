//! Everything at once: two hostile peers, a hostile sender and an honest peer.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_abi::call::{HDR, Packet};
use sluice_abi::virtq::Desc;
use sluice_abi::{Gpa, PeerIdx};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Peers 0 and 1 write anything, peer 2 is honest, and the sender asks for anything.
    #[test]
    fn whatever_is_written_only_lawful_packets_arrive(rounds in vec(round(), 1..8)) {
        let mut sender = WindowSender::new(3, SIZE);
        let packets = read(sender.packets(), 0, PACKETS_LEN);
        for round in rounds {
            play(&mut sender, &round);
            assert_eq!(read(sender.packets(), 0, PACKETS_LEN), packets);
            sender.check();
        }
    }
}

/// What two hostile peers and a hostile sender write before a call.
#[derive(Clone, Debug)]
struct Round {
    rings: [HostileRing; 2],
    packets: Vec<Packet>,
}

#[derive(Clone, Debug)]
struct HostileRing {
    table: Vec<Desc>,
    heads: Vec<u16>,
    /// How far `avail.idx` is ahead.
    ahead: u16,
}

/// One call after both rings are written; whatever comes of it, the books agree.
fn play(sender: &mut WindowSender, round: &Round) {
    for (place, ring) in round.rings.iter().enumerate() {
        if sender.window.is_quarantined(PeerIdx(place as u8)) {
            sender.peers[place].restart();
            assert_eq!(sender.peers[place].attach(&mut sender.window, PeerIdx(place as u8)), Ok(()));
        }
        write_ring(&sender.peers[place], ring);
    }
    let missing = SIZE - sender.peers[2].outstanding();
    sender.peers[2].give(missing);
    let before = [0, 1, 2].map(|place: usize| sender.peers[place].used_idx());
    let burst = sender.transmit(&round.packets);
    let accepted: Vec<_> = burst.accepted.iter().map(|&index| round.packets[index]).collect();
    for (place, before) in before.into_iter().enumerate() {
        let count = accepted.iter().filter(|packet| packet.peer.get() == place).count();
        assert_eq!(usize::from(sender.peers[place].used_idx().wrapping_sub(before)), count);
    }
    assert!(accepted.iter().all(|packet| packet.peer < PeerIdx(3) && packet.len > 0 && packet.flags & !HDR == 0));
    assert!(burst.status.code() != Code::PeerFault || sender.window.is_quarantined(burst.status.peer()));
    assert!(!sender.window.is_quarantined(PeerIdx(2)));
    check_honest(sender, &accepted);
}

/// Writes all of a hostile ring.
fn write_ring(peer: &Peer, ring: &HostileRing) {
    for (index, desc) in (0..).zip(&ring.table) {
        peer.write_desc(index, *desc);
    }
    let next = peer.used_idx();
    for (index, head) in (0..).zip(&ring.heads) {
        peer.set_avail(next.wrapping_add(index), *head);
    }
    peer.set_avail_idx(next.wrapping_add(ring.ahead));
}

/// The honest peer got what was accepted for it, whole and in order.
fn check_honest(sender: &mut WindowSender, accepted: &[Packet]) {
    let packets = sender.packets();
    for packet in accepted.iter().filter(|packet| packet.peer == PeerIdx(2)) {
        let (_, bytes) = sender.peers[2].take().expect("accepted, so published");
        assert_eq!(bytes, with_header(&read(packets, u64::from(packet.offset), u64::from(packet.len))));
    }
    // What the hostile ones got is theirs to look at.
    sender.peers[..2].iter_mut().for_each(Peer::skip);
}

fn round() -> impl Strategy<Value = Round> {
    (ring(), ring(), vec(packet(), 0..12)).prop_map(|(a, b, packets)| Round { rings: [a, b], packets })
}

fn ring() -> impl Strategy<Value = HostileRing> {
    let ahead = prop_oneof![4 => 0..=SIZE, 1 => any::<u16>()];
    let head = prop_oneof![8 => 0..SIZE, 1 => any::<u16>()];
    (vec(desc(), SIZE as usize), vec(head, SIZE as usize), ahead).prop_map(|(table, heads, ahead)| HostileRing {
        table,
        heads,
        ahead,
    })
}

fn desc() -> impl Strategy<Value = Desc> {
    let lawful = (0..SIZE).prop_map(|index| GPA + BUFFERS + u64::from(index) * u64::from(BUFFER_LEN));
    let near = (-5000i64..5000).prop_map(|off| SECOND_GPA.wrapping_add_signed(off));
    let addr = prop_oneof![6 => lawful, 2 => near, 1 => any::<u64>()];
    let len = prop_oneof![6 => Just(BUFFER_LEN), 3 => 0..100u32, 1 => any::<u32>()];
    let flags = prop_oneof![6 => Just(DescF::WRITE.bits()), 3 => Just(MORE.bits()), 1 => any::<u16>()];
    let next = prop_oneof![8 => 0..SIZE, 1 => any::<u16>()];
    (addr, len, flags, next).prop_map(|(addr, len, flags, next)| Desc { addr: Gpa(addr), len, flags, next })
}

fn packet() -> impl Strategy<Value = Packet> {
    let offset = prop_oneof![8 => 0..100_000u32, 1 => any::<u32>()];
    let len = prop_oneof![4 => Just(64u16), 8 => 0..=LONGEST, 1 => Just(0), 1 => any::<u16>()];
    let peer = prop_oneof![20 => 0..3u8, 1 => any::<u8>()].prop_map(PeerIdx);
    let flags = prop_oneof![40 => Just(0), 1 => any::<u8>()];
    (offset, len, peer, flags).prop_map(|(offset, len, peer, flags)| Packet { offset, len, peer, flags })
}
