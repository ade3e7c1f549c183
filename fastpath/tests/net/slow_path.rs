//! Frames over the transmit queue and the host's switch.

use super::*;
use sluice::{Hdr, HdrF, Transmit, TxError, gso};

const CSUM: Hdr = Hdr {
    flags: HdrF::NEEDS_CSUM.bits(),
    gso_type: gso::NONE,
    hdr_len: 34,
    gso_size: 0,
    csum_start: 34,
    csum_offset: 6,
    num_buffers: 1,
};

/// As with ARP, a question goes to everybody, and the answer to the VM that asked.
#[test]
fn a_question_reaches_everybody_and_the_answer_who_asked() {
    for format in RingFormat::ALL {
        let lan = Lan::new(&["lan = [\"b\", \"c\"]", "lan = [\"a\"]", "lan = [\"a\"]"]);
        let [mut a, mut b, mut c] = [0, 1, 2].map(|vm| lan.start(vm, options(format)));
        for mark in 0..200 {
            let (question, answer) = (frame(BROADCAST, a.net.mac(), mark), frame(mac(0), mac(1), mark));
            let mut burst = a.burst(std::slice::from_ref(&question));
            assert_eq!((a.net.tx_burst(&mut burst, MAX_BURST), burst.len()), (Ok(1), 0));
            assert_eq!((b.received(), c.received()), (vec![question.clone()], vec![question]));
            let mut burst = b.burst(std::slice::from_ref(&answer));
            assert_eq!(b.net.tx_burst(&mut burst, MAX_BURST), Ok(1));
            assert_eq!((a.received(), c.received()), (vec![answer], vec![]));
        }
        assert_eq!(b.received().len(), 0);
        let stats = a.net.tx_stats();
        assert_eq!((stats.packets, stats.bytes, a.net.rx_stats().packets), (200, 200 * 60, 200));
        assert_eq!([a.pool.available(), b.pool.available()], [BUFFERS - usize::from(ENTRIES); 2], "all came back");
    }
}

#[test]
fn a_full_queue_leaves_frames_in_the_burst_and_nothing_is_lost_or_doubled() {
    for format in RingFormat::ALL {
        let lan = Lan::two();
        let [mut a, mut b] = [0, 1].map(|vm| lan.start(vm, options(format)));
        lan.asleep.set(true);
        let frames: Vec<_> = (0..80).map(|mark| frame(mac(1), mac(0), mark)).collect();
        let (mut burst, mut arrived) = (a.burst(&frames), Vec::new());
        assert_eq!(a.net.tx_burst(&mut burst, 20), Ok(20));
        assert_eq!(a.net.tx_burst(&mut burst, MAX_BURST), Ok(12), "as many as there are entries");
        assert_eq!((a.net.tx_burst(&mut burst, MAX_BURST), burst.len()), (Ok(0), 48));
        assert_eq!(contents(&burst), frames[32..]);
        let before = a.pool.available();
        while !burst.is_empty() {
            lan.serve(0);
            arrived.extend(b.received());
            assert!(a.net.tx_burst(&mut burst, MAX_BURST).expect("an honest device") > 0);
        }
        lan.serve(0);
        arrived.extend(b.received());
        assert_eq!(arrived, frames, "{format:?}");
        // A poll is enough for buffers to come back.
        assert_eq!(a.received(), Vec::<Vec<u8>>::new());
        drop(burst);
        assert_eq!((a.pool.available(), before), (BUFFERS - usize::from(ENTRIES), BUFFERS - 80 - usize::from(ENTRIES)));
        assert_eq!(a.net.tx_stats().full, 48 + 48 + 16);
    }
}

#[test]
fn a_notification_is_sent_only_if_the_device_asks_for_it() {
    let lan = Lan::two();
    let mut a = lan.start(0, options(RingFormat::Packed));
    lan.asleep.set(true);
    let before = lan.notified.get();
    a.net.tx_burst(&mut a.burst(&[]), MAX_BURST).expect("nothing to send");
    assert_eq!(lan.notified.get(), before, "nothing new, nothing to tell");
    a.net.tx_burst(&mut a.burst(&[frame(mac(1), mac(0), 1)]), MAX_BURST).expect("room");
    assert_eq!(lan.notified.get(), before + 1);
}

#[test]
fn a_checksum_is_left_to_the_device_only_as_negotiated() {
    for format in RingFormat::ALL {
        let lan = Lan::two();
        let takes = Options { offloads: sluice::Offloads::CSUM, ..options(format) };
        let [mut a, mut b] = [0, 1].map(|vm| lan.start(vm, takes));
        assert!(a.net.features().contains(F::CSUM | F::HOST_TSO4));
        let with = |vm: &Vm<Device>, mark| {
            let mut burst = vm.burst(&[frame(mac(1), mac(0), mark), frame(mac(1), mac(0), mark + 1)]);
            burst.frame_mut(1).expect("there").set_offloads(CSUM).expect("fits");
            burst
        };
        let mut burst = with(&a, 1);
        assert_eq!(a.net.tx_burst(&mut burst, MAX_BURST), Ok(2));
        let mut arrived = b.pool.burst();
        assert_eq!(b.net.rx_burst(&mut arrived, MAX_BURST), Ok(2));
        assert!(arrived.frames().map(|frame| frame.offloads()).eq([None, Some(CSUM)]), "{format:?}");
        let mut a = lan.start(0, Options { tx_offloads: sluice::Offloads::empty(), ..takes });
        let mut burst = with(&a, 3);
        let refused = TxError::DeviceOffload { index: 0 };
        assert_eq!((a.net.tx_burst(&mut burst, MAX_BURST), burst.len()), (Err(refused), 1));
        assert_eq!((refused.refused(), a.net.tx_stats().packets, a.net.tx_stats().not_negotiated), (Some(0), 1, 1));
        assert_eq!(
            refused.to_string(),
            "frame 0 leaves to this VM's device a checksum or segmentation that was not negotiated"
        );
        assert!(burst.remove(0));
        assert_eq!(b.received(), [frame(mac(1), mac(0), 3)]);
    }
}

#[test]
fn a_frame_longer_than_the_mtu_is_named_and_stays() {
    let lan = Lan::two();
    let [mut a, mut b] = [0, 1].map(|vm| lan.start(vm, options(RingFormat::default())));
    let long = [frame(mac(1), mac(0), 1), vec![0; 1455]].concat();
    let mut burst = a.burst(&[frame(mac(1), mac(0), 1), long[..1514].to_vec(), long, frame(mac(1), mac(0), 2)]);
    let error = TxError::DeviceTooLong { index: 0, len: 1515, longest: 1514 };
    assert_eq!((a.net.tx_burst(&mut burst, MAX_BURST), burst.len()), (Err(error), 2));
    assert_eq!(error.to_string(), "frame 0 has 1515 bytes; this VM's device takes 1514");
    assert_eq!((b.received().len(), a.net.tx_stats().too_long), (2, 1));
    assert!(burst.remove(0));
    assert_eq!((a.net.tx_burst(&mut burst, MAX_BURST), b.received().len()), (Ok(1), 1));
}

/// The tags of a service and a customer belong to the Ethernet header, by the slow path as through a window.
#[test]
fn two_vlan_tags_do_not_count_as_payload() {
    let lan = Lan::two();
    let [mut a, mut b] = [0, 1].map(|vm| lan.start(vm, options(RingFormat::default())));
    let tagged = |tags: &[u16], len: usize| {
        let mut frame = [&frame(mac(1), mac(0), 1)[..12], &[]].concat();
        tags.iter().for_each(|tag| frame.extend([(tag >> 8) as u8, *tag as u8, 0, 7]));
        frame.extend([8, 0]);
        frame.resize(len, 9);
        frame
    };
    for (tags, longest) in [(&[][..], 1514), (&[0x8100], 1518), (&[0x88a8, 0x8100], 1522), (&[0x8100; 3], 1522)] {
        let fits = tagged(tags, longest);
        let mut burst = a.burst(&[fits.clone(), tagged(tags, longest + 1)]);
        let error = TxError::DeviceTooLong { index: 0, len: longest as u16 + 1, longest: 1514 };
        assert_eq!((a.net.tx_burst(&mut burst, MAX_BURST), burst.len()), (Err(error), 1), "{tags:x?}");
        assert_eq!(b.received(), [fits]);
    }
}

#[test]
fn frames_of_another_pool_are_not_sent() {
    let lan = Lan::two();
    let [mut a, b] = [0, 1].map(|vm| lan.start(vm, options(RingFormat::default())));
    let mut foreign = b.burst(&[frame(mac(1), mac(0), 1)]);
    assert_eq!((a.net.tx_burst(&mut foreign, MAX_BURST), foreign.len()), (Err(TxError::ForeignPool), 1));
}

#[test]
fn the_halves_are_ports_of_their_own() {
    let lan = Lan::two();
    let [mut a, mut b] = [0, 1].map(|vm| lan.start(vm, options(RingFormat::default())));
    let mut burst = b.burst(&[frame(mac(0), mac(1), 1)]);
    let mut answer = a.burst(&[frame(mac(1), mac(0), 2)]);
    b.net.tx_burst(&mut burst, MAX_BURST).expect("room");
    let (input, output) = a.net.split();
    let mut arrived = a.pool.burst();
    assert_eq!((input.rx_burst(&mut arrived, MAX_BURST), output.tx_burst(&mut answer, MAX_BURST)), (Ok(1), Ok(1)));
    assert_eq!((b.received(), output.tx_stats().packets), (vec![frame(mac(1), mac(0), 2)], 1));
}
