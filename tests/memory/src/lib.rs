//! Memory for tests, which is shared and never freed: plain ([`zeroed`]), with poison ([`Memory`]) or guards
//! ([`guarded`]) around it, behind a file ([`shared`]), or addresses alone ([`reserved`]).

mod mapped;
mod poisoned;

pub use mapped::{guarded, map, reserved, shared};
pub use poisoned::Memory;
use sluice_memory::PeerSlice;

/// Alignment of memory in bytes: a page.
const ALIGN: u64 = 4096;

/// Returns `len` bytes of 0, which start at a page.
pub fn zeroed(len: u64) -> PeerSlice<'static> {
    let all = PeerSlice::from_mut(vec![0u8; (len + ALIGN) as usize].leak());
    let address = all.as_ptr().addr() as u64;
    all.sub(address.next_multiple_of(ALIGN) - address, len).expect("less than a page from the start")
}

/// Returns the `len` bytes of `memory` at `offset`.
#[track_caller]
pub fn read(memory: PeerSlice<'_>, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    memory.copy_to_slice(offset, &mut bytes).expect("bytes inside the memory");
    bytes
}

/// Runs of bytes in one range, with other bytes before and after each.
#[derive(Clone)]
pub struct Runs {
    all: PeerSlice<'static>,
    /// Where in `all` each run starts, and its length, in bytes.
    extents: Vec<(u64, u64)>,
}

impl Runs {
    /// Returns the run of number `index`.
    pub fn run(&self, index: usize) -> PeerSlice<'static> {
        let (offset, len) = self.extents[index];
        self.all.sub(offset, len).expect("inside")
    }

    /// Returns the whole range.
    pub const fn all(&self) -> PeerSlice<'static> {
        self.all
    }

    /// Returns where in [`Runs::all`] the run of number `index` starts, and its length, in bytes.
    pub fn extent(&self, index: usize) -> (u64, u64) {
        self.extents[index]
    }
}
