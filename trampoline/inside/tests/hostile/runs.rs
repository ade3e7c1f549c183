//! Packet memory of several runs, and directory entries that change under a queue.

use super::*;
use sluice_abi::call::{HDR, Packet};
use sluice_abi::directory::Region;
use sluice_abi::{Gpa, run};
use sluice_memory::PeerSlice;

/// Where the packet memory of a [`WindowSender`] lies in these tests: a half from offset 0, the other far behind it.
const FAR: u32 = 3 << 21;
const HALF: u64 = PACKETS_LEN / 2;

/// A sender with two runs, and four buffers in the ring of peer 0.
fn two_runs() -> WindowSender {
    let mut sender = WindowSender::new(1, SIZE);
    assert!(sender.window.set_runs(runs(&sender)));
    sender.peers[0].give(4);
    sender
}

fn runs(sender: &WindowSender) -> [(u32, PeerSlice<'static>); 2] {
    [(0, 0), (FAR, HALF)].map(|(offset, at)| (offset, sender.packets().sub(at, HALF).expect("inside")))
}

fn packet(offset: u64, len: u16) -> Packet {
    Packet::new(offset as u32, len, PeerIdx(0))
}

#[test]
fn a_frame_is_found_in_any_run() {
    for len in [60, 64, 500] {
        let mut sender = two_runs();
        let last = HALF - u64::from(len);
        let places = [(FAR.into(), HALF), (0, 0), (u64::from(FAR) + last, HALF + last), (last, last)];
        assert_eq!(sender.transmit(&places.map(|(offset, _)| packet(offset, len))).accepted, [0, 1, 2, 3]);
        for (_, at) in places {
            let (_, bytes) = sender.peers[0].take().expect("accepted");
            assert_eq!(bytes, with_header(&read(sender.packets(), at, len.into())));
        }
        sender.check();
    }
}

/// The halves are one behind the other in this process, and not in packet memory.
#[test]
fn a_frame_that_is_not_in_one_run_is_the_senders_mistake_and_named() {
    let far = u64::from(FAR);
    for offset in [HALF - 63, HALF, far - 1, far - 64, far + HALF - 63, far + HALF, 1 << 31, u32::MAX.into()] {
        let mut sender = two_runs();
        let burst = sender.transmit(&[packet(0, 64), packet(far, 64), packet(offset, 64), packet(0, 64)]);
        assert_eq!(burst, Burst { status: Status::new(Code::BadRequest), accepted: vec![0, 1] }, "{offset:#x}");
        assert_eq!(sender.named, Some(2));
    }
}

#[test]
fn a_header_is_found_in_any_run_and_in_no_gap() {
    let far = u64::from(FAR);
    for (offset, taken) in [(12, true), (far + 12, true), (11, false), (far + 11, false), (far, false)] {
        let mut sender = two_runs();
        (0..64).for_each(|at| sender.packets().write(HALF + at, 0u8).expect("inside"));
        (0..64).for_each(|at| sender.packets().write(at, 0u8).expect("inside"));
        let burst = sender.transmit(&[Packet { flags: HDR, ..packet(offset, 40) }]);
        assert_eq!(burst.accepted.len(), usize::from(taken), "{offset:#x}");
    }
}

#[test]
fn a_run_that_is_gone_sends_nothing() {
    let mut sender = two_runs();
    let [first, far] = runs(&sender);
    assert!(sender.window.set_runs([far]));
    assert_eq!(sender.transmit(&[packet(FAR.into(), 64), packet(0, 64)]).accepted, [0]);
    assert!(sender.window.set_runs([first]));
    assert_eq!(sender.transmit(&[packet(0, 64), packet(FAR.into(), 64)]).accepted, [0]);
    assert!(sender.window.set_runs([]));
    assert_eq!(sender.transmit(&[packet(0, 64)]).status, Status::new(Code::NotRegistered));
    let many = |count: u32| (0..count).map(move |index| (index * FAR, far.1));
    assert!(sender.window.set_runs(many(run::MAX_RUNS as u32 + 1)), "one of them begins at 0");
    assert!(!sender.window.set_runs(many(run::MAX_RUNS as u32 + 2)));
    assert!(!sender.window.set_runs([first, first]));
}

/// A peer takes a region back and gives it again: its queue goes on where it is.
#[test]
fn a_queue_goes_on_where_it_is_when_its_regions_change() {
    let mut sender = WindowSender::new(1, SIZE);
    let both = sender.peers[0].entry;
    sender.peers[0].give(3);
    assert_eq!(sender.send(&[0]).accepted, [0]);
    sender.peers[0].entry.region_count = 1;
    assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Ok(()));
    assert_eq!(sender.send(&[0]).accepted, [0]);
    sender.peers[0].entry = both;
    assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Ok(()));
    sender.peers[0].give_buffer((SECOND_GPA, 2048), DescF::WRITE);
    assert_eq!(sender.send(&[0, 0]).accepted, [0, 1]);
    sender.check();
}

/// The entry that tells of a run may come behind a buffer in it: the quarantine for that buffer ends with the entry. No
/// other does.
#[test]
fn quarantine_ends_with_the_region_that_was_missing() {
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].entry.region_count = 1;
    assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Ok(()));
    sender.peers[0].give_buffer((SECOND_GPA, 2048), DescF::WRITE);
    assert_eq!(sender.send(&[0]).status, Status::peer_fault(Clause::Region, PeerIdx(0)));
    assert!(sender.window.is_quarantined(PeerIdx(0)));
    sender.peers[0].entry.region_count = 2;
    assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Ok(()));
    assert_eq!(sender.send(&[0]).accepted, [0]);
    sender.check();
    sender.peers[0].offer(SIZE);
    assert_eq!(sender.send(&[0]).status, Status::peer_fault(Clause::DescIndex, PeerIdx(0)));
    sender.peers[0].entry.regions[2] = Region { gpa: Gpa(0), len: 0, slot_offset: 0 };
    assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Ok(()));
    assert!(sender.window.is_quarantined(PeerIdx(0)));
}

/// Another queue, or the same one started again, begins at its start.
#[test]
fn a_queue_that_is_another_begins_at_its_start() {
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].give(3);
    assert_eq!(sender.send(&[0, 0]).accepted, [0, 1]);
    sender.check();
    sender.peers[0].restart();
    sender.peers[0].entry.queues[0].start += 1;
    sender.peers[0].give(1);
    assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Ok(()));
    assert_eq!(sender.send(&[0]).accepted, [0]);
    sender.check();
    sender.peers[0].entry.queues[0].size = 3;
    assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Err(Clause::Layout));
}
