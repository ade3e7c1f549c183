//! What changes under us: between two calls, and when a driver begins anew.

use super::*;
use sluice_abi::PeerIdx;

#[test]
fn a_base_that_no_queue_has_is_refused() {
    for (features, bases) in [(SPLIT, [0x1_0000, u32::MAX, 1 << 31]), (PACKED, [8, 0x7fff, 0x0001_0002])] {
        let ring = Ring::new(features);
        let regions = ring.device().1;
        for base in bases {
            assert_eq!(DeviceQueue::resume(&ring.queue(), &regions, base).err(), Some(Clause::Layout), "{base:#x}");
        }
    }
}

#[test]
fn a_ring_that_is_reset_or_resized_under_us_is_used_as_it_was_and_no_further() {
    for features in FORMATS {
        let ring = Ring::new(features);
        ring.give(&[PLENTY]);
        let (mut queue, regions) = ring.device();
        let frame = Memory::new(&[100]);
        assert!(queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1514, Words).is_ok());
        // All areas are zero, as if somebody had begun anew.
        ring.memory.run(0).copy_from_slice(0, &[0; TABLE as usize]).expect("inside");
        queue.publish();
        assert!(queue.available().is_ok_and(|available| available == 0) || queue.available() == Err(Clause::AvailIdx));
    }
}

/// `avail.idx` is read anew by each call, and the second time it is too far.
#[test]
fn what_is_written_between_two_calls_is_checked_anew() {
    for features in &FORMATS[..2] {
        let ring = Ring::new(*features);
        ring.give(&[PLENTY]);
        let (mut queue, regions) = ring.device();
        assert_eq!(queue.available(), Ok(1));
        ring.write(DRIVER + avail::IDX, SIZE + 1);
        let frame = Memory::new(&[100]);
        let done = queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1514, Words);
        assert_eq!((done.err(), queue.available()), (Some(Clause::AvailIdx), Err(Clause::AvailIdx)));
        queue.publish();
        assert_eq!(ring.used(), 0);
    }
}

/// Until it is shown that some are used, a driver has no more buffers than its queue has entries.
#[test]
fn a_driver_gives_no_more_than_its_queue_has_before_some_are_shown_as_used() {
    for features in &FORMATS[..2] {
        for used in 1..=SIZE {
            let ring = Ring::new(*features);
            ring.give_each(SIZE);
            let (mut queue, regions) = ring.device();
            let (frame, room) = (Memory::new(&[100]), Memory::new(&[100]));
            let enqueue =
                |queue: &mut DeviceQueue| queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1514, Words).map(drop);
            (0..used).for_each(|_| assert_eq!(enqueue(&mut queue), Ok(())));
            ring.write(DRIVER + avail::IDX, SIZE + 1);
            assert_eq!(enqueue(&mut queue), Err(Clause::AvailIdx), "{used}");
            assert_eq!(queue.dequeue(&regions, room.run(0), Words), Err(Clause::AvailIdx), "{used}");
            queue.publish();
            assert_eq!((queue.available(), enqueue(&mut queue)), (Ok(SIZE + 1 - used), Ok(())));
        }
    }
}

#[test]
fn flags_mean_nothing_with_an_event_index_and_the_event_nothing_without() {
    for event_idx in [false, true] {
        for flags in [0u16, 1] {
            for event in [0u16, 7] {
                let ring = Ring::new(if event_idx { F::EVENT_IDX } else { SPLIT });
                ring.give(&[PLENTY]);
                ring.write(DRIVER + avail::FLAGS, flags);
                ring.write(DRIVER + avail::used_event(SIZE), event);
                let (mut queue, regions) = ring.device();
                let frame = Memory::new(&[100]);
                assert!(queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1514, Words).is_ok());
                queue.publish();
                assert_eq!(queue.needs_notification(), if event_idx { event == 0 } else { flags == 0 });
            }
        }
    }
}

#[test]
fn a_ring_reset_under_us_is_begun_anew_only_when_the_peer_is_attached_anew() {
    for features in FORMATS {
        let ring = Ring::new(features);
        let mut window = attached(&[&ring]);
        ring.give_each(2);
        assert_eq!(send(&mut window, &[0]), (Status::OK, vec![0]));
        ring.clear();
        ring.give_each(1);
        let before = ring.bytes(0, LEN);
        assert_eq!(send(&mut window, &[0, 0]), (Status::FULL, vec![]));
        assert!(ring.bytes(0, LEN) == before, "{features:?}");
        ring.attach(&mut window, PeerIdx(0));
        assert_eq!((send(&mut window, &[0]), ring.used()), ((Status::OK, vec![0]), 1));
    }
}

#[test]
fn a_ring_made_longer_under_us_is_used_as_far_as_it_was() {
    for features in FORMATS {
        let mut ring = Ring::new(features);
        let mut window = attached(&[&ring]);
        ring.give_each(2 * SIZE);
        let behind = |ring: &Ring| {
            [(16 * SIZE, 16 * SIZE), (DEVICE as u16 + 4 + 8 * SIZE, 8 * SIZE)]
                .map(|(at, len)| ring.bytes(at.into(), len.into()))
        };
        let before = behind(&ring);
        let expected = match ring.is_packed() {
            true => (Status::FULL, (0..usize::from(SIZE)).collect()),
            false => (Status::peer_fault(Clause::AvailIdx, PeerIdx(0)), vec![]),
        };
        assert_eq!(send(&mut window, &[0; 16]), expected, "{features:?}");
        assert_eq!(behind(&ring), before);
        ring.size = 2 * SIZE;
        ring.clear();
        ring.give_each(2 * SIZE);
        ring.attach(&mut window, PeerIdx(0));
        assert_eq!(send(&mut window, &[0; 16]), (Status::OK, (0..16).collect()), "{features:?}");
    }
}

#[test]
fn a_ring_made_shorter_under_us_gives_no_more_than_it_has() {
    for features in FORMATS {
        let mut ring = Ring::new(features);
        let mut window = attached(&[&ring]);
        ring.size = SIZE / 2;
        ring.give_each(ring.size);
        assert_eq!(send(&mut window, &[0; 8]), (Status::FULL, vec![0, 1, 2, 3]), "{features:?}");
        let behind = ring.bytes(16 * u64::from(ring.size), 16 * u64::from(ring.size));
        assert_eq!(behind, vec![0; behind.len()]);
        ring.clear();
        ring.give_each(ring.size);
        ring.attach(&mut window, PeerIdx(0));
        assert_eq!(send(&mut window, &[0; 8]), (Status::FULL, vec![0, 1, 2, 3]), "{features:?}");
    }
}

#[test]
fn a_queue_disabled_under_us_is_left_alone() {
    for features in FORMATS {
        let (ring, other) = (Ring::new(features), Ring::new(features));
        let mut window = attached(&[&ring, &other]);
        [&ring, &other].into_iter().for_each(|ring| ring.give_each(4));
        assert_eq!(send(&mut window, &[0, 1]), (Status::OK, vec![0, 1]));
        window.detach_peer(PeerIdx(0));
        let before = ring.bytes(0, LEN);
        assert_eq!(send(&mut window, &[0, 1, 0]), (Status::of_peer(Code::PeerNotReady, PeerIdx(0)), vec![1]));
        assert!(ring.bytes(0, LEN) == before, "{features:?}");
    }
}

/// What a driver agrees on with its device behind our back means nothing before the peer is attached with it.
#[test]
fn features_negotiated_anew_count_once_the_peer_is_attached_anew() {
    for format in FORMATS {
        for more in [F::INDIRECT_DESC, F::MRG_RXBUF] {
            for features in [[F::empty(), more], [more, F::empty()]] {
                let mut ring = Ring::new(format | features[0]);
                let mut window = attached(&[&ring]);
                ring.features = Ring::new(format | features[1]).features;
                for attached_with in features {
                    let expected = give_what_needs(&ring, more, attached_with);
                    assert_eq!(send(&mut window, &[0]), expected, "{format:?} {features:?}");
                    ring.clear();
                    ring.attach(&mut window, PeerIdx(0));
                }
            }
        }
    }
}

/// Gives a buffer that is lawful with the feature `more`: what becomes of a packet for it where `attached_with` was
/// agreed on.
fn give_what_needs(ring: &Ring, more: F, attached_with: F) -> (Status, Vec<usize>) {
    let indirect = more == F::INDIRECT_DESC;
    if indirect {
        ring.table(&[PLENTY]);
        ring.give(&[(GPA + TABLE, 16, INDIRECT)]);
    } else {
        ring.give(&[(GPA + BUFFERS, 64, WRITE)]);
    }
    match (indirect, attached_with.contains(more)) {
        (true, true) => (Status::OK, vec![0]),
        (true, false) => (Status::peer_fault(Clause::NotNegotiated, PeerIdx(0)), vec![]),
        (false, true) => (Status::FULL, vec![]),
        (false, false) => (Status::of_peer(Code::TooLong, PeerIdx(0)), vec![]),
    }
}

#[test]
fn a_format_negotiated_anew_counts_once_the_peer_is_attached_anew() {
    for [before, after] in [[SPLIT, PACKED], [PACKED, SPLIT], [FORMATS[1], FORMATS[3]], [FORMATS[3], FORMATS[1]]] {
        let mut ring = Ring::new(before);
        let mut window = attached(&[&ring]);
        ring.features = Ring::new(after).features;
        ring.give_each(SIZE);
        let bytes = ring.bytes(0, LEN);
        assert!(send(&mut window, &[0]).1.is_empty());
        assert!(ring.bytes(0, LEN) == bytes, "{before:?} to {after:?}");
        ring.attach(&mut window, PeerIdx(0));
        assert_eq!(send(&mut window, &[0; 8]), (Status::OK, (0..8).collect()));
    }
}

/// The areas that a driver names are addresses as any other.
#[test]
fn in_every_format_a_queue_area_outside_the_regions_is_refused() {
    for features in FORMATS {
        let ring = Ring::new(features);
        let regions = ring.device().1;
        for at in [0, GPA - 16, GPA + LEN - 2, GPA + LEN, GPA + (1 << 32), u64::MAX - 15].map(Gpa) {
            for area in 0..3 {
                let mut queue = ring.queue();
                let areas = &mut queue.addresses;
                *[&mut areas.desc, &mut areas.driver, &mut areas.device][area] = at;
                assert_eq!(DeviceQueue::new(&queue, &regions).err(), Some(Clause::Layout), "{features:?} {at:?}");
            }
        }
    }
}
