//! A VM's window state, as the monitor handles it: attaching and detaching peers, recovery, the gate `Hypercall`.
//!
//! The state holds addresses in the sluice slot. The monitor has the same slot at the same addresses, per VM, while it serves
//! that VM ([`crate::platform::paging::HostSpace`]), so the code of `trampoline/inside` runs here as it does in the window.
#![allow(unsafe_code, reason = "hands the monitor's view of the sluice slot to the ring code")]

use super::{Vm, mailbox, shared};
use crate::platform::frames::{self, OutOfFrames};
use sluice_abi::call::{Accepted, Clause, Outcome};
use sluice_abi::directory::{Directory, GateKind, Peer, PeerState, word};
use sluice_abi::{Hpa, PeerIdx, map};
use sluice_control::publish;
use sluice_inside::Window;
use sluice_memory::{PeerSlice, Words};

/// The frames of one VM's window state. Only the window's code and this file write them.
pub struct OwnWindow(Hpa);

impl OwnWindow {
    /// State with no peer and no packet memory.
    pub fn alloc() -> Result<Self, OutOfFrames> {
        let hpa = frames::alloc_contiguous(map::STATE_LEN, map::PAGE)?;
        // SAFETY: just allocated, identity-mapped, large enough (asserted in sluice-inside), aligned.
        unsafe { (hpa.0 as *mut Window).write(Window::new()) };
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

    /// Makes packet memory and request block reachable for the window code, here too.
    pub(super) fn show_packets_to_host(&mut self, packets: Hpa, len: u64, request: Hpa) -> Result<(), OutOfFrames> {
        self.host.map(map::PACKETS, packets, len)?;
        self.host.map(map::REQUEST, request, map::PAGE)?;
        self.host.load();
        self.window.get().set_packets(slot(map::PACKETS, len));
        Ok(())
    }

    /// As before anything was shown.
    pub(super) fn hide_packets(&mut self) {
        self.window.get().forget_packets();
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

    /// Brings directory and window up to date; the VM is not in the window.
    ///
    /// What is taken away is detached before the directory says so; what is new is attached before.
    pub(super) fn refresh(&mut self) {
        // Until it is known: who takes something away from here on waits.
        mailbox::set_reach(self.id, u32::MAX);
        let mut new = shared::directory(self.id);
        new.gate = self.gate as u32;
        for index in PeerIdx::all() {
            if new.peers[index.get()] != self.directory.peers[index.get()] {
                self.refresh_peer(&mut new, index);
            }
        }
        let is_ready = |peer: &&Peer| PeerState::from_word(peer.state) == PeerState::Ready;
        let reach = new.peers.iter().filter(is_ready).fold(0, |reach, peer| reach | 1 << peer.vm_id);
        self.write_directory(&new);
        self.directory = new;
        mailbox::set_reach(self.id, reach);
    }

    fn refresh_peer(&mut self, new: &mut Directory, index: PeerIdx) {
        let peer = &mut new.peers[index.get()];
        let in_host = matches!(self.gate, GateKind::Isolated | GateKind::Hypercall);
        self.window.get().detach_peer(index);
        if !in_host || PeerState::from_word(peer.state) != PeerState::Ready {
            return;
        }
        // SAFETY: the base is that of the slot, where the peer's regions are mapped in the window and here.
        if let Err(clause) = unsafe { self.window.get().attach_peer(index, peer, map::SLOT_VA as *mut u8) } {
            self.refuse(index, peer.name(), clause);
            peer.state = PeerState::Quarantined as u32;
        }
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
    /// when it goes on it must find that what it read so far is void; so this page is written as one that is read meanwhile.
    fn write_directory(&self, new: &Directory) {
        // SAFETY: the frame came from the allocator, is never freed, and is identity-mapped; no reference leads into it.
        let page = unsafe { PeerSlice::from_raw(self.directory_page.hpa().0 as *mut u8, map::PAGE) };
        // A page has room for a directory (asserted in sluice-abi) and is aligned.
        if let Some(words) = page.table(0, word::COUNT as u16) {
            publish(&words, new);
        }
    }
}
