//! The host's side of a window: where its state lies, and where its peers' memory is mapped. The host vouches for both.
#![allow(unsafe_code, reason = "turns addresses that a host laid out into checked memory")]

use crate::Regions;
use crate::peer_window::{Known, PeerWindow, Shared};
use crate::phase::Phase;
use crate::queue_lock::LockPage;
use crate::runs::Runs;
use crate::window::Window;
use sluice_abi::call::{Accepted, Clause};
use sluice_abi::directory::{self, MAX_PEERS, Peer};
use sluice_abi::{PeerIdx, map};
use sluice_memory::PeerSlice;

/// The sluice slot of a window, where the host maps the peers' memory. See: [`sluice_abi::map`].
#[derive(Clone, Copy, Debug)]
pub struct Slot(PeerSlice<'static>);

impl Slot {
    /// Returns the slot that is all of `memory`: a peer whose regions do not lie in it is refused.
    pub const fn of(memory: PeerSlice<'static>) -> Self {
        Self(memory)
    }

    /// Returns the slot of [`map::SLOT_LEN`] bytes whose first byte is at `base`.
    ///
    /// # Safety
    /// Wherever a window uses a peer that was attached with this slot, the regions that the peer's entry lists are
    /// mapped at `base` + their slot offsets, readable and writable, or an access to them ends the program. So is the
    /// page at [`map::PEER_LOCK`] of a peer whose queue has an owner number. No Rust reference leads into them.
    pub const unsafe fn at(base: *mut u8) -> Self {
        // SAFETY: what is used of the slot is mapped there, by the contract above.
        Self(unsafe { PeerSlice::from_raw(base, map::SLOT_LEN) })
    }

    /// Returns the regions of `peer`, which are mapped in this slot.
    fn regions(self, peer: &Peer) -> Result<Regions, Clause> {
        let listed = peer.regions.get(..peer.region_count as usize).ok_or(Clause::Layout)?;
        let reach = |index| if index == 0 { map::SPECULATION_REACH } else { 0 };
        if !listed.iter().enumerate().all(|(index, region)| speculation_stays(region, reach(index))) {
            return Err(Clause::Layout);
        }
        Regions::collect(listed.iter().map(|region| {
            let memory = self.0.sub(region.slot_offset, region.len).map_err(|_| Clause::Layout)?;
            Ok((region.gpa, memory))
        }))
    }

    /// Returns the lock of the queue of the peer at `index`, which is mapped in this slot.
    fn lock(self, index: PeerIdx) -> Result<LockPage<'static>, Clause> {
        let page = self.0.sub(map::peer_base(index) + map::PEER_LOCK, map::PAGE).ok();
        page.and_then(LockPage::new).ok_or(Clause::Layout)
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
            let left = (&raw mut (*state).left).cast::<Option<Known>>();
            (0..MAX_PEERS).for_each(|index| {
                peers.add(index).write(None);
                left.add(index).write(None);
            });
            &mut *state
        }
    }

    /// Makes `peer` reachable at `index`, from its queue's start. A queue that is attached there already, or was last,
    /// goes on where it is, whatever else of the entry is new, and stays in quarantine if the peer broke a rule. On an
    /// error the window is as it was. The peer's memory is not touched yet.
    pub fn attach_peer(&mut self, index: PeerIdx, peer: &Peer, slot: Slot) -> Result<(), Clause> {
        let extent = self.packets.extent();
        let place = self.peers.get_mut(index.get()).ok_or(Clause::Layout)?;
        let entry = peer.queues.first().filter(|_| peer.queue_count > 0).copied();
        let shared = entry.filter(|entry| entry.owner != 0);
        let shared = shared.map(|entry| Shared::new(&entry, slot.lock(index)?)).transpose()?;
        let known = place.as_ref().map(PeerWindow::known).or(self.left.get(index.get()).copied().flatten());
        let known = known.filter(|known| Some(known.entry) == entry);
        let regions = slot.regions(peer)?;
        let mut attached = PeerWindow::new(peer, entry.ok_or(Clause::Layout)?, regions, known)?;
        attached.shared = shared;
        attached.retarget(extent);
        *place = Some(attached);
        Ok(())
    }
}

/// Returns whether what speculation reaches from `region` is this peer's: `reach` bytes from its start, and a
/// descriptor's index behind its end. (The address of a buffer is speculated on from the start of the first region
/// alone.)
fn speculation_stays(region: &directory::Region, reach: u64) -> bool {
    let reach = reach.max(region.len.saturating_add(map::INDEX_REACH));
    (region.slot_offset % map::PEER_STRIDE).saturating_add(reach) <= map::PEER_STRIDE
}
