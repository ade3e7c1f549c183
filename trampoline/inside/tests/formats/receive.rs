//! Frames into a receive queue.

use super::*;
use sluice_abi::PeerIdx;
use sluice_abi::call::{Accepted, HDR, Outcome, Packet, Status};
use sluice_abi::net::{HDR_LEN, HdrF, PLAIN_HDR, gso};
use sluice_inside::{Enqueue, transmit};
use sluice_memory::Words;

#[test]
fn bursts_through_a_window_arrive_whole_and_in_order_over_many_laps() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features);
        let (mut window, packets, request) = window_to(&driver);
        let mut number = 0;
        for round in 0..200 {
            let burst = 1 + round % usize::from(size);
            let frames: Vec<_> = (0..burst).map(|at| bytes(number + at, 60 + (number + at) % 40)).collect();
            for (at, frame) in frames.iter().enumerate() {
                let pieces = match (round + at) % 5 {
                    0 => vec![driver.piece(12, true), driver.piece(1600, true)],
                    _ => vec![driver.piece(1600, true)],
                };
                if driver.has_room(pieces.len() as u16) {
                    driver.give(&pieces, false);
                }
                packets.run(0).copy_from_slice(2048 * at as u64, frame).expect("inside");
                let packet = Packet::new(2048 * at as u32, frame.len() as u16, PeerIdx(0));
                request.run(0).write(8 * at as u64, packet).expect("inside");
            }
            let Outcome { status, accepted } = transmit(&mut window, request.run(0), burst as u64, Words);
            assert!(status == Status::OK || status == Status::FULL, "{status:?}");
            let sent = if status == Status::OK { burst } else { accepted.count() };
            for frame in &frames[..sent] {
                assert_eq!(driver.take(), Some((frame.len() as u32 + HDR_LEN, arrived(1, frame))));
            }
            assert_eq!(driver.take(), None);
            number += sent;
        }
        assert!(number > 400);
    }
}

/// Entries and descriptors of the lap before are still there.
#[test]
fn in_a_later_lap_no_more_is_filled_than_was_given() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features);
        let (mut window, _packets, request) = window_to(&driver);
        (0..size).for_each(|at| request.run(0).write(8 * u64::from(at), PACKET).expect("inside"));
        for given in [size, 2, 0, 1, size] {
            for _ in 0..given {
                let piece = driver.piece(1600, true);
                driver.give(&[piece], false);
            }
            let Outcome { status, accepted } = transmit(&mut window, request.run(0), size.into(), Words);
            let (all, expected) = (usize::from(given), if given == size { Status::OK } else { Status::FULL });
            assert_eq!((status, if given == size { all } else { accepted.count() }), (expected, all), "{features:?}");
            (0..given).for_each(|_| assert!(driver.take().is_some()));
            assert_eq!(driver.take(), None);
        }
    }
}

#[test]
fn indirect_tables_are_followed() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features | F::INDIRECT_DESC);
        let (mut queue, regions) = driver.device();
        for round in 0..50 {
            let chain = [driver.piece(12, true), driver.piece(40, true), driver.piece(100, true)];
            driver.give(&chain, round % 3 != 0);
            let payload = bytes(round, 60 + round);
            let (_memory, frame) = frame(&payload);
            assert_eq!(queue.enqueue(&regions, &PLAIN, frame, 100, Words), Ok(Enqueue::Filled));
            queue.publish();
            assert_eq!(driver.take(), Some((payload.len() as u32 + HDR_LEN, arrived(1, &payload))));
        }
    }
}

#[test]
fn a_header_passes_where_its_offloads_are_negotiated_and_only_there() {
    let tcp = Hdr {
        flags: HdrF::NEEDS_CSUM.bits(),
        gso_type: gso::TCPV4,
        hdr_len: 54,
        gso_size: 1448,
        csum_start: 34,
        csum_offset: 16,
        num_buffers: 9,
    };
    for (format, size) in FORMATS {
        for (features, done) in [
            (F::GUEST_CSUM | F::GUEST_TSO4, Enqueue::Filled),
            (F::GUEST_CSUM | F::GUEST_TSO6, Enqueue::BadHeader),
            (SPLIT, Enqueue::BadHeader),
        ] {
            let mut driver = Driver::new(size, format | features);
            let (mut queue, regions) = driver.device();
            let piece = driver.piece(3000, true);
            driver.give(&[piece], false);
            let payload = bytes(1, 2900);
            let (_memory, frame) = frame(&payload);
            assert_eq!(queue.enqueue(&regions, &tcp, frame, 1514, Words), Ok(done));
            queue.publish();
            let expected = [Hdr { num_buffers: 1, ..tcp }.as_bytes(), &payload].concat();
            assert_eq!(driver.take(), (done == Enqueue::Filled).then_some((2912, expected)));
        }
    }
}

#[test]
fn a_header_before_the_frame_goes_through_the_window() {
    let mut driver = Driver::new(8, F::GUEST_CSUM);
    let (mut window, packets, request) = window_to(&driver);
    let hdr = Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 34, csum_offset: 16, ..PLAIN };
    let payload = bytes(5, 100);
    packets.run(0).copy_from_slice(88, hdr.as_bytes()).expect("inside");
    packets.run(0).copy_from_slice(100, &payload).expect("inside");
    for (at, (offset, flags)) in [(100, HDR), (100, 0), (11, HDR)].into_iter().enumerate() {
        let piece = driver.piece(1600, true);
        driver.give(&[piece], false);
        request.run(0).write(8 * at as u64, Packet { offset, len: 100, peer: PeerIdx(0), flags }).expect("inside");
    }
    let outcome = transmit(&mut window, request.run(0), 3, Words);
    assert_eq!(outcome.accepted, Accepted([0b11, 0, 0, 0]));
    let with_hdr = [Hdr { num_buffers: 1, ..hdr }.as_bytes(), &payload].concat();
    assert_eq!(driver.take(), Some((112, with_hdr)));
    assert_eq!(driver.take(), Some((112, [&PLAIN_HDR[..], &payload].concat())));
    assert_eq!(driver.take(), None);
}

#[test]
fn a_header_that_contradicts_itself_or_the_features_is_not_passed_on() {
    let flags = HdrF::NEEDS_CSUM.bits();
    let csum = Hdr { flags, csum_start: 34, csum_offset: 16, ..PLAIN };
    let tcp = Hdr { gso_type: gso::TCPV4, hdr_len: 54, gso_size: 1448, ..csum };
    let all = F::GUEST_CSUM | F::GUEST_TSO4 | F::GUEST_TSO6 | F::GUEST_ECN | F::GUEST_UFO;
    for (without, hdr) in [
        (F::empty(), Hdr { csum_start: 2900, ..csum }),
        (F::empty(), Hdr { flags: 0, ..tcp }),
        (F::empty(), Hdr { gso_size: 0, ..tcp }),
        (F::empty(), Hdr { gso_type: gso::UDP_L4, ..tcp }),
        (F::empty(), Hdr { flags: flags | HdrF::RSC_INFO.bits(), ..csum }),
        (F::GUEST_CSUM, csum),
        (F::GUEST_CSUM, Hdr { flags: HdrF::DATA_VALID.bits(), ..PLAIN }),
        (F::GUEST_TSO4, tcp),
        (F::GUEST_TSO6, Hdr { gso_type: gso::TCPV6, ..tcp }),
        (F::GUEST_UFO, Hdr { gso_type: gso::UDP, ..tcp }),
        (F::GUEST_ECN, Hdr { gso_type: gso::TCPV4 | gso::ECN, ..tcp }),
    ] {
        for (format, size) in FORMATS {
            let mut driver = Driver::new(size, format | (all - without));
            let (mut queue, regions) = driver.device();
            let piece = driver.piece(3000, true);
            driver.give(&[piece], false);
            let (_memory, frame) = frame(&bytes(1, 2900));
            assert_eq!(queue.enqueue(&regions, &hdr, frame, 1514, Words), Ok(Enqueue::BadHeader), "{hdr:?}");
            queue.publish();
            assert_eq!(driver.take(), None);
        }
    }
}

/// The MTU is of what comes out of it.
#[test]
fn a_frame_that_is_still_to_be_segmented_may_be_longer_than_the_mtu() {
    let csum = Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 34, csum_offset: 16, ..PLAIN };
    let tcp = Hdr { gso_type: gso::TCPV4, gso_size: 1448, hdr_len: 54, ..csum };
    let offloads = F::GUEST_CSUM | F::GUEST_TSO4;
    for (format, size) in FORMATS {
        for (hdr, features, passes) in
            [(tcp, offloads, true), (csum, offloads, false), (PLAIN, offloads, false), (tcp, F::GUEST_CSUM, false)]
        {
            let mut driver = Driver::new(size, format | features);
            let (mut window, packets, request) = window_to(&driver);
            let (piece, payload) = (driver.piece(9000, true), bytes(3, 8000));
            driver.give(&[piece], false);
            packets.run(0).copy_from_slice(0, &[hdr.as_bytes(), &payload].concat()).expect("inside");
            request.run(0).write(0, Packet::new(HDR_LEN, 8000, PeerIdx(0)).with_hdr()).expect("inside");
            let status = transmit(&mut window, request.run(0), 1, Words).status;
            assert_eq!(status == Status::OK, passes, "{hdr:?} {features:?} {status:?}");
            let arrived = [Hdr { num_buffers: 1, ..hdr }.as_bytes(), &payload].concat();
            assert_eq!(driver.take(), passes.then_some((8012, arrived)));
        }
    }
}

/// VIRTIO 5.1.6.2.2 "Device Requirements: Packet Transmission" and 5.1.6.4.2 "Driver Requirements: Processing of
/// Incoming Packets", statement 3 of each: it is a hint, of which each side makes what it can.
#[test]
fn a_header_length_that_is_wrong_passes_as_it_is() {
    let csum = Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 34, csum_offset: 16, ..PLAIN };
    let tcp = Hdr { gso_type: gso::TCPV4, gso_size: 100, ..csum };
    for ((format, size), hdr_len) in
        FORMATS.into_iter().flat_map(|format| [0, 54, 201, u16::MAX].map(|len| (format, len)))
    {
        for hdr in [PLAIN, csum, tcp].map(|hdr| Hdr { hdr_len, ..hdr }) {
            let mut driver = Driver::new(size, format | F::GUEST_CSUM | F::GUEST_TSO4);
            let (mut queue, regions) = driver.device();
            let piece = driver.piece(300, true);
            driver.give(&[piece], false);
            let payload = bytes(1, 200);
            let (_memory, frame) = frame(&payload);
            assert_eq!(queue.enqueue(&regions, &hdr, frame, 100, Words), Ok(Enqueue::Filled));
            queue.publish();
            let expected = [Hdr { num_buffers: 1, ..hdr }.as_bytes(), &payload].concat();
            assert_eq!(driver.take(), Some((212, expected)));
        }
    }
}
