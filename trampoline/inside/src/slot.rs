//! What a host vouches for: the sluice slot, in which a window finds its peers' memory, and the place of a window's own
//! state.
#![allow(unsafe_code, reason = "turns addresses that a host laid out into checked memory")]

use crate::Window;
use crate::peer_window::PeerWindow;
use crate::phase::Phase;
use crate::runs::Runs;
use sluice_abi::call::Accepted;
use sluice_abi::directory::MAX_PEERS;
use sluice_abi::map;
use sluice_memory::PeerSlice;

/// The sluice slot of a window, where the host maps the peers' memory. See: [`sluice_abi::map`].
#[derive(Clone, Copy, Debug)]
pub struct Slot(*mut u8);

impl Slot {
    /// Returns the slot whose first byte is at `base`.
    ///
    /// # Safety
    /// Wherever a window uses a peer that was attached with this slot, the regions that the peer's entry lists are
    /// mapped at `base` + their slot offsets, readable and writable, or an access to them ends the program. No Rust
    /// reference leads into them.
    pub const unsafe fn at(base: *mut u8) -> Self {
        Self(base)
    }

    /// Returns `len` bytes at slot offset `offset`, or `None` if the slot ends before.
    pub(crate) fn memory(self, offset: u64, len: u64) -> Option<PeerSlice<'static>> {
        offset.checked_add(len).filter(|&end| end <= map::SLOT_LEN)?;
        // SAFETY: the range is inside the slot, and mapped there by the contract of `at`.
        Some(unsafe { PeerSlice::from_raw(self.0.wrapping_add(offset as usize), len) })
    }
}

impl Window {
    /// Makes a window as [`Window::new`] does, but in place: a stack may not have room for one.
    ///
    /// # Safety
    /// `state` has room for a window ([`map::STATE_LEN`] bytes do), aligned to 8 bytes, and whoever uses the result is
    /// the only one who does while it lives.
    pub unsafe fn init<'s>(state: *mut Self) -> &'s mut Self {
        // SAFETY: the contract above; each field is written, so what is referred to is a valid window.
        unsafe {
            (&raw mut (*state).accepted).write(Accepted([0; _]));
            (&raw mut (*state).caller_rsp).write(0);
            (&raw mut (*state).calls).write(0);
            (&raw mut (*state).phase).write(Phase::new());
            (&raw mut (*state).count).write(0);
            (&raw mut (*state).first).write(0);
            (&raw mut (*state).touched).write(0);
            (&raw mut (*state).packets).write(Runs::new());
            let peers = (&raw mut (*state).peers).cast::<Option<PeerWindow>>();
            (0..MAX_PEERS).for_each(|index| peers.add(index).write(None));
            &mut *state
        }
    }
}
