//! The slow path of an in-VM switch: frames for which its table has no entry, and what the host returns.

use super::multiqueue::set_pairs;
use super::offload::{check, tcp};
use super::*;
use sluice_abi::flows::{SlowHeader, SlowKind};
use sluice_abi::net::HdrF;
use sluice_control::{Answer, Missed, SlowPath};
use zerocopy::FromBytes;

/// a is the switch, and b sends to it.
const SWITCH: [&str; 2] = ["peers = [\"b\"]\nflows = { entries = 64, lists = 4 }", "peers = [\"a\"]"];
const PAIR: usize = 2;

/// Gives the same answer about each frame.
pub struct Decider {
    pub answer: Answer,
    seen: Vec<(u32, u16, u64, Vec<u8>)>,
    /// The frames with what their senders left to the device.
    done: Vec<Option<Vec<Vec<u8>>>>,
    decided: Option<u64>,
}

impl Default for Decider {
    fn default() -> Self {
        Self { answer: Answer::Nothing, seen: Vec::new(), done: Vec::new(), decided: None }
    }
}

impl SlowPath for Decider {
    fn missed(&mut self, missed: &Missed<'_>, _: u64) -> Answer {
        let Missed { vm, port, number, frame, .. } = *missed;
        self.done.push(missed.done());
        self.seen.push((vm, port, number, bytes(frame, 0, frame.len() as u32)));
        self.decided = Some(number);
        self.answer
    }

    fn decided(&mut self, vm: u32) -> Option<u64> {
        self.decided.take().filter(|_| vm == 0)
    }
}

/// Starts a with all of its pairs. Its receive queue 0 is that of the slow path from then on, for the test.
fn start(world: &World, features: F) -> Driver<'_> {
    let mut a = world.start(0, F::CTRL_VQ | F::MQ | features, 3);
    assert_eq!((a.agreed.pairs, a.agreed.max_pairs), (3, 3));
    set_pairs(&mut a, 3).expect("all pairs");
    a.receive.swap(0, PAIR);
    a.give(N as u32);
    a
}

fn missed(kind: u32, port: u32, number: u64, frame: &[u8]) -> Vec<u8> {
    [SlowHeader { kind, port, number }.as_bytes(), frame].concat()
}

fn headers(frames: &[Vec<u8>]) -> Vec<(u32, u32, u64, &[u8])> {
    let parts = frames.iter().map(|frame| SlowHeader::read_from_prefix(frame).expect("a header"));
    parts.map(|(header, rest)| (header.kind, header.port, header.number, rest)).collect()
}

const MISSED: u32 = SlowKind::Missed as u32;
const DONE: u32 = SlowKind::Done as u32;

#[test]
fn a_frame_without_an_entry_is_decided_and_returned_before_that_is_said() {
    let world = World::new(&SWITCH);
    let mut a = start(&world, F::VERSION_1);
    let bytes = frame(NOBODY, NOBODY, 1);
    for (answer, returned) in [
        (Answer::Output(0b101), Some((SlowKind::Output as u32, 0b101))),
        (Answer::Again, Some((SlowKind::Again as u32, 0))),
        (Answer::Nothing, None),
        (Answer::Output(0), None),
    ] {
        world.decider.borrow_mut().answer = answer;
        a.send_on(PAIR, &Hdr::default(), &missed(MISSED, 3, 77, &bytes));
        assert_eq!(world.decider.borrow_mut().seen.drain(..).collect::<Vec<_>>(), [(0, 3, 77, bytes.clone())]);
        let received = a.received();
        let mut expected: Vec<_> = returned.map(|(kind, number)| (kind, 3, number, &bytes[..])).into_iter().collect();
        expected.push((DONE, 0, 77, &[]));
        assert_eq!(headers(&received), expected, "{answer:?}");
    }
    // A frame on another queue is the host's switch's own.
    a.send(&frame(BROADCAST, mac(0), 1));
    assert!(world.decider.borrow().seen.is_empty());
    assert_eq!(world.counters(0).malformed, 0);
    let seen = &world.seen.borrow().0;
    assert!(seen.iter().filter(|(vm, _)| *vm == 0).take(4).all(|(_, frame)| *frame == bytes), "without the header");
}

/// All answers to the frames of one service come before one word about all of them.
#[test]
fn it_is_said_once_for_all_frames_of_a_service() {
    let world = World::new(&SWITCH);
    let mut a = start(&world, F::VERSION_1);
    world.decider.borrow_mut().answer = Answer::Again;
    (1..5).for_each(|number| a.put(PAIR, &Hdr::default(), &missed(MISSED, 0, number, &frame(NOBODY, NOBODY, 1))));
    a.publish(PAIR);
    let received = a.received();
    let kinds: Vec<_> = headers(&received).iter().map(|(kind, _, number, _)| (*kind, *number)).collect();
    let again = SlowKind::Again as u32;
    assert_eq!(kinds, [(again, 0), (again, 0), (again, 0), (again, 0), (DONE, 4)]);
}

#[test]
fn what_is_no_frame_without_an_entry_is_counted() {
    let world = World::new(&SWITCH);
    let mut a = start(&world, F::VERSION_1);
    world.decider.borrow_mut().answer = Answer::Again;
    let whole = missed(MISSED, 0, 1, &frame(NOBODY, NOBODY, 1));
    for bad in [
        missed(0, 0, 1, &whole),
        missed(DONE, 0, 1, &whole),
        missed(u32::MAX, 0, 1, &whole),
        missed(MISSED, 128, 1, &whole),
        missed(MISSED, u32::MAX, 1, &whole),
        missed(MISSED, 0, 1, &[]),
        whole[..15].to_vec(),
        whole[..1].to_vec(),
    ] {
        a.send_on(PAIR, &Hdr::default(), &bad);
    }
    assert_eq!((world.counters(0).malformed, world.decider.borrow().seen.len()), (8, 0));
    assert_eq!(a.received().len(), 0);
    a.send_on(PAIR, &Hdr::default(), &whole);
    assert_eq!(a.received().len(), 2, "it goes on");
}

/// A checksum that is left to the receiver stays so, behind the header, if the driver takes such frames.
#[test]
fn a_checksum_that_is_left_to_the_receiver_is_so_on_the_way_back() {
    let hdr = Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 50, csum_offset: 6, ..Hdr::default() };
    for (features, received) in [(F::CSUM | F::GUEST_CSUM, 1), (F::CSUM, 0)] {
        let world = World::new(&SWITCH);
        let mut a = start(&world, features);
        world.decider.borrow_mut().answer = Answer::Output(1);
        a.send_on(PAIR, &hdr, &missed(MISSED, 0, 1, &frame(NOBODY, NOBODY, 1)));
        let arrivals = a.arrivals();
        let frames: Vec<_> = arrivals.iter().filter(|(_, frame)| frame.len() > 16).collect();
        assert_eq!(frames.len(), received);
        assert!(frames.iter().all(|(got, _)| (got.flags, got.csum_start) == (hdr.flags, 50)));
        assert_eq!(world.counters(0).malformed, 1 - received as u64);
    }
}

/// Who decides elsewhere gets whole frames: nobody there knows what was left to the device.
#[test]
fn what_is_left_to_the_device_is_done_for_who_decides() {
    let world = World::new(&SWITCH);
    let mut a = start(&world, F::CSUM | F::HOST_TSO4);
    let behind = |hdr: Hdr| Hdr { csum_start: hdr.csum_start + 16, hdr_len: hdr.hdr_len + 16, ..hdr };
    let mut done = |hdr: Hdr, bytes: &[u8]| {
        a.send_on(PAIR, &behind(hdr), &missed(MISSED, 0, 1, bytes));
        world.decider.borrow_mut().done.pop().expect("a frame")
    };
    let (hdr, bytes) = tcp(false, 0, 100, 0, 0x18);
    let frames = done(hdr, &bytes).expect("a frame");
    assert_eq!(frames.iter().map(|frame| check(frame, false, 0).3.len()).collect::<Vec<_>>(), [100]);
    assert_ne!(frames[0], bytes);
    let (hdr, segments) = tcp(false, 0, 250, 100, 0x18);
    let frames = done(hdr, &segments).expect("segments");
    assert_eq!(frames.iter().map(|frame| check(frame, false, 0).3.len()).collect::<Vec<_>>(), [100, 100, 50]);
    // What says nothing stays, and what can't be done is nothing.
    assert_eq!(done(Hdr::default(), &bytes), Some(vec![bytes.clone()]));
    assert_eq!(done(Hdr { csum_start: 14, ..hdr }, &segments), None);
}

/// A driver that gives no buffers loses answers, and costs the host nothing.
#[test]
fn answers_without_a_buffer_are_counted() {
    let world = World::new(&SWITCH);
    let mut a = start(&world, F::VERSION_1);
    world.decider.borrow_mut().answer = Answer::Again;
    for number in 0..N as u64 + 5 {
        a.send_on(PAIR, &Hdr::default(), &missed(MISSED, 0, number, &frame(NOBODY, NOBODY, 1)));
    }
    // Two for each frame.
    assert_eq!(world.counters(0).full, 2 * (N as u64 + 5) - N as u64);
    assert_eq!(a.received().len(), N);
}

/// The windows of a VM whose are closed are none that a directory shows, until they are open again.
#[test]
fn closed_windows_are_not_in_the_directory() {
    let world = World::new(&SWITCH);
    let _b = world.start(1, F::VERSION_1, 1);
    assert_eq!(world.window_queue(0, 0), Some(0));
    assert!(world.network.borrow_mut().close(0, true));
    assert!(!world.network.borrow_mut().close(0, true));
    assert_eq!(world.window_queue(0, 0), None);
    assert!(world.network.borrow_mut().close(0, false));
    assert_eq!(world.window_queue(0, 0), Some(0));
    assert!(!world.network.borrow_mut().close(9, true));
    assert_eq!([0, 1, 9].map(|vm| world.network.borrow().slow_pair(vm)), [Some(2), None, None]);
}
