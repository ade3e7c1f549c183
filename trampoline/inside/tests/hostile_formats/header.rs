//! Headers of frames that a driver sends.

use super::*;
use sluice_abi::net::{HdrF, gso};

#[test]
fn a_checksum_beyond_the_frame_is_blamed() {
    let hdr =
        |csum_start, csum_offset| Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start, csum_offset, ..Hdr::default() };
    for (start, offset) in [(60, 0), (59, 0), (0, 59), (40, 19), (u16::MAX, 1), (u16::MAX, u16::MAX), (0, u16::MAX)] {
        blames_frame(Clause::Header, F::CSUM, hdr(start, offset), &[SENT]);
    }
    blames_frame(Clause::Header, F::empty(), hdr(34, 16), &[SENT]);
}

#[test]
fn segmentation_fields_that_contradict_each_other_are_blamed() {
    let flags = HdrF::NEEDS_CSUM.bits();
    let tcp = Hdr {
        flags,
        gso_type: gso::TCPV4,
        hdr_len: 54,
        gso_size: 1448,
        csum_start: 34,
        csum_offset: 16,
        num_buffers: 0,
    };
    let offloads = F::CSUM | F::HOST_TSO4;
    for hdr in [
        Hdr { gso_size: 0, ..tcp },
        Hdr { flags: 0, ..tcp },
        Hdr { gso_type: gso::TCPV6, ..tcp },
        Hdr { gso_type: gso::UDP, ..tcp },
        Hdr { gso_type: gso::ECN, ..tcp },
        Hdr { gso_type: gso::TCPV4 | gso::ECN, ..tcp },
        Hdr { gso_type: 2, ..tcp },
    ] {
        blames_frame(Clause::Header, offloads, hdr, &[SENT]);
    }
    blames_frame(Clause::Header, F::CSUM, tcp, &[SENT]);
}

/// VIRTIO 5.1.6.2.2 "Device Requirements: Packet Transmission", statement 1.
#[test]
fn a_header_flag_that_is_not_known_is_ignored() {
    let known = HdrF::NEEDS_CSUM | HdrF::DATA_VALID;
    for bit in (0..8).map(|bit| 1 << bit).filter(|bit| !known.contains(HdrF::from_bits_retain(*bit))) {
        passes_frame(F::empty(), Hdr { flags: bit, ..Hdr::default() }, Hdr::default());
        passes_frame(F::CSUM, Hdr { flags: bit, ..Hdr::default() }, Hdr::default());
    }
}

/// VIRTIO 5.1.6.2.2 "Device Requirements: Packet Transmission", statement 3.
#[test]
fn a_header_length_that_is_wrong_does_not_stop_a_sent_frame() {
    let csum = Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 34, csum_offset: 16, ..Hdr::default() };
    let tcp = Hdr { gso_type: gso::TCPV4, gso_size: 1448, ..csum };
    for hdr_len in [0, 1, 54, 60, 61, u16::MAX] {
        for hdr in [Hdr::default(), csum, tcp].map(|hdr| Hdr { hdr_len, ..hdr }) {
            passes_frame(F::CSUM | F::HOST_TSO4, hdr, hdr);
        }
    }
}

/// VIRTIO 5.1.6.2.2 "Device Requirements: Packet Transmission", statement 2.
#[test]
fn checksum_fields_of_a_sent_frame_mean_nothing_without_the_flag() {
    let hdr = Hdr { csum_start: u16::MAX, csum_offset: u16::MAX, ..Hdr::default() };
    passes_frame(F::empty(), hdr, hdr);
    passes_frame(F::CSUM, hdr, hdr);
}
