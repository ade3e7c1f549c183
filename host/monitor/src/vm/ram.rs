//! A VM's RAM, as the monitor sees it. Every access is bounded, since the addresses come from the guest.

use crate::platform::physical::{self, OutOfFrames};
use sluice_abi::{Gpa, Hpa};
use sluice_memory::{OutOfRegion, PeerSlice, SharedMemory};

/// Guest-physical addresses 0 to `len`, one run of host memory. The guest and its peers write it at any time.
#[derive(Clone, Copy, Debug)]
pub struct Ram {
    /// Host-physical address of the first byte, 2 MiB aligned.
    pub hpa: Hpa,
    /// Length in bytes, a multiple of 2 MiB.
    pub len: u64,
}

impl Ram {
    /// Returns RAM for a VM, `len` zeroed bytes.
    pub fn alloc(len: u64) -> Result<Self, OutOfFrames> {
        physical::alloc_contiguous(len, 2 << 20).map(|hpa| Self { hpa, len })
    }

    /// Returns all of the RAM; `None` if it is not of frames that were given out.
    pub fn all(&self) -> Option<PeerSlice<'static>> {
        physical::slice(self.hpa, self.len)
    }

    /// Returns the host-physical address of the `len` bytes at `at`; `None` if they are not all in RAM.
    pub fn host(&self, at: Gpa, len: u64) -> Option<Hpa> {
        let end = at.0.checked_add(len)?;
        (end <= self.len).then_some(Hpa(self.hpa.0 + at.0))
    }
}

impl SharedMemory for Ram {
    fn slice(&self, at: Gpa, len: u64) -> Result<PeerSlice<'_>, OutOfRegion> {
        self.all().ok_or(OutOfRegion { at, len })?.sub(at.0, len)
    }
}
