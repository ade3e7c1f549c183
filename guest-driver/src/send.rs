//! Headers of frames to be sent. They ask for nothing that the device did not agree to, and no frame is longer than the
//! device takes. See: VIRTIO 5.1.6.2 "Packet Transmission".

use sluice_abi::net::{ETHERNET_HEADER, F, Hdr, HdrF, MAX_FRAME, Offloads, gso};

/// Reasons for which a frame can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The header asks for work that was not agreed on, or does not fit the frame.
    Header,
    /// The frame is longer than the device's MTU allows.
    TooLong,
    /// The frame has no bytes.
    Empty,
}

/// The part of a driver that makes headers of frames to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    offloads: Offloads,
    /// Length of the longest frame that the device is not asked to segment, in bytes.
    longest: u32,
}

impl Sender {
    /// Returns a sender for a device with these features. With [`F::MTU`], `mtu` is the largest payload of a frame in
    /// bytes.
    pub const fn new(features: F, mtu: u16) -> Self {
        let longest = if features.contains(F::MTU) { mtu as u32 + ETHERNET_HEADER as u32 } else { MAX_FRAME as u32 };
        Self { offloads: features.offloads_to_device(), longest }
    }

    /// Returns the length in bytes of the longest frame without VLAN tags that the device is not asked to segment.
    pub const fn longest(&self) -> u32 {
        self.longest
    }

    /// Returns the header before a frame of `len` bytes that asks for the same work as `hdr`. The caller vouches for
    /// the frame's own checksum and headers. See: VIRTIO 5.1.4.2 "Driver Requirements: Device configuration layout",
    /// 5.1.6.2.1 "Driver Requirements: Packet Transmission".
    ///
    /// # Errors
    /// [`SendError`].
    pub const fn header(&self, hdr: Hdr, len: u32) -> Result<Hdr, SendError> {
        self.header_of_tagged(hdr, len, 0)
    }

    /// Returns the header as [`Sender::header`] does, for a frame that has `tags` bytes of VLAN tags. They belong to
    /// the Ethernet header, and not to the payload, which the MTU bounds.
    ///
    /// # Errors
    /// [`SendError`].
    pub const fn header_of_tagged(&self, hdr: Hdr, len: u32, tags: u16) -> Result<Hdr, SendError> {
        // Only a receiver is told the other flags.
        let for_device = hdr.flags & !HdrF::NEEDS_CSUM.bits() == 0;
        if len == 0 {
            return Err(SendError::Empty);
        }
        if !for_device || !hdr.fits(len, self.offloads) {
            return Err(SendError::Header);
        }
        if len > self.longest + tags as u32 && hdr.gso_type == gso::NONE {
            return Err(SendError::TooLong);
        }
        Ok(Hdr { num_buffers: 0, ..hdr })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSUM: Hdr = Hdr {
        flags: HdrF::NEEDS_CSUM.bits(),
        gso_type: gso::NONE,
        hdr_len: 0,
        gso_size: 0,
        csum_start: 34,
        csum_offset: 16,
        num_buffers: 0,
    };
    const ALL: F = F::CSUM.union(F::HOST_TSO4).union(F::HOST_TSO6).union(F::HOST_ECN).union(F::HOST_UFO);

    const fn segments(gso_type: u8) -> Hdr {
        Hdr { gso_type, hdr_len: 54, gso_size: 1448, ..CSUM }
    }

    #[track_caller]
    fn refused(features: F, hdr: Hdr, len: u32) {
        assert_eq!(Sender::new(features, 1500).header(hdr, len), Err(SendError::Header));
    }

    #[test]
    fn a_sent_header_counts_no_buffers() {
        for hdr in [Hdr::default(), CSUM, segments(gso::TCPV4)] {
            let forged = Hdr { num_buffers: 7, ..hdr };
            assert_eq!(Sender::new(ALL, 1500).header(forged, 1000), Ok(hdr));
        }
    }

    #[test]
    fn no_checksum_is_left_to_a_device_that_did_not_agree_to_it() {
        refused(ALL - F::CSUM, CSUM, 60);
        refused(F::GUEST_CSUM, CSUM, 60);
        assert_eq!(Sender::new(F::CSUM, 1500).header(CSUM, 60), Ok(CSUM));
    }

    #[test]
    fn no_segmentation_is_left_to_a_device_that_did_not_agree_to_it() {
        let types = [(gso::TCPV4, F::HOST_TSO4), (gso::TCPV6, F::HOST_TSO6), (gso::UDP, F::HOST_UFO)];
        for (gso_type, feature) in types.into_iter().chain([(gso::TCPV4 | gso::ECN, F::HOST_ECN)]) {
            let hdr = segments(gso_type);
            refused(ALL - feature, hdr, 4000);
            refused(F::CSUM, hdr, 4000);
            assert_eq!(Sender::new(ALL, 1500).header(hdr, 4000), Ok(hdr));
        }
        refused(F::all(), segments(gso::UDP_L4), 4000);
    }

    #[test]
    fn segments_are_sent_with_a_checksum_and_a_size() {
        refused(ALL, Hdr { flags: 0, ..segments(gso::TCPV4) }, 4000);
        refused(ALL, Hdr { gso_size: 0, ..segments(gso::TCPV4) }, 4000);
    }

    #[test]
    fn a_checksum_beyond_the_frame_is_not_sent() {
        refused(ALL, CSUM, 51);
        refused(ALL, Hdr { csum_start: u16::MAX, csum_offset: u16::MAX, ..CSUM }, 60);
        assert_eq!(Sender::new(ALL, 1500).header(CSUM, 52), Ok(CSUM));
    }

    #[test]
    fn flags_that_are_the_receivers_are_not_sent() {
        for bit in 1..8 {
            refused(F::all(), Hdr { flags: 1 << bit, ..CSUM }, 60);
            refused(F::all(), Hdr { flags: 1 << bit | HdrF::NEEDS_CSUM.bits(), ..CSUM }, 60);
        }
    }

    #[test]
    fn a_frame_without_bytes_is_not_sent() {
        for hdr in [Hdr::default(), segments(gso::TCPV4)] {
            assert_eq!(Sender::new(ALL | F::MTU, 1500).header(hdr, 0), Err(SendError::Empty));
        }
        assert!(Sender::new(ALL | F::MTU, 1500).header(Hdr::default(), 1).is_ok());
    }

    #[test]
    fn a_frame_longer_than_the_mtu_allows_is_not_sent() {
        let result = |features, hdr, len| Sender::new(features, 1500).header(hdr, len);
        let with_mtu = ALL | F::MTU;
        assert!(result(with_mtu, CSUM, 1514).is_ok());
        assert_eq!(result(with_mtu, CSUM, 1515), Err(SendError::TooLong));
        assert_eq!(result(with_mtu, Hdr::default(), u32::MAX), Err(SendError::TooLong));
        assert!(result(with_mtu, segments(gso::TCPV4), 9000).is_ok(), "the device makes shorter ones of it");
        assert!(result(ALL, CSUM, 9000).is_ok(), "nobody said how long");
    }
}
