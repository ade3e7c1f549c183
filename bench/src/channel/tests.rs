//! Every packet of a quick run comes through, and a row says what it is about.

use super::*;
use crate::tests::dpdk;

#[test]
fn every_packet_of_a_quick_run_comes_through_a_ring() {
    let rte_vhost = dpdk();
    let mut rows = Vec::new();
    let print = |row: &ChannelRow| {
        rows.push(row.clone());
        Ok(())
    };
    // A packet that does not come through as it was is an error.
    run(&Options { seconds: 0, rte_vhost: rte_vhost.clone() }, print).unwrap();
    let rivals = if rte_vhost.is_some() { 3 } else { 1 };
    assert_eq!(rows.len(), FRAMES.len() * rivals);
    for row in &rows {
        assert!(row.chunks == 1 && row.burst == 32 && row.ticks_per_packet.is_some_and(|ticks| ticks > 0.0), "{row:?}");
        let compared = [row.ratio_to_elements.is_some(), row.ratio_to_mbufs.is_some()];
        let other = |name| rivals > 1 && row.r#impl != name;
        assert_eq!(compared, [other("rte_ring-elements"), other("rte_ring-mbufs")], "{row:?}");
    }
}

#[test]
fn a_packet_that_comes_through_as_another_one_is_found() {
    let mut packets = Packets::new(64, 64);
    let mut carry = |broken: usize| {
        let carried = packets.carry(|packets| {
            packets.to.copy_from_slice(&packets.from);
            packets.to[broken] ^= 1;
            packets.to[0] ^= u8::from(broken == 0);
            Ok(())
        });
        carried.is_ok()
    };
    assert_eq!([0, 1, 63, 31 * 64 + 63].map(&mut carry), [true, false, false, false]);
}

#[test]
fn a_ring_copies_no_packets_that_it_was_not_made_for() {
    let Some(library) = dpdk() else { return };
    let dpdk = Dpdk::hold(&library).unwrap();
    for mbufs in [false, true] {
        let ring = dpdk.ring(64, mbufs, 1024).unwrap();
        let (from, mut to) = ([7; 32 * 64], [0; 32 * 64]);
        assert_eq!(dpdk.copy_through(ring, &from, &mut to).unwrap(), 32);
        assert_eq!(from, to);
        assert!(dpdk.copy_through(ring, &from[1..], &mut to).is_err());
        dpdk.ring(128, mbufs, 1024).unwrap();
        assert_eq!(dpdk.copy_through(ring, &from, &mut to).unwrap(), 0);
    }
}
