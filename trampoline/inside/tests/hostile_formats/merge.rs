//! Frames over several buffers.

use super::*;

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
        assert_eq!((status, accepted, window.is_quarantined(0)), (Status::FULL, vec![0], false));
        assert_eq!(ring.used(), 0, "half a frame is shown");
    }
}

#[test]
fn forged_num_buffers_of_a_sent_frame_mean_nothing() {
    let hdr = Hdr { num_buffers: 0xfffe, ..Hdr::default() };
    passes_frame(F::empty(), hdr, hdr);
}
