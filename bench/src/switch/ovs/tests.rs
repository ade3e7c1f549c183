//! What Open vSwitch prints and is told, and what comes of figures. `cargo xtask bench switch` runs it.

use super::*;
use std::collections::HashSet;

fn ovs(table: &str, setting: &str, ticks: f64) -> SwitchRow {
    let (table, setting) = (Some(table.into()), Some(setting.into()));
    SwitchRow { work: "all".into(), table, setting, ticks_per_packet: Some(ticks), ..row("ovs", 1000) }
}

#[test]
fn misses_of_all_threads_are_added_up() {
    let text = "pmd:\n  miss with success upcall: 32\n  miss with failed upcall: 1\nmain thread:\n  miss with success \
                upcall: 4 (0.00 x)\n";
    assert_eq!((misses(text), misses("  emc hits: 7\n"), misses("miss with x: y")), (Some(37), None, None));
}

#[test]
fn thirty_two_entries_have_sixteen_masks() {
    let entries: HashSet<_> = (0..32).map(|number| one_of_sixteen(number, 2)).collect();
    let masks: HashSet<_> = entries
        .iter()
        .map(|entry| entry.split_once("ipv4(").unwrap().1.split_once(',').unwrap().0.to_owned())
        .collect();
    assert_eq!((entries.len(), masks.len()), (32, 16));
    let wanted = "recirc_id(0),in_port(7),packet_type(ns=0,id=0),eth(src=06:06:00:00:00:01,dst=02:00:00:00:00:19),\
                  eth_type(0x0800),ipv4(src=0.0.0.0/2.0.0.0,proto=17,ttl=64,frag=no),udp(src=0/0,dst=0/0)";
    assert_eq!(one_of_sixteen(25, 7), wanted);
}

#[test]
fn a_row_is_compared_with_the_default_and_with_the_best_setting_of_its_own_table() {
    let theirs = [ovs("subtables", "default", 200.0), ovs("subtables", "smc", 100.0), ovs("wide", "smc", 10.0)];
    let ours = |table: &str| SwitchRow { setting: None, r#impl: "sluice".into(), ..ovs(table, "", 50.0) };
    let ratios = |row: SwitchRow| compare(row, &theirs).ratios.into_iter().collect::<Vec<_>>();
    let both = vec![("ovs".to_owned(), 0.25), ("ovs-best".to_owned(), 0.5)];
    assert_eq!((ratios(ours("front")), ratios(ours("subtables"))), (both.clone(), both));
    assert_eq!(ratios(ours("wide")), [("ovs-best".to_owned(), 5.0)]);
    assert_eq!(ratios(SwitchRow { flows: 10, ..ours("front") }), []);
    assert_eq!(ratios(SwitchRow { work: "act".into(), ..ours("front") }), []);
    assert_eq!(ratios(SwitchRow { setting: Some("alone".into()), ..ours("front") }), []);
}

#[test]
fn what_the_first_row_takes_is_taken_off_the_others() {
    let series = |ticks: &[f64]| Series::of(ticks.iter().map(|ticks| (*ticks, 100)));
    let all = vec![(row("testpmd", 1000), series(&[60.0])), (ovs("wide", "smc", 0.0), series(&[300.0, 310.0, 320.0]))];
    let rows = figures(all, 100);
    assert_eq!(rows.iter().map(|row| row.ticks_per_packet).collect::<Vec<_>>(), [Some(60.0), Some(250.0)]);
    assert_eq!((rows[1].quiet_chunks, rows[1].chunks), (3, 3));
    let none = vec![(row("testpmd", 1000), Series::of([])), (ovs("wide", "smc", 0.0), series(&[300.0]))];
    assert!(figures(none, 100).iter().all(|row| row.ticks_per_packet.is_none()));
}
