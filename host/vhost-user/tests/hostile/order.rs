//! Messages at the wrong time, and of features that were not agreed on.

use crate::front::{Front, LEN, PACKED, PROTOCOL, SPLIT, end_of};
use crate::{common, ends, ends_prepared};
use rustix::fd::AsFd;
use sluice_abi::net::F;
use sluice_vhost_user::Session;
use sluice_vhost_user::message::header::Code;

#[test]
fn what_was_not_offered_ends_the_session() {
    ends("SET_FEATURES: features 0x100008000 were not all offered", |front| front.features(SPLIT | 1 << 15));
    ends("were not all offered", |front| front.features(SPLIT | 1 << 63));
    // Without a migration on offer there is no log.
    ends("were not all offered", |front| front.features(SPLIT | 1 << 26));
    ends("SET_PROTOCOL_FEATURES: protocol features 0x8000 were not", |front| front.protocol(1 << 15));
    ends("SET_PROTOCOL_FEATURES: protocol features 0x2 were not", |front| front.protocol(1 << 1));
}

#[test]
fn a_message_that_is_not_known_ends_the_session() {
    for (code, name) in [
        (Code::ADD_MEM_REG, "ADD_MEM_REG: not known"),
        (Code::GET_INFLIGHT_FD, "GET_INFLIGHT_FD: not known"),
        (Code(0), "message 0: not known"),
        (Code(99), "message 99: not known"),
        (Code(u32::MAX), "message 4294967295: not known"),
    ] {
        ends(name, |front| front.send(code, &[], &[]));
        ends(name, |front| front.send(code, &[0; 5], &[front.file.as_fd()]));
    }
}

#[test]
fn a_ring_before_features_ends_the_session() {
    for (code, body) in [
        (Code::SET_VRING_NUM, &[256 << 32][..]),
        (Code::SET_VRING_BASE, &[0]),
        (Code::SET_VRING_ADDR, &[0; 5]),
        (Code::SET_VRING_KICK, &[1 << 8]),
    ] {
        ends(&format!("{code}: before SET_FEATURES"), |front| front.send(code, body, &[]));
    }
}

#[test]
fn a_message_of_a_protocol_feature_that_was_not_chosen_ends_the_session() {
    let all = |_: &Front, session: &mut Session| session.offer_migration();
    for (code, feature, body) in [
        (Code::GET_QUEUE_NUM, 0, &[][..]),
        (Code::SET_LOG_FD, 1, &[]),
        (Code::SET_LOG_BASE, 1, &[4_096, 0]),
        (Code::SEND_RARP, 2, &[0]),
        (Code::NET_SET_MTU, 4, &[1_500]),
        (Code::SET_STATUS, 16, &[1]),
        (Code::GET_STATUS, 16, &[]),
    ] {
        let files = |front: &Front| if feature == 1 { vec![front.file.try_clone().unwrap()] } else { vec![] };
        let send = |front: &Front| {
            let files = files(front);
            front.send(code, body, &files.iter().map(|file| file.as_fd()).collect::<Vec<_>>());
        };
        let why = format!("{code}: of a protocol feature that was not agreed on");
        ends_prepared(&why, all, send);
        // All others were chosen; the MTU is not on offer.
        ends_prepared(&why, all, |front| {
            front.protocol(0x1_000f & !(1 << feature));
            send(front);
        });
    }
}

#[test]
fn other_features_for_a_ring_that_runs_end_the_session() {
    for (first, then) in [(SPLIT, PACKED), (PACKED, SPLIT), (SPLIT, 0), (SPLIT, SPLIT | PROTOCOL)] {
        ends("while ring 0 has others", |front| {
            front.features(first);
            front.memory(&[(0, LEN)]);
            front.ring(256, [0, LEN / 4, LEN / 2]);
            front.features(then);
        });
    }
}

#[test]
fn numbers_that_are_too_large_end_the_session() {
    let turn = common::turn();
    let (front, mut session) = Front::with(F::VERSION_1 | F::MTU);
    front.protocol(1 << 4);
    front.send(Code::NET_SET_MTU, &[65_536], &[]);
    let end = end_of(&mut session).expect("an end").to_string();
    assert_eq!(end, "NET_SET_MTU: an MTU of 65536 bytes");
    drop((front, session, turn));
    ends("SET_STATUS: unknown bits in 0x100", |front| {
        front.protocol(1 << 16);
        front.send(Code::SET_STATUS, &[0x100], &[]);
    });
}
