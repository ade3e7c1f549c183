//! Every frame of a quick run comes through, and a row says what it is about; frames without a byte are refused.

use super::*;
use crate::tests::dpdk;

#[test]
fn every_frame_of_a_quick_run_comes_through() {
    let rte_vhost = dpdk();
    let mut rows = Vec::new();
    let print = |row: &ChainRow| {
        rows.push(row.clone());
        Ok(())
    };
    // A frame that does not come through as it should is an error.
    run(&Options { seconds: 0, rte_vhost: rte_vhost.clone() }, print).unwrap();
    let of = |name: &str| rows.iter().filter(|row| row.r#impl == name).count();
    let theirs = if rte_vhost.is_some() { 2 } else { 0 };
    assert_eq!((of("sluice"), of("memif"), of("vhost"), rows.len()), (3, theirs, theirs, 3 + 2 * theirs));
    for row in &rows {
        assert!(row.chunks == 1 && row.hops == 3 && row.ticks_per_hop.is_some_and(|ticks| ticks > 0.0), "{row:?}");
        let compared = theirs > 0 && row.r#impl == "sluice";
        assert_eq!([row.ratio_to_memif.is_some(), row.ratio_to_vhost.is_some()], [compared; 2], "{row:?}");
    }
}

#[test]
fn a_link_of_dpdk_carries_no_frame_without_a_byte() {
    let Some(library) = dpdk() else { return };
    for vhost in [false, true] {
        let error = Dpdk::new(&library, vhost, 0).unwrap().burst().unwrap_err().to_string();
        assert_eq!(error, "the library makes no frames of 0 bytes");
        Dpdk::new(&library, vhost, 1).unwrap().burst().unwrap();
    }
}
