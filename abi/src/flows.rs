//! The flow memory of a VM with an in-VM switch, and the header of frames on its slow path.
//!
//! | memory | where in the slot | who writes | what |
//! |---|---|---|---|
//! | table | [`crate::map::FLOWS`] | the host; the VM reads | a [`Header`], and from [`TABLE`] on the flow table |
//! | records | [`crate::map::FLOW_RECORDS`] | the VM; the host reads | reports, and statistics from [`RECORDS`] on |
//!
//! Both begin at multiples of 2 MiB and are whole multiples of 2 MiB long. A VM has them if its directory says
//! [`crate::directory::HostF::FLOWS`]. The layouts of table and records are those of the crate `sluice-switch`.
//!
//! # The slow path
//! A frame for which the table has no entry goes to the host on a queue pair of its own, [`Header::slow_pair`], behind
//! a [`SlowHeader`]. The host answers on the receive queue of the same pair: it returns the frame with the ports that
//! it goes to, or asks to look it up again, or drops it; and it says up to which frame all that is decided. What it
//! returns for a frame comes before it says so. Numbers are little-endian.

use crate::directory::MAX_PEERS;
use crate::map::PAGE;
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First word of a [`Header`]: "SluiceFl".
pub const MAGIC: u64 = u64::from_le_bytes(*b"SluiceFl");
/// Version of these layouts. A VM refuses any other.
pub const VERSION: u32 = 1;
/// Offset of the flow table behind the start of the table's memory, in bytes.
pub const TABLE: u64 = PAGE;
/// Offset of the statistics behind the start of the records, in bytes. Before them are a cache line for the report word
/// and [`COUNTERS_LEN`] words of counters from [`COUNTERS`] on.
pub const RECORDS: u64 = PAGE;
/// Offset of the counters behind the start of the records, in bytes.
pub const COUNTERS: u64 = 64;
/// Largest number of counters.
pub const COUNTERS_LEN: usize = 32;
/// Largest number of queue pairs of which [`Header::ports`] tells the port.
pub const MAX_PAIRS: usize = 64;
/// Number of ports of a switch. Port *n* below [`MAX_PEERS`] is the peer with index *n*; those above are for VMs that
/// send to the switch and are no peers of it.
pub const PORTS: u16 = 2 * MAX_PEERS as u16;

/// The start of the table's memory. The host writes it before the VM starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`]
    pub magic: u64,
    /// [`VERSION`]
    pub version: u32,
    /// Number of the queue pair that is the slow path.
    pub slow_pair: u16,
    /// Reserved, 0.
    pub reserved: u16,
    /// Number of entries of the table.
    pub entries: u32,
    /// Number of lists of actions of the table.
    pub lists: u32,
    /// Length of the table's memory in bytes.
    pub table_len: u64,
    /// Length of the records in bytes.
    pub records_len: u64,
    /// What keys the hash of the table.
    pub seed: [u64; 2],
    /// Time after which one frame of a flow in use goes by the slow path, in ticks of the clock of the lease; 0: never.
    pub refresh: u64,
    /// The port that frames of each queue pair came in by.
    pub ports: [u16; MAX_PAIRS],
}

const _: () = assert!(size_of::<Header>() == 64 + 2 * MAX_PAIRS && size_of::<Header>() as u64 <= TABLE);
const _: () = assert!(COUNTERS + 8 * COUNTERS_LEN as u64 <= RECORDS);

impl Default for Header {
    /// Returns the header of no table.
    fn default() -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            slow_pair: 0,
            reserved: 0,
            entries: 0,
            lists: 0,
            table_len: 0,
            records_len: 0,
            seed: [0; 2],
            refresh: 0,
            ports: [0; MAX_PAIRS],
        }
    }
}

/// The header in front of a frame on the slow path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SlowHeader {
    /// Number of the [`SlowKind`].
    pub kind: u32,
    /// The port that the frame came in by.
    pub port: u32,
    /// As the kind says.
    pub number: u64,
}

/// Length of a [`SlowHeader`] in bytes.
pub const SLOW_HEADER: u16 = size_of::<SlowHeader>() as u16;
const _: () = assert!(SLOW_HEADER == 16);

/// What a frame on the slow path is. Numbers are those of [`SlowHeader::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SlowKind {
    /// To the host: a frame without an entry. The number is larger than those of all frames that were sent before.
    Missed = 1,
    /// To the VM: the frame goes to the ports below [`MAX_PEERS`] whose bits the number has.
    Output = 2,
    /// To the VM: the frame is to be looked up again. The table has an entry for it by now.
    Again = 3,
    /// To the VM, without a frame: all frames up to this number are decided, and what they became was returned before.
    Done = 4,
}

impl SlowKind {
    /// Returns the kind with number `word`; `None` if there is none.
    pub const fn from_word(word: u32) -> Option<Self> {
        match word {
            1 => Some(Self::Missed),
            2 => Some(Self::Output),
            3 => Some(Self::Again),
            4 => Some(Self::Done),
            _ => None,
        }
    }
}
