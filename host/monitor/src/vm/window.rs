//! A VM's window state, as the monitor handles it: attaching and detaching peers, recovery, the gate `Hypercall`.
//!
//! The state holds addresses in the sluice slot. The monitor has the same slot at the same addresses, per VM, while it serves
//! that VM ([`crate::platform::paging::HostSpace`]), so the code of `trampoline/inside` runs here as it does in the window.
#![allow(unsafe_code, reason = "hands the monitor's view of the sluice slot to the ring code")]

use super::mailbox::Reach;
use super::view::PeerMemory;
use super::{Vm, mailbox, shared};
use crate::platform::frames::{self, OutOfFrames};
use sluice_abi::call::{Accepted, Clause, Outcome};
use sluice_abi::directory::{GateKind, Peer, PeerState, Region, word};
use sluice_abi::run::Run;
use sluice_abi::{Gpa, Hpa, PeerIdx, map};
use sluice_control::{Directory, publish, regions};
use sluice_inside::Window;
use sluice_memory::{PeerSlice, Words};

/// The frames of one VM's window state. Only the window's code and this file write them.
pub struct OwnWindow(Hpa);

impl OwnWindow {
    /// State with no peer and no packet memory.
    pub fn alloc() -> Result<Self, OutOfFrames> {
        let hpa = frames::alloc_contiguous(map::STATE_LEN, map::PAGE)?;
        // SAFETY: just allocated, identity-mapped, large enough (asserted in sluice-inside), aligned.
        unsafe { Window::init(hpa.0 as *mut Window) };
        Ok(Self(hpa))
    }

    /// Where the state is.
    pub fn hpa(&self) -> Hpa {
        self.0
    }

    fn get(&mut self) -> &mut Window {
        // SAFETY: alloc wrote a valid state; the vCPU, the only other writer, has exited to this processor; &mut self makes
        // the reference unique in the monitor.
        unsafe { &mut *(self.0.0 as *mut Window) }
    }
}

/// The slot as the window sees it, and the monitor while it serves this VM.
fn slot(offset: u64, len: u64) -> PeerSlice<'static> {
    // SAFETY: HostSpace maps these ranges for the VM that is being served; they are shared memory without references.
    unsafe { PeerSlice::from_raw((map::SLOT_VA + offset) as *mut u8, len) }
}

impl Vm {
    /// Calls that the window has begun.
    pub(super) fn window_calls(&mut self) -> u64 {
        self.window.get().calls()
    }

    /// RSP of the call that is in the window.
    pub(super) fn caller_rsp(&mut self) -> u64 {
        self.window.get().caller_rsp()
    }

    /// Ends an interrupted call: whole, or not at all.
    pub(super) fn recover(&mut self) -> Accepted {
        self.window.get().recover()
    }

    /// The gate `Hypercall`.
    pub(super) fn transmit(&mut self, count: u64) -> Outcome {
        sluice_inside::transmit(self.window.get(), slot(map::REQUEST, map::PAGE), count, Words)
    }

    /// Makes the request block reachable for the ring code, here too.
    pub(super) fn show_request_to_host(&mut self, request: Hpa) -> Result<(), OutOfFrames> {
        self.host.map(map::REQUEST, request, map::PAGE)?;
        self.host.load();
        Ok(())
    }

    /// Makes `run`, which is within RAM, reachable for the ring code, in the window and here.
    pub(super) fn show_run(&mut self, run: Run) -> Result<(), OutOfFrames> {
        let hpa = Hpa(self.ram.hpa.0 + run.gpa.0);
        if let Some(isolated) = self.views.isolated() {
            isolated.show_run(run.offset, hpa, run.len)?;
        }
        self.host.map(map::PACKETS + run.offset, hpa, run.len)?;
        self.host.load();
        self.take_runs();
        Ok(())
    }

    /// Takes `len` bytes of packet memory from `offset` on out of its reach; the VM has removed them.
    pub(super) fn hide_run(&mut self, offset: u64, len: u64) -> Result<(), OutOfFrames> {
        self.take_runs();
        if let Some(isolated) = self.views.isolated() {
            isolated.hide_run(offset, len)?;
        }
        self.host.unmap(map::PACKETS + offset, len)?;
        self.host.load();
        Ok(())
    }

    /// Tells the ring code which packet memory there is.
    fn take_runs(&mut self) {
        let extents = shared::extents(self.id);
        let runs = extents.into_iter().map(|(offset, len)| (offset as u32, slot(map::PACKETS + offset, len)));
        self.window.get().set_runs(runs);
    }

    /// As before any run was shown: the VM starts again.
    pub(super) fn hide_runs(&mut self) -> Result<(), OutOfFrames> {
        self.window.get().forget_packets();
        self.host.unmap(map::PACKETS, map::PACKETS_LEN)
    }

    /// Before the VM executes: looks at its directory if another processor asked it to. If it is in the window, it does so later, and
    /// at the next call at the latest.
    pub(super) fn answer(&mut self) {
        let outside = !self.in_window();
        if mailbox::begin(self.id, outside) {
            self.refresh();
        }
        if outside || mailbox::is_asked(self.id) {
            self.hold(!outside);
        }
    }

    /// Whether the next call exits before it opens the window.
    pub(super) fn hold(&mut self, held: bool) {
        if let Some(isolated) = self.views.isolated() {
            isolated.hold(held);
        }
    }

    /// What the ring code that serves this VM was made of; 0 if that is the VM's own.
    fn build_id(&self) -> u64 {
        if matches!(self.gate, GateKind::Isolated | GateKind::Hypercall) { sluice_inside::BUILD_ID } else { 0 }
    }

    /// Brings directory and window up to date; the VM is not in the window.
    ///
    /// What is taken away is detached before the directory says so; what is new is attached before.
    pub(super) fn refresh(&mut self) {
        // Until it is known: who takes something away from here on waits.
        mailbox::set_reach(self.id, Reach::ALL);
        let mut new = shared::directory(self.id);
        (new.header.gate, new.header.build_id) = (self.gate as u32, self.build_id());
        for (index, peer) in PeerIdx::all().zip(&mut new.peers) {
            if *peer != self.directory.peer(index) {
                self.refresh_peer(index, peer);
            }
        }
        let is_ready = |peer: &&Peer| PeerState::from_word(peer.state) == PeerState::Ready;
        let reach = new.peers.iter().filter(is_ready).map(|peer| peer.vm_id).collect();
        self.write_directory(&new);
        self.directory = new;
        mailbox::set_reach(self.id, reach);
    }

    fn refresh_peer(&mut self, index: PeerIdx, peer: &mut Peer) {
        let old = self.directory.peer(index);
        let in_host = matches!(self.gate, GateKind::Isolated | GateKind::Hypercall);
        if !in_host || PeerState::from_word(peer.state) != PeerState::Ready {
            self.window.get().detach_peer(index);
        } else if let Err(clause) = self.attach_peer(index, peer) {
            self.window.get().detach_peer(index);
            self.refuse(index, peer.name(), clause);
            peer.state = PeerState::Quarantined as u32;
            peer.region_count = 0;
        }
        let [old, now] = [&old, &*peer].map(|peer| &peer.regions[..peer.region_count as usize]);
        if self.show_regions(index, old, now).is_err() {
            // What was mapped of them goes again: that takes no memory.
            let _ = self.hide_regions(index, now, &[]);
            self.console.say(format_args!("vm {}: peer {}: no memory left for its views", self.name, peer.name()));
            self.window.get().quarantine_peer(index);
            (peer.state, peer.region_count) = (PeerState::Quarantined as u32, 0);
        }
    }

    fn attach_peer(&mut self, index: PeerIdx, peer: &Peer) -> Result<(), Clause> {
        // SAFETY: the base is that of the slot, where show_regions maps the peer's regions, in the window and here, before anybody touches them.
        // Where a peer's page is in the slot never changes.
        unsafe { self.window.get().attach_peer(index, peer, map::SLOT_VA as *mut u8) }
    }

    /// Maps what of the peer's memory is in the regions `now`, and takes away what was in `old` alone, in the view that shows peers and here.
    fn show_regions(&mut self, index: PeerIdx, old: &[Region], now: &[Region]) -> Result<(), OutOfFrames> {
        self.hide_regions(index, old, now)?;
        let Some(&PeerMemory { offset, ram }) = self.peers.get(index.get()) else { return Ok(()) };
        for range in regions::difference(now, old) {
            let (at, len) = (offset + range.start, range.end - range.start);
            if let Some(hpa) = ram.host(Gpa(range.start), len) {
                self.views.show(at, hpa, len)?;
                self.host.map(at, hpa, len)?;
            }
        }
        self.host.load();
        Ok(())
    }

    /// Takes away what of the peer's memory is in the regions `old` and not in `now`.
    fn hide_regions(&mut self, index: PeerIdx, old: &[Region], now: &[Region]) -> Result<(), OutOfFrames> {
        let Some(&PeerMemory { offset, .. }) = self.peers.get(index.get()) else { return Ok(()) };
        for range in regions::difference(old, now) {
            let (at, len) = (offset + range.start, range.end - range.start);
            self.views.hide(at, len)?;
            self.host.unmap(at, len)?;
        }
        self.host.load();
        Ok(())
    }

    /// Says why a peer's queue is not used: once for each peer and reason, as it is the peer who decides how often that comes.
    fn refuse(&mut self, index: PeerIdx, peer: &str, clause: Clause) {
        let before = self.refused[index.get()];
        self.refused[index.get()] |= 1 << clause as u8;
        if self.refused[index.get()] != before {
            self.console.say(format_args!("vm {}: peer {peer}: queue refused: {clause:?}", self.name));
        }
    }

    /// The VM's only vCPU does not run meanwhile: it has exited to this processor. But it may have stopped between two loads of its directory, and
    /// when it goes on it must find that what it read so far is void; so these pages are written as ones that are read meanwhile.
    fn write_directory(&self, new: &Directory) {
        // SAFETY: the frames came from the allocator, are never freed, and are identity-mapped; no reference leads into them.
        let pages = unsafe { PeerSlice::from_raw(self.directory_pages.0 as *mut u8, map::DIRECTORY_LEN) };
        // The pages have room for a directory (asserted in sluice-abi) and are aligned.
        if let Some(words) = pages.table(0, word::COUNT as u16) {
            publish(&words, new);
        }
    }
}
