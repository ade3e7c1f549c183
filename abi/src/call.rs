//! Calls of a VM to the window and to the host, and their results.
//!
//! One operation crosses a gate: *transmit*, which takes a burst of [`Packet`]s, each naming its peer. A call ends
//! whole: either every packet that it reports as accepted is published, or none is.

mod status;

use crate::PeerIdx;
use core::mem::{offset_of, size_of};
pub use status::{Clause, Code, Status};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Largest number of packets in one call (rule G10 bounds the time that a window is open).
pub const MAX_BURST: usize = 256;

/// The 64-bit word of the request block in which a VM counts beginnings and ends of its calls, where it runs the ring
/// code itself (gates `direct` and `guarded`): it is odd while a call is under way. The VM writes it. A host that
/// shares the request block sees by it when no call goes by an earlier directory.
pub const CALLS: usize = crate::map::PAGE as usize / 8 - 1;

/// A frame to send, in the request block: 8 bytes. The VM writes it at any time, so the window checks each word again
/// that it reads again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Packet {
    /// Offset of the frame's first byte in packet memory, in bytes.
    pub offset: u32,
    /// Length of the frame in bytes.
    pub len: u16,
    /// The receiver.
    pub peer: PeerIdx,
    /// Bit 0 [`HDR`]; bits 3:1 are 0; bits 7:4 the queue: an index into [`crate::directory::Peer::queues`].
    pub flags: u8,
}

/// Bit of [`Packet::flags`]: a [`crate::net::Hdr`] lies right before the frame and goes with it. Without the bit, the
/// frame goes with a [`crate::net::PLAIN_HDR`].
pub const HDR: u8 = 1 << 0;
/// Bits of [`Packet::flags`] that hold the queue's index.
const QUEUE: u8 = 0xf0;

impl Packet {
    /// Returns the frame of `len` bytes at `offset`, without a header, for queue 0 of `peer`.
    pub const fn new(offset: u32, len: u16, peer: PeerIdx) -> Self {
        Self { offset, len, peer, flags: 0 }
    }

    /// Returns the same frame with the header that lies before it.
    #[must_use]
    pub const fn with_hdr(self) -> Self {
        Self { flags: self.flags | HDR, ..self }
    }

    /// Returns whether a header lies before the frame and goes with it.
    #[inline(always)]
    pub const fn has_hdr(self) -> bool {
        self.flags & HDR != 0
    }

    /// Returns the same frame for queue `queue` modulo 16.
    #[must_use]
    pub const fn to_queue(self, queue: u8) -> Self {
        Self { flags: self.flags & !QUEUE | queue << 4, ..self }
    }

    /// Returns the index of the queue.
    pub const fn queue(self) -> u8 {
        self.flags >> 4
    }
}

const _: () = assert!(size_of::<Packet>() == 8 && offset_of!(Packet, len) == 4);
const _: () = assert!(offset_of!(Packet, peer) == 6 && offset_of!(Packet, flags) == 7);
const _: () = assert!(crate::directory::MAX_QUEUES <= 16);
const _: () = assert!(MAX_BURST * size_of::<Packet>() <= 8 * CALLS);

/// The packets of a call that were accepted: bit `i % 64` of word `i / 64` is packet `i`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Accepted(pub [u64; MAX_BURST / 64]);

impl Accepted {
    /// Marks the packets from `start` to before `end`; an index of [`MAX_BURST`] or more is ignored.
    #[inline(always)]
    pub fn insert_run(&mut self, start: usize, end: usize) {
        let mut at = start;
        while let Some(word) = self.0.get_mut(at / 64).filter(|_| at < end) {
            let bits = (64 - at % 64).min(end - at);
            *word |= u64::MAX >> (64 - bits) << (at % 64);
            at += bits;
        }
    }

    /// Returns whether packet `index` was accepted.
    #[inline(always)]
    pub fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Returns the position of packet `index` among the packets that were not accepted; `None` if it was accepted, or
    /// no burst has such a packet.
    pub fn place_of_refused(&self, index: usize) -> Option<usize> {
        let refused = index < MAX_BURST && !self.contains(index);
        refused.then(|| (0..index).filter(|&before| !self.contains(before)).count())
    }

    /// Returns the number of packets that were accepted.
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// The result of a transmit call: status in RAX, the four words of `accepted` in R8 to R11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The status of the call.
    pub status: Status,
    /// The packets that were delivered: accepted means published in the peer's used ring. The field is undefined with
    /// [`Status::OK`], which says that all packets were.
    pub accepted: Accepted,
}

impl Outcome {
    /// The outcome that every packet was accepted.
    pub const WHOLE: Self = Self { status: Status::OK, accepted: Accepted([0; _]) };

    /// Returns the outcome that no packet was accepted, with `status`.
    pub const fn nothing(status: Status) -> Self {
        Self { status, accepted: Accepted([0; _]) }
    }
}

/// Calls to the host by VMCALL: number in RAX, arguments in RDI, RSI and RDX, result ([`Status`]) in RAX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Hypercall {
    /// Ends the VM. RDI: exit code.
    Exit = 0,
    /// Writes text to the VM's console. RDI: GPA of the text, which lies within RAM, RSI: its length in bytes, at most
    /// one page.
    Console = 1,
    /// Gives the CPU to the next VM. The call returns when it is this VM's turn again.
    Yield = 2,
    /// Registers the calling vCPU for its gate. RDI: GPA of the request block (one page). The host takes CR3 as it is.
    /// A later call replaces both.
    Register = 3,
    /// Transmits packets by the gate [`crate::directory::GateKind::Hypercall`]. RDI: number of packets in the request
    /// block.
    Transmit = 4,
    /// Fills the [`ExitCounts`] at GPA RDI.
    ExitCounts = 5,
    /// Adds a [`crate::run::Run`] to this VM's packet memory. RDI: its GPA, RSI: its length in bytes, RDX: its offset.
    /// On return every VM that may send to this one takes buffers in the run. A refusal is [`Status::refused`].
    AddRun = 6,
    /// Removes a whole run. RDI: its offset, RSI: its length in bytes. On return no window, this VM's own or another
    /// VM's, reaches the run, and no call that began before is still in one. A refusal is [`Status::refused`], and
    /// changes nothing.
    RemoveRun = 7,
    /// Reserved: wakes a peer that sleeps until a frame is in its queue. RDI: the peer's index in the directory, RSI:
    /// index among that peer's queues, RDX: 0. No host has this call yet: the answer is [`Code::Unknown`].
    Doorbell = 8,
}

impl Hypercall {
    /// Returns the call with number `number`; `None` if there is none.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Exit),
            1 => Some(Self::Console),
            2 => Some(Self::Yield),
            3 => Some(Self::Register),
            4 => Some(Self::Transmit),
            5 => Some(Self::ExitCounts),
            6 => Some(Self::AddRun),
            7 => Some(Self::RemoveRun),
            8 => Some(Self::Doorbell),
            _ => None,
        }
    }
}

/// Exits of the calling VM so far, by basic exit reason, including the exit of the call that asks. The host writes
/// them. See: SDM volume 3, appendix C "VMX Basic Exit Reasons".
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExitCounts {
    /// One counter for each reason. The last counts all reasons of 79 and above.
    pub by_reason: [u64; 80],
}

impl Default for ExitCounts {
    fn default() -> Self {
        Self { by_reason: [0; 80] }
    }
}

impl ExitCounts {
    /// Returns the number of exits of all reasons.
    pub fn total(&self) -> u64 {
        self.by_reason.iter().sum()
    }
}

/// CPUID leaf whose EBX, ECX and EDX spell "SluiceSluice" where a Sluice host is present, and whose EAX is the largest
/// leaf. The next leaf gives in EAX the version of the directory, in EBX the VM's id, and in ECX
/// [`crate::lapic::CPUID_TIMER`] and [`crate::lapic::CPUID_LINE`].
pub const CPUID_BASE: u32 = 0x4000_0000;
/// The signature in EBX, ECX and EDX of leaf [`CPUID_BASE`].
pub const CPUID_SIGNATURE: [u32; 3] =
    [u32::from_le_bytes(*b"Slui"), u32::from_le_bytes(*b"ceSl"), u32::from_le_bytes(*b"uice")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_has_a_place_among_its_like() {
        let mut accepted = Accepted::default();
        [1, 2, 64, 255].into_iter().for_each(|index| accepted.insert_run(index, index + 1));
        let place = |index| accepted.place_of_refused(index);
        assert_eq!(
            [0, 1, 2, 3, 63, 64, 65, 254, 255, 256, usize::MAX].map(place),
            [Some(0), None, None, Some(1), Some(61), None, Some(62), Some(251), None, None, None]
        );
    }

    #[test]
    fn a_word_that_nobody_wrote_is_no_success() {
        let codes: [Code; 11] = core::array::from_fn(|number| Status(number as u64).code());
        assert_eq!((codes[0], codes[10]), (Code::Unknown, Code::Unknown));
        assert_eq!(codes.iter().filter(|&&code| code == Code::Ok).count(), 1);
        assert_eq!((1..=9).map(|number| codes[number] as usize).sum::<usize>(), (1..=9).sum());
        assert_eq!(Status::OK.code(), Code::Ok);
    }

    #[test]
    fn a_status_names_a_packet_or_none() {
        let fault = Status::peer_fault(Clause::Region, PeerIdx(63));
        assert_eq!((fault.packet(), Status::new(Code::BadRequest).packet(), Status::OK.packet()), (None, None, None));
        for index in [0, 1, MAX_BURST as u16 - 1, u16::MAX] {
            let named = fault.naming(31).naming(index);
            assert_eq!(named.packet(), Some(index));
            assert_eq!(
                (named.code(), named.clause(), named.peer()),
                (Code::PeerFault, Some(Clause::Region), PeerIdx(63))
            );
        }
    }

    #[test]
    fn the_word_behind_the_offset_is_length_peer_and_flags() {
        let packet = Packet::new(7, 0x1234, PeerIdx(63)).with_hdr().to_queue(9);
        let words: [u32; 2] = zerocopy::transmute!(packet);
        assert_eq!(words, [7, 0x913f_1234]);
        assert_eq!((packet.queue(), packet.to_queue(18).flags), (9, 0x21));
    }

    #[test]
    fn a_run_marks_its_packets_and_no_others() {
        // Miri would take minutes for all of them.
        let step = if cfg!(miri) { 61 } else { 1 };
        for start in (0..=MAX_BURST).step_by(step) {
            for end in (start..=MAX_BURST).step_by(step) {
                let mut accepted = Accepted::default();
                accepted.insert_run(start, end);
                assert!((0..MAX_BURST).all(|index| accepted.contains(index) == (start..end).contains(&index)));
                assert_eq!(accepted.count(), end - start);
            }
        }
    }
}
