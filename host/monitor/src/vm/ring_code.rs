//! The memory that the monitor lends to the ring code of `trampoline/inside`, which it runs for the gate `Hypercall`,
//! for the recovery of calls, and for the switch.
#![allow(unsafe_code, reason = "says which memory the ring code may use, and when")]

use super::ram::Ram;
use crate::platform::physical::OutOfFrames;
use alloc::boxed::Box;
use alloc::vec::Vec;
use sluice_abi::call::{Clause, Outcome};
use sluice_abi::directory::Peer;
use sluice_abi::{Hpa, PeerIdx, map};
use sluice_control::{Manifest, Switch};
use sluice_inside::{Slot, Window};
use sluice_memory::{PeerSlice, Words};

/// Pages of the heap that one VM's window view maps at [`map::STATE`].
#[repr(C, align(4096))]
struct StatePages([u8; map::STATE_LEN as usize]);

/// One VM's window state. Only the window's code and the monitor write it.
pub struct OwnWindow(Hpa);

impl OwnWindow {
    /// Returns state with no peer and no packet memory.
    pub fn new() -> Self {
        let pages = Box::leak(Box::<StatePages>::new_zeroed()).as_mut_ptr();
        // SAFETY: the pages are allocated for ever, large enough for a window (asserted in sluice-inside) and aligned.
        unsafe { Window::init(pages.cast()) };
        Self(Hpa(pages as u64))
    }

    /// Returns the host-physical address of the state: the heap is mapped one to one.
    pub const fn hpa(&self) -> Hpa {
        self.0
    }

    /// Returns the state, while the VM does not execute.
    pub fn get(&mut self) -> &mut Window {
        // SAFETY: `new` wrote a valid state. The vCPU, the only other writer, has exited to this processor, as the VM's
        // lock is held; &mut self makes the reference unique in the monitor.
        unsafe { &mut *(self.0.0 as *mut Window) }
    }

    /// Makes `peer` reachable at `index`. The view that shows peers and the monitor's own page tables map the peer's
    /// regions before anybody touches them.
    pub fn attach_peer(&mut self, index: PeerIdx, peer: &Peer) -> Result<(), Clause> {
        // SAFETY: the base is that of the slot, in the window view and here. Slot offsets of a peer never change, no
        // reference leads into the slot, and an access to a page that is not mapped is an exception, which ends the
        // call or the monitor.
        let slot = unsafe { Slot::at(map::SLOT_VA as *mut u8) };
        self.get().attach_peer(index, peer, slot)
    }

    /// Transmits `count` packets of the request block, as the window does.
    pub fn transmit(&mut self, count: u64) -> Outcome {
        sluice_inside::transmit(self.get(), slot(map::REQUEST, map::PAGE), count, Words)
    }

    /// Tells the ring code that packet memory is made of `extents`: offset and length of each.
    pub fn set_runs(&mut self, extents: impl IntoIterator<Item = (u64, u64)>) {
        let runs = extents.into_iter().map(|(offset, len)| (offset as u32, slot(map::PACKETS + offset, len)));
        self.get().set_runs(runs);
    }
}

/// Returns `len` bytes at slot offset `offset`, as the window sees them, and the monitor while it serves the VM
/// ([`crate::platform::paging::HostSpace`]).
fn slot(offset: u64, len: u64) -> PeerSlice<'static> {
    let (offset, len) = (offset.min(map::SLOT_LEN), len.min(map::SLOT_LEN - offset.min(map::SLOT_LEN)));
    // SAFETY: the slot is shared memory without references, of the VM that is served; an access to a page that is not
    // mapped is an exception, which ends the monitor.
    unsafe { PeerSlice::from_raw((map::SLOT_VA + offset) as *mut u8, len) }
}

/// The switch, which all processors use in turn.
pub struct SharedSwitch(Switch);

// SAFETY: the switch points to VMs' RAM and to room of its own, all of which `new` takes from frames: they are mapped
// at the same addresses on every processor and never unmapped.
unsafe impl Send for SharedSwitch {}

impl SharedSwitch {
    /// Returns the switch for the VMs of `manifest`, whose RAM is `rams`.
    pub fn new(manifest: &Manifest, rams: &[Ram]) -> Result<Self, OutOfFrames> {
        let rams: Option<Vec<_>> = rams.iter().map(Ram::all).collect();
        let room = Ram::alloc(Switch::ROOM_LEN)?.all();
        let (rams, room) = rams.zip(room).ok_or(OutOfFrames)?;
        Switch::new(manifest, &rams, room).map(Self).ok_or(OutOfFrames)
    }

    /// Returns the switch.
    pub const fn get(&mut self) -> &mut Switch {
        &mut self.0
    }
}
