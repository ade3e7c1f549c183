//! Bytes that somebody else can write while we read them: a peer's RAM, a VM's packet memory, a driver's rings.
//!
//! It stands on `sluice-abi` alone, and both sides of a ring stand on it: `sluice-inside`, the device's, and
//! `sluice-driver`. Alone it serves any program that shares memory with somebody whom it does not trust.
//!
//! ```
//! use sluice_memory::{OutOfRegion, PeerSlice};
//!
//! let mut words = [0u64; 8];
//! let shared = PeerSlice::from_mut(&mut words);
//! shared.write(6, 0x0800_u16)?;
//! assert_eq!(shared.read::<u16>(6)?, 0x0800);
//!
//! // What the other side says of the memory is a claim. It is checked once, and nothing that comes of it leaves the
//! // memory.
//! let (claimed_offset, claimed_len) = (32, 40);
//! assert!(shared.sub(claimed_offset, claimed_len).is_err());
//! let frame = shared.sub(claimed_offset, 32)?;
//! let mut copy = [0; 32];
//! frame.copy_to_slice(0, &mut copy)?;
//!
//! // A table is indexed by numbers that the other side wrote, too.
//! let table = shared.table::<u32>(0, 16).expect("aligned, and within the memory");
//! assert_eq!((table.get(15), table.get(16)), (Some(0), None));
//! # Ok::<(), OutOfRegion>(())
//! ```
//!
//! Start with [`PeerSlice`]. [`SharedMemory::slice`] is the one bound check; it turns a claim (an address and a length
//! that a peer wrote) into a [`PeerSlice`], and everything after that is safe by construction: a [`Ring`] is indexed
//! through a mask, a [`Table`] checks its index, a copy checks its length once.
//!
//! # Why not references
//! `&[u8]` promises that the bytes do not change, and the compiler uses the promise: it may read a length twice, once
//! to check and once to use (CVE-2020-14375 was such a pair). Here each access is one volatile or atomic access that
//! returns a value.
//!
//! Nor the pointers of the crate `volatile`: they are typed and aligned, where frames are neither, and every access
//! would check its bounds anew. What is checked once for a burst is a [`Transfer`] and its [`Steps`].
#![no_std]
#![cfg_attr(miri, allow(unused_imports, unused_macros, reason = "the assembly that needs them is not interpreted"))]

/// Chooses `$assembly` where an x86-64 processor executes it, and `$rust` for Miri and other processors, which predict
/// nothing.
macro_rules! assembly {
    ({ $($assembly:tt)* } else { $($rust:tt)* }) => {{
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            $($assembly)*
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        {
            $($rust)*
        }
    }};
}

pub mod speculation;

mod cache_line;
mod lanes;
mod notify;
mod packed;
mod ring;
mod shared_words;
mod slice;
mod steps;
mod transfer;
mod word;

pub use cache_line::CacheLine;
pub use lanes::{Avx, LINE, Lanes, SHORT, Words};
pub use notify::{PackedEvents, SharedWord, SplitEvents};
pub use ring::{Buffer, Cell16, Ring, Table};
pub use shared_words::SharedWords;
pub use slice::{PeerSlice, Plain};
use sluice_abi::Gpa;
pub use steps::{Entries, Heads, InOrder, Rings, Slots, Step, Steps};
pub use transfer::{Bias, Excess, FrameSource, Headed, Transfer, Upcoming};

/// Memory that a descriptor can point into.
pub trait SharedMemory {
    /// Returns the `len` bytes at `at`, if all of them are one run of this memory.
    fn slice(&self, at: Gpa, len: u64) -> Result<PeerSlice<'_>, OutOfRegion>;
}

/// A range that is not within the memory it was said to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRegion {
    /// First address of the range.
    pub at: Gpa,
    /// Length of the range in bytes.
    pub len: u64,
}
