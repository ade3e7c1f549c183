//! What changes under us: between two calls, and when a driver begins anew.

use super::*;

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
