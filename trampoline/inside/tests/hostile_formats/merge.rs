//! Frames over several buffers.

use super::*;
use sluice_abi::PeerIdx;

#[test]
fn a_merged_buffer_shorter_than_a_header_is_blamed() {
    for len in [0, 1, 11] {
        blames_in(&FORMATS, F::MRG_RXBUF, Clause::TooShort, |ring| ring.give(&[(GPA + BUFFERS, len, WRITE)]));
    }
}

#[test]
fn merged_buffers_that_do_not_suffice_are_waited_for() {
    for features in FORMATS {
        let ring = Ring::new(features | F::MRG_RXBUF);
        ring.give(&[(GPA + BUFFERS, 40, WRITE)]);
        let (window, status, accepted, _) = call(&ring);
        assert_eq!((status, accepted, window.is_quarantined(PeerIdx(0))), (Status::FULL, vec![0], false));
        assert_eq!(ring.used(), 0, "half a frame is shown");
    }
}

#[test]
fn forged_num_buffers_of_a_sent_frame_mean_nothing() {
    let hdr = Hdr { num_buffers: 0xfffe, ..Hdr::default() };
    passes_frame(F::empty(), hdr, hdr);
}

/// The one before it is lawful, and so is the frame.
#[test]
fn a_second_merged_buffer_whose_chain_is_too_long_is_blamed() {
    for features in &FORMATS[..2] {
        let ring = Ring::new(*features | F::MRG_RXBUF);
        ring.desc(0, (GPA + BUFFERS, 40, WRITE), 0);
        ring.desc(16, (GPA + BUFFERS + 40, 5, WRITE | NEXT), 1);
        ring.write(DRIVER + avail::RING, 0u16);
        ring.write(DRIVER + avail::RING + 2, 1u16);
        ring.write(DRIVER + avail::IDX, 2u16);
        let (window, status, accepted, _) = call(&ring);
        assert_eq!((status, accepted), (Status::peer_fault(Clause::ChainLength, PeerIdx(0)), vec![0]), "{features:?}");
        assert!(window.is_quarantined(PeerIdx(0)) && ring.used() == 0);
    }
    for features in FORMATS {
        let ring = Ring::new(features | F::MRG_RXBUF | F::INDIRECT_DESC);
        let lap = if ring.is_packed() { packed::DescF::AVAIL.bits() } else { 0 };
        ring.table(&[(GPA + BUFFERS + 40, 5, WRITE); SIZE as usize + 1]);
        ring.desc(0, (GPA + BUFFERS, 40, WRITE | lap), 0);
        ring.desc(16, (GPA + TABLE, 16 * (u32::from(SIZE) + 1), INDIRECT | lap), 1);
        if !ring.is_packed() {
            ring.write(DRIVER + avail::RING, 0u16);
            ring.write(DRIVER + avail::RING + 2, 1u16);
            ring.write(DRIVER + avail::IDX, 2u16);
        }
        let (window, status, accepted, _) = call_for(&ring, 1000);
        assert_eq!((status, accepted), (Status::peer_fault(Clause::ChainLength, PeerIdx(0)), vec![0]), "{features:?}");
        assert!(window.is_quarantined(PeerIdx(0)) && ring.used() == 0);
    }
}
