//! Rings that can't be.

use crate::ends;
use crate::front::{LEN, PACKED, SPLIT, USER};
use sluice_vhost_user::message::header::Code;

#[test]
fn a_ring_of_a_wrong_size_ends_the_session() {
    for (features, size) in [(SPLIT, 0), (SPLIT, 3), (SPLIT, 40_000), (PACKED, 0), (PACKED, 32_769), (PACKED, 65_537)] {
        ends(&format!("SET_VRING_NUM: ring 0: {size} entries"), |front| {
            front.features(features);
            front.send(Code::SET_VRING_NUM, &[size << 32], &[]);
        });
    }
}

#[test]
fn a_ring_that_is_not_there_ends_the_session() {
    let words = |index: u64| [index, index | 1 << 32];
    for (code, body) in [
        (Code::SET_VRING_NUM, &[4 | 256 << 32][..]),
        (Code::SET_VRING_ADDR, &[4, 0, 0, 0, 0]),
        (Code::SET_VRING_BASE, &[4]),
        (Code::GET_VRING_BASE, &[4]),
        (Code::SET_VRING_ENABLE, &words(4)[1..]),
        (Code::SET_VRING_KICK, &[4 | 1 << 8]),
        (Code::SET_VRING_CALL, &[4 | 1 << 8]),
        (Code::SET_VRING_ERR, &[4 | 1 << 8]),
    ] {
        ends(&format!("{code}: ring 4 of 4"), |front| {
            front.features(SPLIT);
            front.send(code, body, &[]);
        });
    }
    ends("ring 4294967295 of 4", |front| front.send(Code::SET_VRING_ENABLE, &[0xffff_ffff], &[]));
    ends("ring 255 of 4", |front| front.event(Code::SET_VRING_CALL, 255));
}

#[test]
fn a_ring_outside_of_all_memory_ends_the_session() {
    for at in [[LEN, 0, 0], [0, LEN, 0], [0, 0, LEN], [0u64.wrapping_sub(16), 0, 0], [0u64.wrapping_sub(USER), 0, 0]] {
        ends("is in no memory region", |front| {
            front.features(SPLIT);
            front.memory(&[(0, LEN)]);
            front.ring(256, at);
        });
    }
}

#[test]
fn a_ring_that_reaches_out_of_its_region_ends_the_session() {
    for (features, at) in [(SPLIT, [LEN - 4_080, 0, 0]), (SPLIT, [0, LEN - 512, 0]), (PACKED, [LEN - 4_080, 0, 0])] {
        ends("ring 0: Layout", |front| {
            front.features(features);
            front.memory(&[(0, LEN)]);
            front.ring(256, at);
        });
    }
}

#[test]
fn a_ring_at_a_crooked_address_ends_the_session() {
    for (what, body) in [
        ("descriptors at 0x8 ", [0, 8, 0, 0, 0]),
        ("driver area at 0x1 ", [0, 0, 0, 1, 0]),
        ("device area at 0x2 ", [0, 0, 2, 0, 0]),
    ] {
        ends(&format!("SET_VRING_ADDR: {what}"), |front| {
            front.features(SPLIT);
            front.send(Code::SET_VRING_ADDR, &body, &[]);
        });
    }
}

#[test]
fn bits_that_say_nothing_end_the_session() {
    for (code, body) in [
        (Code::SET_VRING_ADDR, &[2 << 32, 0, 0, 0, 0][..]),
        (Code::SET_VRING_KICK, &[1 << 9]),
        (Code::SET_VRING_CALL, &[1 << 63 | 1 << 8]),
    ] {
        ends(&format!("{code}: unknown bits in"), |front| {
            front.features(SPLIT);
            front.send(code, body, &[]);
        });
    }
    ends("SET_VRING_ENABLE: ring 0: 2 is neither on nor off", |front| {
        front.send(Code::SET_VRING_ENABLE, &[2 << 32], &[]);
    });
}
