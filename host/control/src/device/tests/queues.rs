//! When a queue can be used, and who is told.

use super::*;

#[test]
fn the_receive_queue_appears_with_driver_ok_and_goes_with_reset() {
    let mut device = started();
    assert_eq!(device.queue(0), None);
    assert_eq!(device.write(reg::STATUS, 15), Some(Event::QueuesReady));
    let queue = device.queue(0).unwrap();
    assert_eq!((queue.size, queue.addresses.desc, queue.addresses.device), (256, Gpa(0x1000), Gpa(7 << 32)));
    device.write(reg::QUEUE_SIZE, 8);
    device.write(reg::QUEUE_DESC_LOW, 0);
    assert_eq!(device.queue(0), Some(queue), "a queue in use does not change");
    assert_eq!(device.write(reg::STATUS, 0), Some(Event::Reset));
    assert_eq!((device.queue(0), device.read(reg::STATUS)), (None, 0));
}

#[test]
fn a_queue_that_starts_anew_where_it_was_is_another() {
    let mut device = Device::new(MAC, 1500, 1);
    let steps = [(reg::DRIVER_FEATURES_SEL, 1), (reg::DRIVER_FEATURES, 1), (reg::STATUS, 11), (reg::QUEUE_SIZE, 64)];
    let mut start = || {
        for (offset, value) in steps.into_iter().chain([(reg::QUEUE_READY, 1), (reg::STATUS, 15)]) {
            device.write(offset, value);
        }
        let queue = device.queue(0).unwrap();
        device.write(reg::STATUS, 0);
        queue
    };
    let (first, second) = (start(), start());
    assert_ne!(first, second);
    assert_eq!(first, Queue { start: first.start, ..second });
}

#[test]
fn what_was_agreed_on_goes_with_the_queue() {
    let rings = F::INDIRECT_DESC | F::EVENT_IDX | F::MRG_RXBUF | F::IN_ORDER | F::RING_PACKED;
    for features in [F::VERSION_1, F::VERSION_1 | F::IN_ORDER, F::VERSION_1 | rings] {
        assert_eq!(with_queue(features, 256).queue(0).map(|queue| queue.features), Some(features.bits()));
    }
}

#[test]
fn a_queue_has_a_size_that_its_format_has() {
    for (features, size, taken) in [
        (F::VERSION_1, 255, false),
        (F::VERSION_1 | F::RING_PACKED, 255, true),
        (F::VERSION_1 | F::RING_PACKED, 0, false),
        (F::VERSION_1 | F::RING_PACKED, 1025, false),
    ] {
        assert_eq!(with_queue(features, size).queue(0).is_some(), taken, "{features:?} {size}");
    }
}

#[test]
fn a_queue_taken_back_is_told() {
    let mut device = started();
    device.write(reg::STATUS, 15);
    assert_eq!(device.write(reg::QUEUE_READY, 0), Some(Event::Reset));
    assert_eq!(device.queue(0), None);
}

/// A queue that is stopped and made ready again, wherever it is by then, is another one, and the senders hear of both.
#[test]
fn a_queue_that_is_made_ready_again_is_told_and_is_another() {
    let mut device = Device::new(MAC, 1500, 1);
    assert_eq!(write_all(&mut device, &START), [Event::QueuesReady]);
    let first = device.queue(0).unwrap();
    assert_eq!(write_all(&mut device, &[(reg::QUEUE_READY, 0), (reg::QUEUE_READY, 0)]), [Event::Reset]);
    assert_eq!((device.queue(0), device.read(reg::QUEUE_READY)), (None, 0));
    assert_eq!(write_all(&mut device, &[(reg::QUEUE_READY, 1), (reg::QUEUE_READY, 1)]), [Event::QueuesReady]);
    let again = device.queue(0).unwrap();
    assert_ne!(again.start, first.start);
    assert_eq!(Queue { start: first.start, ..again }, first);
}

/// The order that no driver should use: the queue after DRIVER_OK.
#[test]
fn a_queue_that_becomes_ready_after_driver_ok_is_told() {
    let mut device = Device::new(MAC, 1500, 1);
    let [sel, features, agree, size, ready, ok] = START;
    assert_eq!(write_all(&mut device, &[sel, features, agree, ok]), [], "there is nothing to send to yet");
    assert_eq!((device.queue(0), write_all(&mut device, &[size])), (None, Vec::new()));
    assert_eq!(write_all(&mut device, &[ready]), [Event::QueuesReady]);
    assert!(device.queue(0).is_some());
}

/// The transmit queue is nobody's to send to.
#[test]
fn the_transmit_queue_is_told_to_nobody() {
    let mut device = Device::new(MAC, 1500, 1);
    let [sel, features, agree, size, ready, ok] = START;
    let transmit = [(reg::QUEUE_SEL, 1), size, ready];
    assert_eq!(write_all(&mut device, &[sel, features, agree]), []);
    assert_eq!(write_all(&mut device, &transmit), []);
    assert_eq!(write_all(&mut device, &[ok, (reg::QUEUE_READY, 0), (reg::QUEUE_READY, 1), (reg::STATUS, 0)]), []);
    assert_eq!(write_all(&mut device, &START), [Event::QueuesReady]);
    assert_eq!(write_all(&mut device, &transmit), []);
    assert_eq!(write_all(&mut device, &[(reg::QUEUE_READY, 0)]), []);
    assert!(device.queue(0).is_some());
}

#[test]
fn a_driver_that_gave_up_has_no_queue_until_it_resets() {
    let mut device = Device::new(MAC, 1500, 1);
    write_all(&mut device, &START);
    assert_eq!(device.write(reg::STATUS, 0x80), Some(Event::Reset));
    assert_eq!((device.queue(0), device.read(reg::STATUS)), (None, 0x8f));
    assert_eq!(write_all(&mut device, &[(reg::STATUS, 15), (reg::QUEUE_READY, 0), (reg::QUEUE_READY, 1)]), []);
    assert_eq!(write_all(&mut device, &[(reg::STATUS, 0)]), []);
    assert_eq!(write_all(&mut device, &START), [Event::QueuesReady]);
}

/// A queue is made of features and a size, so it is not ready before both are there.
#[test]
fn a_queue_is_not_ready_before_what_it_is_made_of() {
    let [sel, features, agree, size, ready, ok] = START;
    for writes in [[size, ready, sel, features, agree], [sel, features, agree, ready, size]] {
        let mut device = Device::new(MAC, 1500, 1);
        write_all(&mut device, &writes);
        assert_eq!((device.read(reg::QUEUE_READY), device.write(reg::STATUS, ok.1)), (0, None));
    }
}

#[test]
fn a_size_beyond_16_bits_is_none() {
    for size in [0x1_0000, 0x1_0040, 0x8000_0040, u32::MAX] {
        let mut device = Device::new(MAC, 1500, 1);
        let mut writes = START;
        writes[3].1 = size;
        assert_eq!((write_all(&mut device, &writes), device.read(reg::QUEUE_READY)), (Vec::new(), 0), "{size:#x}");
    }
}

/// Values of QueueReady other than 0 and 1 mean nothing.
#[test]
fn a_queue_is_ready_or_not() {
    let mut device = Device::new(MAC, 1500, 1);
    let [sel, features, agree, size, ready, ok] = START;
    write_all(&mut device, &[sel, features, agree, size, (reg::QUEUE_READY, 2), (reg::QUEUE_READY, u32::MAX)]);
    assert_eq!(device.read(reg::QUEUE_READY), 0);
    write_all(&mut device, &[ready, ok]);
    assert_eq!(write_all(&mut device, &[(reg::QUEUE_READY, 2), (reg::QUEUE_READY, 3)]), []);
    assert_eq!((device.read(reg::QUEUE_READY), device.queue(0).is_some()), (1, true));
}

#[test]
fn a_queue_that_is_not_there_takes_nothing() {
    let mut device = Device::new(MAC, 1500, 1);
    write_all(&mut device, &START[..3]);
    for queue in [2, 0x1_0000, u32::MAX] {
        write_all(&mut device, &[(reg::QUEUE_SEL, queue), START[3], START[4]]);
        assert_eq!([reg::QUEUE_SIZE_MAX, reg::QUEUE_READY].map(|register| device.read(register)), [0, 0], "{queue}");
    }
    device.write(reg::STATUS, 15);
    for queue in [0, 1] {
        device.write(reg::QUEUE_SEL, queue);
        assert_eq!([reg::QUEUE_SIZE_MAX, reg::QUEUE_READY].map(|register| device.read(register)), [1024, 0]);
    }
}
