//! The header before each frame. See: VIRTIO 5.1.6 "Device Operation".

use super::features::F;
use bitflags::bitflags;
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The header before each frame, little-endian. The sender of the frame writes it. See: VIRTIO 5.1.6 "Device
/// Operation".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Hdr {
    /// [`HdrF`] bits.
    pub flags: u8,
    /// One of [`gso`].
    pub gso_type: u8,
    /// Length of the headers before the first segment's payload in bytes: a hint, which may be wrong.
    pub hdr_len: u16,
    /// Length of a segment's payload in bytes.
    pub gso_size: u16,
    /// Offset in the frame at which checksumming starts, in bytes.
    pub csum_start: u16,
    /// Offset of the checksum from `csum_start`, in bytes.
    pub csum_offset: u16,
    /// Number of descriptor chains that hold this frame; 1 without mergeable buffers.
    pub num_buffers: u16,
}

/// Length of [`Hdr`] in bytes.
pub const HDR_LEN: u32 = size_of::<Hdr>() as u32;
const _: () = assert!(HDR_LEN == 12 && offset_of!(Hdr, num_buffers) == 10);

/// The header of a frame without offloads: all zero but `num_buffers`, which is 1. See: VIRTIO 5.1.6.4.1 "Device
/// Requirements: Processing of Incoming Packets".
pub const PLAIN_HDR: [u8; HDR_LEN as usize] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

bitflags! {
    /// Bits of [`Hdr::flags`]. See: VIRTIO 5.1.6 "Device Operation".
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct HdrF: u8 {
        /// The checksum at `csum_start + csum_offset` is still to be completed.
        const NEEDS_CSUM = 1;
        /// The device has validated the checksum.
        const DATA_VALID = 2;
        /// Coalesced-segments information is present; only with a feature that Sluice does not negotiate.
        const RSC_INFO = 4;
    }
}

/// Values of [`Hdr::gso_type`]. See: VIRTIO 5.1.6 "Device Operation".
pub mod gso {
    /// Not segmented.
    pub const NONE: u8 = 0;
    /// TCP over IPv4.
    pub const TCPV4: u8 = 1;
    /// UDP fragmentation.
    pub const UDP: u8 = 3;
    /// TCP over IPv6.
    pub const TCPV6: u8 = 4;
    /// UDP segmentation.
    pub const UDP_L4: u8 = 5;
    /// Added to a TCP type: the frame has ECN set.
    pub const ECN: u8 = 0x80;
}

bitflags! {
    /// Offloads: work on a frame that one side may leave to the other.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Offloads: u8 {
        /// Completing the checksum.
        const CSUM = 1;
        /// Segmenting TCP over IPv4.
        const TSO4 = 2;
        /// Segmenting TCP over IPv6.
        const TSO6 = 4;
        /// Segmenting TCP with ECN.
        const ECN = 8;
        /// Fragmenting UDP.
        const UFO = 16;
    }
}

impl F {
    /// Returns the work that the device may leave to the driver, in frames that the driver receives.
    pub const fn offloads_to_driver(self) -> Offloads {
        self.offloads([Self::GUEST_CSUM, Self::GUEST_TSO4, Self::GUEST_TSO6, Self::GUEST_ECN, Self::GUEST_UFO])
    }

    /// Returns the work that the driver may leave to the device, in frames that the driver sends.
    pub const fn offloads_to_device(self) -> Offloads {
        self.offloads([Self::CSUM, Self::HOST_TSO4, Self::HOST_TSO6, Self::HOST_ECN, Self::HOST_UFO])
    }

    const fn offloads(self, features: [Self; 5]) -> Offloads {
        let (mut bits, mut at) = (0, 0);
        while at < features.len() {
            bits |= (self.contains(features[at]) as u8) << at;
            at += 1;
        }
        Offloads::from_bits_truncate(bits)
    }
}

impl Hdr {
    /// Returns the header without the flags that a receiver does not recognize and therefore ignores: undefined bits,
    /// and [`HdrF::RSC_INFO`], whose feature is not negotiated. See: VIRTIO 5.1.6.2.2 "Device Requirements: Packet
    /// Transmission", 5.1.6.4.2 "Driver Requirements: Processing of Incoming Packets".
    pub const fn known(self) -> Self {
        Self { flags: self.flags & HdrF::NEEDS_CSUM.union(HdrF::DATA_VALID).bits(), ..self }
    }

    /// Returns whether this header fits a frame of `frame_len` bytes between sides that agreed on `offloads`: the
    /// header asks for nothing else, the checksum lies within the frame, and a segmented frame has a segment size.
    /// `num_buffers` is ignored, and so is `hdr_len`, a hint that nobody may rely on. See: VIRTIO 5.1.6.2.1 "Driver
    /// Requirements: Packet Transmission", 5.1.6.4.1 "Device Requirements: Processing of Incoming Packets"; of
    /// `hdr_len`, 5.1.6.2.2 "Device Requirements: Packet Transmission", 5.1.6.4.2 "Driver Requirements: Processing of
    /// Incoming Packets".
    #[inline]
    pub const fn fits(&self, frame_len: u32, offloads: Offloads) -> bool {
        // Most headers ask for nothing.
        if self.flags == 0 && self.gso_type == gso::NONE {
            return true;
        }
        let Some(flags) = HdrF::from_bits(self.flags) else { return false };
        if flags.contains(HdrF::RSC_INFO) || !(flags.is_empty() || offloads.contains(Offloads::CSUM)) {
            return false;
        }
        let needs_csum = flags.contains(HdrF::NEEDS_CSUM);
        let csum_end = self.csum_start as u32 + self.csum_offset as u32 + 2;
        (!needs_csum || csum_end <= frame_len) && self.gso_fits(offloads, needs_csum)
    }

    const fn gso_fits(&self, offloads: Offloads, needs_csum: bool) -> bool {
        let ecn = self.gso_type & gso::ECN != 0;
        let needed = match self.gso_type & !gso::ECN {
            gso::NONE => return !ecn,
            gso::TCPV4 => Offloads::TSO4,
            gso::TCPV6 => Offloads::TSO6,
            gso::UDP if !ecn => Offloads::UFO,
            _ => return false,
        };
        let agreed = offloads.contains(needed) && (!ecn || offloads.contains(Offloads::ECN));
        agreed && needs_csum && self.gso_size > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offloads = Offloads::all();

    #[test]
    fn a_plain_header_fits_every_frame() {
        let plain = Hdr { num_buffers: 1, ..Hdr::default() };
        assert_eq!(plain.as_bytes(), PLAIN_HDR);
        assert!(plain.fits(0, Offloads::empty()));
    }

    #[test]
    fn a_checksum_lies_within_the_frame_and_was_agreed_on() {
        let hdr = Hdr { flags: HdrF::NEEDS_CSUM.bits(), csum_start: 34, csum_offset: 16, ..Hdr::default() };
        for (len, offloads, fits) in
            [(52, ALL, true), (51, ALL, false), (52, ALL.difference(Offloads::CSUM), false), (0, ALL, false)]
        {
            assert_eq!(hdr.fits(len, offloads), fits);
        }
        assert!(!Hdr { csum_start: u16::MAX, csum_offset: u16::MAX, ..hdr }.fits(65_535, ALL));
        assert!(!Hdr { flags: HdrF::RSC_INFO.bits(), ..hdr }.fits(60, ALL));
        assert!(!Hdr { flags: 0x80, ..hdr }.fits(60, ALL));
    }

    #[test]
    fn a_segmented_frame_says_how_and_was_agreed_on() {
        let tcp = |gso_type, gso_size, hdr_len| Hdr {
            flags: HdrF::NEEDS_CSUM.bits(),
            gso_type,
            gso_size,
            hdr_len,
            csum_start: 34,
            csum_offset: 16,
            num_buffers: 0,
        };
        for (hdr, without, fits) in [
            (tcp(gso::TCPV4, 1448, 54), Offloads::empty(), true),
            (tcp(gso::TCPV4, 1448, 54), Offloads::TSO4, false),
            (tcp(gso::TCPV6, 1448, 74), Offloads::empty(), true),
            (tcp(gso::TCPV6, 1448, 74), Offloads::TSO6, false),
            (tcp(gso::TCPV4 | gso::ECN, 1448, 54), Offloads::empty(), true),
            (tcp(gso::TCPV4 | gso::ECN, 1448, 54), Offloads::ECN, false),
            (tcp(gso::UDP, 1448, 42), Offloads::empty(), true),
            (tcp(gso::UDP, 1448, 42), Offloads::UFO, false),
            (tcp(gso::UDP | gso::ECN, 1448, 42), Offloads::empty(), false),
            (tcp(gso::ECN, 1448, 42), Offloads::empty(), false),
            (tcp(2, 1448, 42), Offloads::empty(), false),
            (tcp(gso::TCPV4, 0, 54), Offloads::empty(), false),
            (Hdr { flags: 0, ..tcp(gso::TCPV4, 1448, 54) }, Offloads::empty(), false),
        ] {
            assert_eq!(hdr.fits(9000, ALL.difference(without)), fits, "{hdr:?}");
            for hint in [0, 1, 9000, 9001, u16::MAX] {
                let hdr = Hdr { hdr_len: hint, ..hdr };
                assert_eq!(hdr.fits(9000, ALL.difference(without)), fits, "{hdr:?}");
            }
        }
        // More than there is to cut is one segment.
        assert!(tcp(gso::TCPV4, u16::MAX, 54).fits(9000, ALL));
    }

    #[test]
    fn without_the_bits_that_give_them_a_meaning_fields_mean_nothing() {
        let far = u16::MAX;
        let hdr =
            Hdr { hdr_len: far, gso_size: far, csum_start: far, csum_offset: far, num_buffers: far, ..Hdr::default() };
        assert!(hdr.fits(1, Offloads::empty()) && hdr.fits(1, ALL));
        let valid = Hdr { flags: HdrF::DATA_VALID.bits(), ..hdr };
        assert!(valid.fits(1, Offloads::CSUM) && !valid.fits(1, ALL.difference(Offloads::CSUM)));
    }

    #[test]
    fn flags_of_features_that_are_not_negotiated_are_not_known() {
        for flags in 0..=u8::MAX {
            let hdr =
                Hdr { flags, hdr_len: 1, gso_size: 2, csum_start: 3, csum_offset: 4, num_buffers: 5, gso_type: 6 };
            assert_eq!(hdr.known(), Hdr { flags: flags & 0b011, ..hdr });
        }
    }

    #[test]
    fn features_of_one_direction_say_nothing_of_the_other() {
        let guest = F::GUEST_CSUM | F::GUEST_TSO6;
        assert_eq!(guest.offloads_to_driver(), Offloads::CSUM | Offloads::TSO6);
        assert_eq!(guest.offloads_to_device(), Offloads::empty());
        let host = F::CSUM | F::HOST_TSO4 | F::HOST_ECN | F::HOST_UFO;
        assert_eq!(host.offloads_to_device(), Offloads::CSUM | Offloads::TSO4 | Offloads::ECN | Offloads::UFO);
        assert_eq!(host.offloads_to_driver(), Offloads::empty());
    }
}
