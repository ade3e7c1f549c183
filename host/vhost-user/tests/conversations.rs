//! Conversations as QEMU and DPDK have them: rings that run, and the answers.

#[path = "common/mod.rs"]
mod common;
#[path = "common/front.rs"]
#[allow(dead_code, reason = "a part is needed here")]
mod front;
#[path = "common/recorded.rs"]
mod recorded;

use common::Open;
use front::{Front, GPA, LEN, PROTOCOL, SPLIT, end_of, event, message};
use recorded::{DPDK, QEMU, Step, files, lengthen};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use sluice_abi::net::F;
use sluice_vhost_user::message::Message;
use sluice_vhost_user::message::header::Code;
use sluice_vhost_user::{Error, Session};
use std::io::{Read, Write};
use std::time::Duration;

/// Returns what a step is answered after `status` was set last, if it is.
fn answer(&(code, flags, body): &Step, status: u64, packed: bool) -> Option<Vec<u64>> {
    match code {
        Code::GET_FEATURES => Some(vec![0x5_4000_0000]),
        Code::GET_PROTOCOL_FEATURES => Some(vec![0x10009]),
        Code::GET_QUEUE_NUM => Some(vec![2]),
        Code::GET_STATUS => Some(vec![status]),
        Code::GET_VRING_BASE => Some(vec![body[0] | if packed { 0x8000_8000 << 32 } else { 0 }]),
        _ => (flags & 8 != 0).then(|| vec![0]),
    }
}

/// Holds the conversation, `cut` bytes at a time or each message at once, and checks each answer.
fn talk(front: &Front, session: &mut Session, steps: &[Step], cut: Option<usize>) {
    let (mut status, packed) = (0, steps == DPDK);
    for step in steps {
        let bytes = message(step.0, step.1, step.2);
        let mut descriptors = files(front, step);
        let pieces: Vec<_> = bytes.chunks(cut.unwrap_or(bytes.len())).collect();
        for (index, piece) in pieces.iter().enumerate() {
            front.raw(piece, &std::mem::take(&mut descriptors));
            let handled = session.handle(Duration::ZERO).unwrap_or_else(|error| panic!("{step:x?}: {error}"));
            assert_eq!(handled, index + 1 == pieces.len(), "{step:x?}, piece {index}");
        }
        if let Some(expected) = answer(step, status, packed) {
            assert_eq!(front.reply(), (step.0, expected), "{step:x?}");
        }
        if step.0 == Code::SET_STATUS {
            status = step.2[0];
        }
    }
    assert!(!is_readable(&front.socket), "an answer that nobody asked for");
}

/// Returns whether there is something to read.
fn is_readable(socket: &impl AsFd) -> bool {
    poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&Timespec::default())).unwrap() > 0
}

/// Returns a front-end with as much memory as those that were recorded, and its session.
fn recorded() -> (Front, Session) {
    let (front, session) = Front::new();
    lengthen(&front);
    (front, session)
}

#[test]
fn the_orders_of_qemu_and_of_dpdk_lead_to_running_rings() {
    let _turn = common::turn();
    for (steps, features) in [(&QEMU[..], F::VERSION_1), (DPDK, F::VERSION_1 | F::RING_PACKED)] {
        let (front, mut session) = recorded();
        talk(&front, &mut session, steps, None);
        assert_eq!(session.handled(), steps.len() as u64);
        let device = session.device();
        assert!(device.is_running(1) && !device.is_running(2));
        assert_eq!((device.features(), device.status()), (features, 0xf));
        let queue = device.queue(1).unwrap();
        let [_, desc, ..] = steps.iter().rev().find(|step| step.0 == Code::SET_VRING_ADDR).unwrap().2 else { panic!() };
        let [(region, file)] = device.memory() else { panic!("{} regions", device.memory().len()) };
        assert_eq!((queue.index, queue.size, queue.addresses.desc.0), (1, 256, desc - region.user + region.gpa));
        assert_eq!((region.len, region.offset, file.metadata().unwrap().len()), (0x1000_0000, 0, 0x1000_0000));
    }
}

#[test]
fn a_conversation_that_comes_byte_by_byte_has_the_same_end() {
    let _turn = common::turn();
    for steps in [&QEMU[..], DPDK] {
        let (front, mut session) = recorded();
        talk(&front, &mut session, steps, Some(1));
        assert!(session.device().is_running(1));
    }
}

#[test]
fn rings_go_on_when_the_status_is_0_and_stop_when_they_are_asked_where_they_stand() {
    let _turn = common::turn();
    let (front, mut session) = recorded();
    let reset = QEMU.iter().position(|step| *step == (Code::SET_STATUS, 1, &[0][..])).unwrap();
    talk(&front, &mut session, &QEMU[..=reset], None);
    assert!(session.device().is_running(1));
    talk(&front, &mut session, &QEMU[reset + 1..reset + 2], None);
    assert!(session.device().queue(0).is_none() && session.device().queue(1).is_some());
}

#[test]
fn a_ring_goes_on_until_the_message_that_stops_it_is_handled() {
    let _turn = common::turn();
    let (front, mut session) = recorded();
    talk(&front, &mut session, DPDK, None);
    front.send(Code::GET_VRING_BASE, &[1], &[]);
    front.send(Code::SET_OWNER, &[], &[]);
    for _ in 0..2 {
        assert_eq!(session.peek(Duration::ZERO).unwrap(), Some(&Message::GetVringBase(1)));
        assert!(session.device().queue(1).is_some());
    }
    assert!(!is_readable(&front.socket), "the answer waits");
    assert!(session.handle(Duration::ZERO).unwrap());
    assert!(session.device().queue(1).is_none() && is_readable(&front.socket));
    assert_eq!(session.peek(Duration::ZERO).unwrap(), Some(&Message::SetOwner));
}

#[test]
fn what_a_front_end_says_of_its_guest_is_kept() {
    let _turn = common::turn();
    let (front, mut session) = Front::with(F::VERSION_1 | F::MTU);
    session.offer_migration();
    assert!(!is_readable(&session));
    front.send(Code::GET_FEATURES, &[], &[]);
    front.send(Code::GET_PROTOCOL_FEATURES, &[], &[]);
    assert!(is_readable(&session) && end_of(&mut session).is_none());
    assert_eq!(front.reply(), (Code::GET_FEATURES, vec![(F::VERSION_1 | F::MTU).bits() | PROTOCOL | 1 << 26]));
    assert_eq!(front.reply(), (Code::GET_PROTOCOL_FEATURES, vec![0x1001f]));
    front.protocol(0x1001f);
    front.send(Code::NET_SET_MTU, &[9_000], &[]);
    front.send(Code::SEND_RARP, &[0x5634_1200_5452], &[]);
    assert!(end_of(&mut session).is_none());
    let device = session.device();
    assert_eq!((device.mtu(), device.mac()), (Some(9_000), Some([0x52, 0x54, 0, 0x12, 0x34, 0x56])));
}

#[test]
fn a_front_end_that_goes_at_any_message_leaves_nothing() {
    let _turn = common::turn();
    let before = Open::now();
    for steps in [&QEMU[..], DPDK] {
        for count in 0..steps.len() {
            let (front, mut session) = recorded();
            talk(&front, &mut session, &steps[..count], None);
            let step = &steps[count];
            let bytes = message(step.0, step.1, step.2);
            front.raw(&bytes[..bytes.len() - 1], &files(&front, step));
            drop(front);
            let end = end_of(&mut session).expect("an end");
            assert!(matches!(end, Error::Truncated(len) if len == bytes.len() - 1), "{end}");
            drop(session);
            let (front, mut session) = recorded();
            talk(&front, &mut session, &steps[..count], None);
            drop(front);
            assert!(matches!(end_of(&mut session), Some(Error::HungUp)));
            drop(session);
            assert_eq!(Open::now(), before, "after {count} messages");
        }
    }
}

/// Sets up ring 0 at the start of the memory with one buffer of 2,048 bytes at 0x8000.
fn give_a_buffer(front: &Front) {
    let memory = front.memory.slice();
    let descriptor = [(GPA + 0x8000).to_ne_bytes(), (2_048 | 2u64 << 32).to_ne_bytes()].concat();
    memory.copy_from_slice(0, &descriptor).unwrap();
    memory.copy_from_slice(0x4000, &[0, 0, 1, 0, 0, 0]).unwrap();
    front.ring(16, [0, 0x4000, 0x6000]);
}

#[test]
fn without_protocol_features_a_ring_runs_once_it_is_started() {
    let _turn = common::turn();
    for (protocol, runs) in [(0, true), (PROTOCOL, false)] {
        let (front, mut session) = Front::new();
        front.features(SPLIT | protocol);
        front.memory(&[(0, LEN)]);
        give_a_buffer(&front);
        assert!(end_of(&mut session).is_none());
        assert_eq!(session.device().queue(0).is_some(), runs);
        assert_eq!(session.device().enqueue(0, &[0xa5; 60]).unwrap(), runs);
    }
}

#[test]
fn a_ring_that_is_disabled_takes_nothing() {
    let _turn = common::turn();
    let (front, mut session) = Front::new();
    front.features(SPLIT);
    front.memory(&[(0, LEN)]);
    give_a_buffer(&front);
    front.send(Code::SET_VRING_ENABLE, &[0], &[]);
    assert!(end_of(&mut session).is_none());
    assert!(!session.device().enqueue(0, &[0xa5; 60]).unwrap());
    front.send(Code::SET_VRING_ENABLE, &[1 << 32], &[]);
    assert!(end_of(&mut session).is_none());
    assert!(session.device().enqueue(0, &[0xa5; 60]).unwrap());
}

#[test]
fn of_two_call_events_the_last_one_counts() {
    let _turn = common::turn();
    let (front, mut session) = Front::new();
    let mut last = event();
    front.features(SPLIT);
    front.memory(&[(0, LEN)]);
    front.event(Code::SET_VRING_CALL, 0);
    give_a_buffer(&front);
    front.send(Code::SET_VRING_CALL, &[0], &[last.as_fd()]);
    assert!(end_of(&mut session).is_none());
    let device = session.device();
    assert!(device.enqueue(0, &[0xa5; 60]).unwrap());
    device.publish(0).unwrap();
    let mut count = [0; 8];
    last.read_exact(&mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 1);
    assert!((&front.event).read(&mut count).is_err(), "nobody has written the first one");
}

#[test]
fn an_event_that_counts_no_further_makes_nobody_wait() {
    let _turn = common::turn();
    let (front, mut session) = Front::new();
    (&front.event).write_all(&(u64::MAX - 1).to_ne_bytes()).unwrap();
    front.features(SPLIT);
    front.memory(&[(0, LEN)]);
    front.event(Code::SET_VRING_CALL, 0);
    give_a_buffer(&front);
    assert!(end_of(&mut session).is_none());
    assert!(session.device().enqueue(0, &[0xa5; 60]).unwrap());
    session.device().publish(0).unwrap();
}

#[test]
fn a_ring_without_events_is_polled() {
    let _turn = common::turn();
    let (front, mut session) = Front::new();
    front.features(SPLIT);
    front.memory(&[(0, LEN)]);
    give_a_buffer(&front);
    front.send(Code::SET_VRING_KICK, &[1 << 8], &[]);
    front.send(Code::SET_VRING_CALL, &[1 << 8], &[]);
    assert!(end_of(&mut session).is_none());
    let device = session.device();
    assert!(device.call(0).is_none() && device.enqueue(0, &[0xa5; 60]).unwrap());
    device.publish(0).unwrap();
    assert_eq!(device.calls(), 0);
}
