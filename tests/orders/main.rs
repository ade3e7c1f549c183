//! What one side of a queue reads of the other's writes: the tests of guest-driver/tests/orders.rs under Miri, in many
//! schedules.
//!
//! # Why not under loom
//! loom tries all orders, but of its own atomics: code that reaches a ring by addresses would have to be written for
//! both. Miri runs the code as it is, payload and all, and checks of each pair of accesses that something orders them.

use xtask::miri;

/// Runs the test `name` there.
fn in_miri(name: &str) {
    miri::available().expect("Miri");
    let output = miri::schedules(Some(name)).output().expect("cargo");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && text.contains(&format!("test {name} ... ok")), "{text}");
}

#[test]
fn a_burst_through_a_window_is_seen_whole_in_miri() {
    in_miri("a_burst_through_a_window_is_seen_whole_by_another_thread");
}

#[test]
fn a_frame_merged_over_buffers_is_seen_whole_in_miri() {
    in_miri("a_frame_merged_over_buffers_is_seen_whole_by_another_thread");
}

#[test]
fn chains_that_are_sent_are_seen_whole_in_miri() {
    in_miri("chains_that_are_sent_are_seen_whole_by_another_thread");
}

#[test]
fn a_driver_that_asks_misses_no_buffer_in_miri() {
    in_miri("a_driver_that_asks_and_looks_once_more_misses_no_buffer");
}

#[test]
fn a_device_that_asks_misses_no_buffer_in_miri() {
    in_miri("a_device_that_asks_and_looks_once_more_misses_no_buffer");
}
