//! Packet memory: a space of offsets, backed by *runs* of a VM's RAM.
//!
//! The space has [`crate::map::PACKETS_LEN`] bytes; a [`crate::call::Packet`] names a byte of it by a 32-bit offset. A
//! VM adds and removes runs at any time ([`crate::call::Hypercall::AddRun`], [`crate::call::Hypercall::RemoveRun`]); no
//! two of them share a byte of RAM or an offset. Windows of other VMs map the runs and the rings of a VM, and nothing
//! else of its RAM: its receive buffers have to lie in runs, too.
//!
//! The runs that follow one another from offset 0 are the *extent*: a call checks a packet there once. All other runs
//! are looked up one by one.

use crate::Gpa;
use core::fmt;

/// Alignment of addresses, lengths and offsets of runs in bytes: a large page.
pub const RUN_ALIGN: u64 = 2 << 20;
/// Largest number of runs of one VM. All runs and the areas of a few queues have room among the regions of a peer.
pub const MAX_RUNS: usize = 16;

const _: () = assert!(crate::map::PACKETS.is_multiple_of(RUN_ALIGN) && crate::map::PACKETS_LEN <= 1 << 32);

/// A run of packet memory. All three numbers are multiples of [`RUN_ALIGN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Address of the first byte in the VM's guest-physical space.
    pub gpa: Gpa,
    /// Length in bytes.
    pub len: u64,
    /// Offset of the first byte in packet memory.
    pub offset: u64,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} bytes at GPA {}, offset {:#x}", self.len, self.gpa, self.offset)
    }
}

/// Reasons of a host to refuse a run: bits 15:8 of a [`crate::call::Status`] with [`crate::call::Code::BadRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RunRefusal {
    /// The run has no bytes, or GPA, length or offset is no multiple of [`RUN_ALIGN`].
    Unaligned = 1,
    /// The run is not within the VM's RAM.
    OutsideRam = 2,
    /// The run ends behind [`crate::map::PACKETS_LEN`].
    OutsideSpace = 3,
    /// The run shares RAM or offsets with another one.
    Overlap = 4,
    /// There are [`MAX_RUNS`] already.
    TooMany = 5,
    /// No run of this length starts at this offset. A part of a run can't be removed.
    NoSuchRun = 6,
}

impl RunRefusal {
    /// Returns the refusal with number `number`; `None` if there is none.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Unaligned),
            2 => Some(Self::OutsideRam),
            3 => Some(Self::OutsideSpace),
            4 => Some(Self::Overlap),
            5 => Some(Self::TooMany),
            6 => Some(Self::NoSuchRun),
            _ => None,
        }
    }
}

impl fmt::Display for RunRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unaligned => "GPA, length and offset of a run must be multiples of 2 MiB, and the length not 0",
            Self::OutsideRam => "the run is not within RAM",
            Self::OutsideSpace => "the run ends behind the 1 GiB of packet memory",
            Self::Overlap => "the run shares RAM or offsets with another run",
            Self::TooMany => "there are 16 runs already",
            Self::NoSuchRun => "no run of this length starts at this offset",
        })
    }
}

const _: () = assert!(MAX_RUNS + 3 * 5 <= crate::directory::MAX_REGIONS, "runs, and the areas of five queues");
const _: () = assert!(MAX_RUNS == 16 && crate::map::PACKETS_LEN == 1 << 30, "the texts above say so");
