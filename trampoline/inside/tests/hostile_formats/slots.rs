//! Slots of a packed ring.

use super::*;
use sluice_abi::PeerIdx;

#[test]
fn a_packed_chain_over_all_slots_is_blamed() {
    blames_in(&FORMATS[2..], F::empty(), Clause::ChainLength, |ring| {
        ring.give(&[(GPA + BUFFERS, 5, WRITE | NEXT); SIZE as usize]);
    });
}

#[test]
fn a_packed_chain_into_a_slot_that_is_not_available_is_blamed() {
    blames_in(&FORMATS[2..], F::empty(), Clause::NotAvailable, |ring| ring.give(&[(GPA + BUFFERS, 5, WRITE | NEXT)]));
    // Enough for the frame, but how many slots the chain has is not known.
    blames_in(&FORMATS[2..], F::empty(), Clause::NotAvailable, |ring| {
        ring.give(&[(GPA + BUFFERS, 1600, WRITE | NEXT)]);
    });
}

#[test]
fn a_packed_chain_across_the_wrap_is_followed_with_the_flags_of_the_next_lap() {
    for last_lap_too in [true, false] {
        let ring = Ring::new(PACKED);
        let last = SIZE - 1;
        // The device is at the last slot of its first lap.
        let regions = ring.device().1;
        let base = u32::from(last) | 1 << 15;
        let mut queue = DeviceQueue::resume(&ring.queue(), &regions, base).expect("lawful");
        ring.desc(16 * u64::from(last), (GPA + BUFFERS, 20, WRITE | NEXT | 0x80), 5);
        ring.desc(0, (GPA + BUFFERS + 20, 1600, WRITE | if last_lap_too { 0x8000 } else { 0x80 }), 6);
        let frame = Memory::new(&[100]);
        let done = queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1514, Words);
        assert_eq!(done.err(), (!last_lap_too).then_some(Clause::NotAvailable));
        queue.publish();
        let used: packed::Desc = ring.memory.run(0).read(16 * u64::from(last)).expect("inside");
        assert_eq!((used.flags & 0x8080 == 0x8080, used.id), (last_lap_too, if last_lap_too { 6 } else { 5 }));
    }
}

#[test]
fn a_descriptor_of_another_lap_is_not_used() {
    for flags in [0, 0x8000, 0x8080] {
        let ring = Ring::new(PACKED);
        ring.desc(0, (GPA + BUFFERS, 1600, WRITE | flags), 0);
        let before = ring.bytes(0, LEN);
        let (window, status, accepted, _) = call(&ring);
        assert_eq!((status, accepted, window.is_quarantined(PeerIdx(0))), (Status::FULL, vec![0], false));
        assert!(ring.bytes(0, LEN) == before);
    }
}

#[test]
fn a_packed_id_is_the_drivers_own_and_comes_back_as_it_is() {
    for id in [0, SIZE, 0x7fff, u16::MAX] {
        let ring = Ring::new(PACKED);
        ring.desc(0, (GPA + BUFFERS, 1600, WRITE | 0x80), id);
        assert_eq!(call(&ring).2, [0, 1]);
        let desc: packed::Desc = ring.memory.run(0).read(0).expect("inside");
        assert_eq!((desc.id, desc.len), (id, 112));
    }
}

#[test]
fn a_used_descriptor_is_not_written_again() {
    let ring = Ring::new(PACKED);
    ring.give(&[PLENTY]);
    let (mut queue, regions) = ring.device();
    let frame = Memory::new(&[100]);
    assert!(queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1514, Words).is_ok());
    queue.publish();
    ring.write(0, packed::Desc { addr: Gpa(1), len: 2, id: 3, flags: 4 });
    for _ in 0..3 {
        queue.publish();
        queue.rewind();
        assert_eq!(queue.available(), Ok(0));
    }
    assert_eq!(ring.memory.run(0).read(0), Ok(packed::Desc { addr: Gpa(1), len: 2, id: 3, flags: 4 }));
}
