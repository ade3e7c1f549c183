//! What the sides of a queue may do, as the fuzzer chooses it.

use super::{BUFFERS, GPA, RAM, SECOND, TABLES};
use arbitrary::Arbitrary;
use sluice_abi::Gpa;

/// A step of one of the sides.
#[derive(Arbitrary, Clone, Debug)]
pub enum Step {
    /// The driver writes a descriptor, a word, an entry, an index.
    Desc {
        index: u8,
        addr: Addr,
        len: Len,
        flags: u16,
        next: u16,
    },
    Word {
        at: u16,
        value: u32,
    },
    Avail {
        index: u8,
        head: u16,
    },
    Idx {
        ahead: i8,
    },
    Events {
        at: u8,
        value: u16,
    },
    /// The driver makes a chain available, as it should, with pieces that may be wrong.
    Offer {
        pieces: [(Addr, Len); 3],
        count: u8,
        writable: bool,
        indirect: bool,
    },
    /// The device acts.
    Enqueue {
        len: Len,
        hdr: [u8; 12],
    },
    Plain {
        len: Len,
    },
    Dequeue {
        room: Len,
    },
    Publish,
    Rewind,
    Notify {
        ask: bool,
    },
    Resume,
    Log {
        on: bool,
    },
    /// The sender calls through a window on the same memory.
    Transmit {
        packets: [(u32, u16, u8); 4],
        count: u8,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Addr {
    Buffer(u16),
    End(u8),
    Table(u8),
    Any(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Len {
    Short(u8),
    Long(u16),
    Usual,
    Any(u32),
}

impl Addr {
    pub fn get(self) -> Gpa {
        Gpa(match self {
            Self::Buffer(at) => GPA + BUFFERS + u64::from(at) % 0x4e00,
            Self::End(before) => GPA + (RAM + SECOND) as u64 - u64::from(before),
            Self::Table(index) => GPA + TABLES + 16 * u64::from(index % 32),
            Self::Any(at) => at,
        })
    }
}

impl Len {
    pub fn get(self) -> u32 {
        match self {
            Self::Short(len) => len.into(),
            Self::Long(len) => len.into(),
            Self::Usual => 1526,
            Self::Any(len) => len,
        }
    }
}
