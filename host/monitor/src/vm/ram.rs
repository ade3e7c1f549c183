//! A VM's RAM, as the monitor sees it: every access bounded, since the addresses come from the guest.
#![allow(unsafe_code, reason = "turns the frames of a VM into checked slices, once")]

use sluice_abi::{Gpa, Hpa};
use sluice_memory::{OutOfRegion, PeerSlice, SharedMemory};

/// Guest-physical 0 to `len`, one run of host memory. The guest and its peers write it at any time.
#[derive(Clone, Copy, Debug)]
pub struct Ram {
    /// Where it starts in host memory, 2 MiB aligned.
    pub hpa: Hpa,
    /// Bytes, a multiple of 2 MiB.
    pub len: u64,
}

impl Ram {
    /// All of it.
    pub fn all(&self) -> PeerSlice<'static> {
        // SAFETY: the frames came from the allocator for this VM alone, are never freed, are identity-mapped, and the
        // monitor makes no reference into them.
        unsafe { PeerSlice::from_raw(self.hpa.0 as *mut u8, self.len) }
    }

    /// Host address of the `len` bytes at `at`.
    pub fn host(&self, at: Gpa, len: u64) -> Option<Hpa> {
        self.slice(at, len).ok().map(|slice| Hpa(slice.as_ptr() as u64))
    }
}

impl SharedMemory for Ram {
    fn slice(&self, at: Gpa, len: u64) -> Result<PeerSlice<'_>, OutOfRegion> {
        self.all().sub(at.0, len)
    }
}
