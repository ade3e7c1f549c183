use super::*;
use crate::Registers;
use sluice_abi::mmio::reg;
use sluice_abi::virtq::{Desc, UsedElem, avail, used};
use std::vec;
use std::vec::Vec;

const GPA: u64 = 0x4000;
const AGREED: Started = Started {
    mac: [0; 6],
    mtu: 1500,
    features: F::VERSION_1
        .union(F::CTRL_VQ)
        .union(F::MQ)
        .union(F::CTRL_RX)
        .union(F::CTRL_MAC_ADDR)
        .union(F::GUEST_ANNOUNCE),
    pairs: 2,
    max_pairs: 4,
};

/// The registers of a device with queues 0 to 7 but `missing`, and its notifications.
#[derive(Default)]
struct Notified {
    of: Vec<u32>,
    missing: Option<u32>,
    selected: u32,
}

impl Registers for Notified {
    fn read(&mut self, register: u32) -> u32 {
        assert_eq!(register, reg::QUEUE_READY);
        u32::from(self.selected < 8 && self.missing != Some(self.selected))
    }
    fn write(&mut self, register: u32, value: u32) {
        match register {
            reg::QUEUE_SEL => self.selected = value,
            reg::QUEUE_NOTIFY => self.of.push(value),
            other => panic!("{other:#x}"),
        }
    }
}

fn control() -> (ControlQueue, PeerSlice<'static>) {
    let len = ControlQueue::MEMORY_LEN.next_multiple_of(16);
    let memory = sluice_test_memory::zeroed(len);
    (ControlQueue::new(Gpa(GPA), memory, AGREED.features).unwrap(), memory)
}

/// The answer of a device to command `round`, of which it gets the bytes; `None` if it gives no answer.
fn serve(
    at: sluice_abi::virtq::QueueAddresses,
    memory: PeerSlice<'static>,
    round: u16,
    answer: Option<(u8, u32)>,
) -> Vec<u8> {
    serve_with(at, memory, round, answer.map(|(answer, len)| (Some(answer), len)))
}

/// The answer of a device that may use the buffer and write nothing.
fn serve_with(
    at: sluice_abi::virtq::QueueAddresses,
    memory: PeerSlice<'static>,
    round: u16,
    answer: Option<(Option<u8>, u32)>,
) -> Vec<u8> {
    let area = |gpa: Gpa, len| memory.sub(gpa.0 - GPA, len).unwrap();
    let avail_ring = area(at.driver, avail::len(4));
    assert_eq!(avail_ring.cell16(avail::IDX).unwrap().load_acquire(), round.wrapping_add(1));
    let head: u16 = avail_ring.ring(avail::RING, 4).unwrap().get(round);
    let table = memory.table::<Desc>(0, 4).unwrap();
    let command = table.get(head).unwrap();
    let ack = table.get(command.next).unwrap();
    assert_eq!((command.flags, ack.flags, ack.len), (1, 2, 1), "readable, then writable");
    let mut bytes = vec![0; command.len as usize];
    area(command.addr, command.len.into()).copy_to_slice(0, &mut bytes).unwrap();
    if let Some((answer, len)) = answer {
        if let Some(answer) = answer {
            area(ack.addr, 1).write(0, answer).unwrap();
        }
        let used_ring = area(at.device, used::len(4));
        used_ring.ring(used::RING, 4).unwrap().set(round, UsedElem { id: head.into(), len });
        used_ring.cell16(used::IDX).unwrap().store_release(round.wrapping_add(1));
    }
    bytes
}

#[test]
fn each_command_is_carried_out_as_the_device_reads_it() {
    let (mut control, memory) = control();
    let at = control.queue().addresses();
    let mut notified = Notified::default();
    let mut seen = Vec::new();
    let mut round = 0;
    for _ in 0..3 {
        let mut wait = || {
            seen.push(serve(at, memory, round, Some((ctrl::OK, 1))));
            round += 1;
            true
        };
        control.set_mac(&mut notified, &AGREED, [2, 3, 4, 5, 6, 7], &mut wait).unwrap();
        control.set_pairs(&mut notified, &AGREED, 3, &mut wait).unwrap();
        control.announce_ack(&mut notified, &AGREED, &mut wait).unwrap();
    }
    assert_eq!(seen[..3], [vec![1, 1, 2, 3, 4, 5, 6, 7], vec![4, 0, 3, 0], vec![3, 0]]);
    assert_eq!((notified.of, ControlQueue::index(&AGREED)), (vec![8; 9], 8));
}

#[test]
fn what_is_to_be_received_is_asked_as_the_device_reads_it() {
    let (mut control, memory) = control();
    let at = control.queue().addresses();
    let (mut notified, mut seen, mut round) = (Notified::default(), Vec::new(), 0);
    let mut wait = || {
        seen.push(serve(at, memory, round, Some((ctrl::OK, 1))));
        round += 1;
        true
    };
    control.set_promiscuous(&mut notified, &AGREED, true, &mut wait).unwrap();
    control.set_all_multicast(&mut notified, &AGREED, false, &mut wait).unwrap();
    control.set_filter(&mut notified, &AGREED, [&[[2; 6]], &[[3; 6], [5; 6]]], &mut wait).unwrap();
    control.set_filter(&mut notified, &AGREED, [&[], &[[3; 6]; 32]], &mut wait).unwrap();
    let error = control.set_filter(&mut notified, &AGREED, [&[[2; 6]], &[[3; 6]; 32]], &mut wait).unwrap_err();
    assert_eq!(error, ControlError { command: Command::MacTableSet, cause: Cause::TooMany });
    assert_eq!(std::format!("{error}"), "VIRTIO_NET_CTRL_MAC_TABLE_SET: more than 32 addresses");
    let tables = [&[1, 0, 1, 0, 0, 0][..], &[2; 6], &[2, 0, 0, 0], &[3; 6], &[5; 6]].concat();
    let full = [&[1, 0, 0, 0, 0, 0, 32, 0, 0, 0][..], &[3; 6 * 32]].concat();
    assert_eq!(seen, [vec![0, 0, 1], vec![0, 1, 0], tables, full]);
}

#[test]
fn an_answer_that_is_not_ok_is_an_error_that_names_the_command() {
    for answer in [ctrl::ERR, NO_ANSWER, 7] {
        let (mut control, memory) = control();
        let at = control.queue().addresses();
        let wait = || !serve(at, memory, 0, Some((answer, 1))).is_empty();
        let error = control.set_pairs(&mut Notified::default(), &AGREED, 2, wait).unwrap_err();
        assert_eq!(error, ControlError { command: Command::VqPairsSet, cause: Cause::Refused });
        assert_eq!(std::format!("{error}"), "VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET: refused");
    }
}

/// VIRTIO 2.7.10.1 "Driver Requirements: Available Buffer Notification Suppression".
#[test]
fn a_device_that_polls_for_commands_is_not_notified_of_them() {
    for (flags, notified) in [(0, vec![8]), (1, vec![])] {
        let (mut control, memory) = control();
        let at = control.queue().addresses();
        memory.write(at.device.0 - GPA + used::FLAGS, flags as u16).unwrap();
        let mut registers = Notified::default();
        let wait = || !serve(at, memory, 0, Some((ctrl::OK, 1))).is_empty();
        assert_eq!(control.announce_ack(&mut registers, &AGREED, wait), Ok(()));
        assert_eq!(registers.of, notified);
    }
}

/// The place of the answer holds the answer to the command before: "done".
#[test]
fn a_command_that_comes_back_without_an_answer_was_not_carried_out() {
    for answer in [(None, 1), (None, 0), (Some(ctrl::OK), 0)] {
        let (mut control, memory) = control();
        let at = control.queue().addresses();
        let wait = || !serve(at, memory, 0, Some((ctrl::OK, 1))).is_empty();
        assert_eq!(control.announce_ack(&mut Notified::default(), &AGREED, wait), Ok(()));
        let wait = || !serve_with(at, memory, 1, Some(answer)).is_empty();
        let error = control.announce_ack(&mut Notified::default(), &AGREED, wait);
        assert_eq!(error, Err(ControlError { command: Command::AnnounceAck, cause: Cause::Refused }), "{answer:?}");
        let wait = || !serve(at, memory, 2, Some((ctrl::OK, 1))).is_empty();
        assert_eq!(control.announce_ack(&mut Notified::default(), &AGREED, wait), Ok(()));
    }
}

#[test]
fn a_device_that_never_answers_is_an_error_and_is_asked_no_more() {
    let (mut control, memory) = control();
    let mut looks = 0;
    let wait = || {
        looks += 1;
        looks < 100
    };
    let error = control.announce_ack(&mut Notified::default(), &AGREED, wait).unwrap_err();
    assert_eq!((error.command, error.cause, looks), (Command::AnnounceAck, Cause::Silent, 100));
    let mut notified = Notified::default();
    let error = control.set_mac(&mut notified, &AGREED, [2; 6], || true).unwrap_err();
    assert_eq!((error.command, error.cause, notified.of.len()), (Command::MacAddrSet, Cause::Silent, 0));
    assert_eq!(serve(control.queue().addresses(), memory, 0, None), [3, 0], "its buffer is left alone");
}

#[test]
fn a_device_that_breaks_a_rule_is_named_with_the_command() {
    let (mut control, memory) = control();
    let at = control.queue().addresses();
    let wait = || !serve(at, memory, 0, Some((ctrl::OK, 2))).is_empty();
    let error = control.set_mac(&mut Notified::default(), &AGREED, [2; 6], wait).unwrap_err();
    assert_eq!(error, ControlError { command: Command::MacAddrSet, cause: Cause::Fault(DeviceFault::UsedLen) });
}

#[test]
fn what_was_not_agreed_on_is_not_asked() {
    let (mut control, _) = control();
    let mut notified = Notified::default();
    let without = |features| Started { features: AGREED.features - features, ..AGREED };
    let results = [
        control.set_mac(&mut notified, &without(F::CTRL_MAC_ADDR), [2; 6], || true),
        control.set_mac(&mut notified, &without(F::CTRL_RX), [2; 6], || true),
        control.set_mac(&mut notified, &without(F::CTRL_VQ), [2; 6], || true),
        control.announce_ack(&mut notified, &without(F::GUEST_ANNOUNCE), || true),
        control.set_pairs(&mut notified, &without(F::MQ), 2, || true),
        control.set_promiscuous(&mut notified, &without(F::CTRL_RX), true, || true),
        control.set_all_multicast(&mut notified, &without(F::CTRL_RX), true, || true),
        control.set_filter(&mut notified, &without(F::CTRL_RX), [&[], &[]], || true),
        control.set_pairs(&mut notified, &AGREED, 0, || true),
        control.set_pairs(&mut notified, &AGREED, 5, || true),
    ];
    assert!(results.iter().all(|result| matches!(result, Err(ControlError { cause: Cause::NotOffered, .. }))));
    assert_eq!(notified.of, []);
}

#[test]
fn pairs_are_not_enabled_before_all_their_queues_are_set_up() {
    for missing in 0..8 {
        let (mut control, memory) = control();
        let at = control.queue().addresses();
        let mut notified = Notified { missing: Some(missing), ..Notified::default() };
        let result = control.set_pairs(&mut notified, &AGREED, 4, || true);
        assert_eq!(result, Err(ControlError { command: Command::VqPairsSet, cause: Cause::NotSetUp }), "{missing}");
        assert_eq!(notified.of, []);
        // All commands before it are notified.
        let pairs = missing as u16 / 2;
        let wait = || !serve(at, memory, 0, Some((ctrl::OK, 1))).is_empty();
        let result = control.set_pairs(&mut notified, &AGREED, pairs, wait);
        assert_eq!((result.is_ok(), notified.of), (pairs > 0, vec![8; usize::from(pairs > 0)]));
    }
}
