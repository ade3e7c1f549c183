//! Every look-up that is measured hits, and a row says what it is about.

use super::*;
use crate::tests::dpdk;

#[test]
fn every_look_up_of_a_quick_run_hits() {
    let rte_vhost = dpdk();
    // A burst in which a flow is not found, or a frame is not sent, is an error.
    let mut rows = Vec::new();
    let print = |row: &SwitchRow| {
        rows.push(row.clone());
        Ok(())
    };
    run(&Options { flows: vec![10, 3000], seconds: 0, rte_vhost }, print).unwrap();
    let theirs = rows.iter().filter(|row| row.r#impl == "rte_hash").count();
    assert!(rows.len() == 16 + 2 * 32 + theirs && (theirs == 0 || theirs == 2), "{rows:?}");
    for row in &rows {
        assert!(row.chunks == 1 && row.ticks_per_packet.is_some_and(|ticks| ticks > 0.0), "{row:?}");
        assert!(row.pages != Some(4) || row.large_share == Some(0.0), "{row:?}");
        let compared = theirs > 0 && row.r#impl == "sluice" && row.work == "lookup";
        assert_eq!(row.ratio_to_rte_hash.is_some(), compared, "{row:?}");
    }
}

#[test]
fn chunks_that_do_not_count_have_no_part_in_a_ratio() {
    let ours = [Some(8.0), Some(100.0), None, Some(9.0)];
    let theirs = [Some(16.0), None, Some(1.0), Some(18.0)];
    assert_eq!((ratio(&ours, &theirs), ratio(&ours[1..2], &theirs[1..2])), (Some(0.5), None));
}

#[test]
fn rows_have_names_of_works_frames_and_tables() {
    let names = [name(Work::Lookup), name(Headers::Nsh), name(Table::Front)];
    assert_eq!(names, ["lookup", "NSH", "front"]);
}

#[test]
fn rte_hash_says_which_flow_it_found() {
    let Some(library) = dpdk() else { return };
    let dpdk = crate::dpdk::Dpdk::hold(&library).unwrap();
    dpdk.new_hash(64).unwrap();
    (0..9).for_each(|flow| dpdk.add_to_hash(&frames::key(flow), 100 + flow).unwrap());
    dpdk.set_keys(&[3, 77, 8].map(frames::key));
    assert_eq!((dpdk.look_up(), dpdk.value(0), dpdk.value(2)), (0b101, 103, 108));
}
