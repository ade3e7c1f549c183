//! Bytes that are no message, and front-ends that are slow or do not listen.

use crate::common;
use crate::front::{Front, SPLIT, end_of, message};
use crate::recorded::{DPDK, QEMU, Step, files, lengthen};
use sluice_vhost_user::message::header::Code;
use sluice_vhost_user::{Error, Session};
use std::time::{Duration, Instant};

/// Asserts that each message of the recorded conversations ends the session with `why` if `change` is made to it.
fn all_end(why: &str, change: impl Fn(&mut Vec<u8>)) {
    let _turn = common::turn();
    for step in QEMU.iter().chain(DPDK) {
        let (front, mut session) = Front::new();
        lengthen(&front);
        let mut bytes = message(step.0, step.1, step.2);
        change(&mut bytes);
        front.raw(&bytes, &files(&front, step));
        let end = end_of(&mut session).unwrap_or_else(|| panic!("{step:x?}")).to_string();
        assert!(end.contains(why) && end.contains(&step.0.to_string()), "{step:x?}: {end}");
    }
}

/// Sets a word of a message.
fn set(bytes: &mut [u8], at: usize, change: impl Fn(u32) -> u32) {
    let word = u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    bytes[at..at + 4].copy_from_slice(&change(word).to_ne_bytes());
}

#[test]
fn a_message_of_another_version_ends_the_session() {
    for version in [0, 2, 3] {
        all_end(&format!("version {version} of the protocol"), |bytes| set(bytes, 4, |flags| flags & !3 | version));
    }
}

#[test]
fn flags_that_a_front_end_does_not_set_end_the_session() {
    all_end("flags 0x", |bytes| set(bytes, 4, |flags| flags | 1 << 2));
    all_end("flags 0x", |bytes| set(bytes, 4, |flags| flags | 1 << 31));
}

#[test]
fn a_body_that_is_too_short_or_too_long_ends_the_session() {
    all_end("a body of ", |bytes| {
        set(bytes, 8, |size| size + 1);
        bytes.push(0);
    });
    all_end("a body of ", |bytes| {
        set(bytes, 8, |size| if size == 0 { 8 } else { size - 1 });
        let len = bytes.len();
        bytes.resize(if len == 12 { 20 } else { len - 1 }, 0);
    });
}

#[test]
fn a_body_that_is_longer_than_any_is_not_waited_for() {
    for size in [265, 4_096, u32::MAX] {
        all_end(&format!("a body of {size} bytes, of at most 264"), |bytes| set(bytes, 8, |_| size));
    }
}

/// Sends all steps but the last byte of the last one, a byte at a time, and returns the front-end and its session.
fn trickle(steps: &[Step]) -> (Front, Session) {
    let (front, mut session) = Front::new();
    for step in steps {
        let bytes = message(step.0, step.1, step.2);
        for (index, byte) in bytes.iter().enumerate() {
            if std::ptr::eq(step, &steps[steps.len() - 1]) && index + 1 == bytes.len() {
                break;
            }
            front.raw(&[*byte], &[]);
            assert_eq!(session.handle(Duration::ZERO).unwrap(), index + 1 == bytes.len());
        }
    }
    (front, session)
}

#[test]
fn half_a_message_holds_nobody() {
    let _turn = common::turn();
    let (_front, mut session) = trickle(&QEMU[..5]);
    let start = Instant::now();
    for _ in 0..1_000 {
        session.serve().unwrap();
        assert!(!session.handle(Duration::ZERO).unwrap());
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(session.handled(), 4);
}

#[test]
fn a_front_end_that_never_stops_gets_no_more_than_its_turn() {
    let _turn = common::turn();
    let (front, mut session) = Front::new();
    let burst: Vec<_> = (0..100).flat_map(|_| message(Code::SET_OWNER, 1, &[])).collect();
    front.raw(&burst, &[]);
    (0..256).for_each(|_| session.serve().unwrap());
    assert_eq!(session.handled(), 64);
    (0..256).for_each(|_| session.serve().unwrap());
    assert_eq!(session.handled(), 100);
}

#[test]
fn a_front_end_that_reads_no_replies_ends_the_session() {
    let _turn = common::turn();
    let (front, mut session) = Front::new();
    for _ in 0..1_000_000 {
        front.raw(&message(Code::GET_FEATURES, 1, &[]), &[]);
        if let Err(error) = session.handle(Duration::ZERO) {
            assert!(matches!(error, Error::Unread), "{error}");
            return;
        }
    }
    panic!("a million replies that nobody has read");
}

#[test]
fn a_refusal_is_told_to_a_front_end_that_asks() {
    let _turn = common::turn();
    let (front, mut session) = Front::new();
    front.protocol(1 << 3);
    front.features(SPLIT);
    front.raw(&message(Code::SET_VRING_NUM, 9, &[3 << 32]), &[]);
    front.raw(&message(Code::SET_VRING_NUM, 9, &[4 << 32]), &[]);
    let end = end_of(&mut session).expect("an end").to_string();
    assert_eq!(end, "SET_VRING_NUM: ring 0: 3 entries");
    drop(session);
    assert_eq!(front.reply(), (Code::SET_VRING_NUM, vec![1]));
}
