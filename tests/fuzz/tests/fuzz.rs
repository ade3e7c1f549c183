//! Each fuzz target for 20 seconds, and a bug that was planted for them to find.

use xtask::fuzz::fuzzer;

const SECONDS: u32 = 20;

/// Nothing is found, and what was reached says that the target gets behind the first checks.
#[track_caller]
fn nothing_is_found(target: &str, executions: u64, coverage: u64) {
    fuzzer().build(false).expect("the targets build");
    let row = fuzzer().fuzz(target, SECONDS, false).expect("it runs");
    println!("{row}");
    assert_eq!(row.findings, 0, "see fuzz/artifacts/{target}");
    assert!(row.executions >= executions && row.coverage >= coverage, "{row}");
}

#[track_caller]
fn the_planted_bug_is_found(target: &str) {
    fuzzer().build(true).expect("the targets build");
    let row = fuzzer().fuzz(target, SECONDS, true).expect("it runs");
    println!("{row}");
    assert_eq!(row.findings, 1, "{row}");
}

#[test]
fn fuzz_device_split_finds_nothing() {
    nothing_is_found("device_split", 1000, 350);
}

#[test]
fn fuzz_device_packed_finds_nothing() {
    nothing_is_found("device_packed", 1000, 350);
}

#[test]
fn fuzz_driver_split_finds_nothing() {
    nothing_is_found("driver_split", 10_000, 200);
}

#[test]
fn fuzz_driver_packed_finds_nothing() {
    nothing_is_found("driver_packed", 10_000, 200);
}

#[test]
fn fuzz_flow_key_finds_nothing() {
    nothing_is_found("flow_key", 10_000, 200);
}

#[test]
fn fuzz_flow_table_finds_nothing() {
    nothing_is_found("flow_table", 10_000, 200);
}

#[test]
fn fuzz_ovs_flow_finds_nothing() {
    nothing_is_found("ovs_flow", 10_000, 400);
}

#[test]
fn fuzz_vhost_messages_finds_nothing() {
    nothing_is_found("vhost_messages", 5_000, 500);
}

#[test]
fn fuzz_nsh_finds_nothing() {
    nothing_is_found("nsh", 10_000, 100);
}

#[test]
fn fuzz_chain_file_finds_nothing() {
    nothing_is_found("chain_file", 5_000, 100);
}

#[test]
fn fuzz_device_split_finds_the_planted_bug() {
    the_planted_bug_is_found("device_split");
}

#[test]
fn fuzz_device_packed_finds_the_planted_bug() {
    the_planted_bug_is_found("device_packed");
}
