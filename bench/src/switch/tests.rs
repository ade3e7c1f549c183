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
    let processors = crate::clock::processors();
    let turns = turns::Options { seconds: 0, rte_vhost };
    run(&Options { flows: vec![10, 3000], turns, ovs: false }, &processors, print).unwrap();
    let of = |who: &str| rows.iter().filter(|row| row.r#impl == who).count();
    let others = rows.iter().filter(|row| row.setting.is_some()).count();
    assert_eq!(others, 7 + if processors.len() > 1 { 4 } else { 0 });
    assert_eq!(of("sluice"), 16 + others + 2 * (32 + 4));
    assert!(of("rte_hash") == of("c") && [0, 2].contains(&of("c")), "{rows:?}");
    for row in &rows {
        assert!(row.chunks == 1 && row.ticks_per_packet.is_some_and(|ticks| ticks > 0.0), "{row:?}");
        assert!(row.pages != Some(4) || row.large_share.is_none_or(|share| share == 0.0), "{row:?}");
        let ratio = |name: &str| row.ratios.get(name).is_some_and(|ratio| *ratio > 0.0);
        let (compared, setting) = (of("c") > 0 && row.setting.is_none(), row.setting.as_deref());
        assert_eq!(ratio("rte_hash"), compared && row.r#impl == "sluice" && row.work == "lookup", "{row:?}");
        let all = row.r#impl == "sluice" && row.work == "all";
        assert_eq!(ratio("c"), compared && all, "{row:?}");
        assert_eq!(ratio("bare"), row.work == "consistent", "{row:?}");
        assert_eq!(ratio("alone"), setting == Some("changes") || setting == Some("headers") && all, "{row:?}");
        assert_eq!(row.changes.is_some(), setting == Some("changes"), "{row:?}");
    }
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
