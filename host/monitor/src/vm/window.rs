//! How a VM's view of its peers and of packet memory changes: in its directory, in its window, and in the page tables
//! by which the monitor runs the ring code.
//!
//! The window state holds addresses in the sluice slot. While the monitor serves a VM, it has that VM's slot at the
//! same addresses ([`crate::platform::paging::HostSpace`]), so the code of `trampoline/inside` runs here as it does in
//! the window.

use super::mailbox::{self, Reach};
use super::network;
use super::view::PeerMemory;
use super::vm::Vm;
use crate::platform::physical::{self, OutOfFrames};
use sluice_abi::call::Clause;
use sluice_abi::directory::{GateKind, Peer, PeerState, Region, word};
use sluice_abi::run::Run;
use sluice_abi::{Gpa, Hpa, PeerIdx, map};
use sluice_control::{Directory, publish, regions};

impl Vm {
    /// Maps the request block for the ring code as the monitor runs it.
    pub(super) fn show_request_to_host(&mut self, request: Hpa) -> Result<(), OutOfFrames> {
        self.host.map(map::REQUEST, request, map::PAGE)?;
        self.host.load();
        Ok(())
    }

    /// Maps `run`, which is within RAM, for the ring code, in the window and in the monitor.
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

    /// Unmaps `len` bytes of packet memory from `offset` on, which the VM has removed.
    pub(super) fn hide_run(&mut self, offset: u64, len: u64) -> Result<(), OutOfFrames> {
        self.take_runs();
        if let Some(isolated) = self.views.isolated() {
            isolated.hide_run(offset, len)?;
        }
        self.host.unmap(map::PACKETS + offset, len)?;
        self.host.load();
        Ok(())
    }

    /// Tells the ring code which packet memory the VM has.
    fn take_runs(&mut self) {
        self.window.set_runs(network::extents(self.id));
    }

    /// Unmaps all packet memory, since the VM starts again.
    pub(super) fn hide_runs(&mut self) -> Result<(), OutOfFrames> {
        self.window.get().forget_packets();
        self.host.unmap(map::PACKETS, map::PACKETS_LEN)
    }

    /// Updates the directory before the VM executes, if another processor asked for that. If the VM is in the window,
    /// the update comes later, but before its next call opens the window.
    pub(super) fn answer(&mut self) {
        let outside = !self.in_window();
        if mailbox::begin(self.id, outside) {
            self.refresh();
        }
        if outside || mailbox::is_asked(self.id) {
            self.hold(!outside);
        }
    }

    /// Returns the build id of the ring code that serves this VM; 0 if that is the VM's own code.
    fn build_id(&self) -> u64 {
        if matches!(self.gate, GateKind::Isolated | GateKind::Hypercall) { sluice_inside::BUILD_ID } else { 0 }
    }

    /// Brings directory and window up to date. The VM is not in the window. The window changes before the directory
    /// says so, whether a peer comes or goes.
    pub(super) fn refresh(&mut self) {
        // Until the reach is known, every VM that takes something away waits for this one.
        mailbox::set_reach(self.id, Reach::ALL);
        let mut new = network::directory(self.id);
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
        } else if let Err(clause) = self.window.attach_peer(index, peer) {
            self.window.get().detach_peer(index);
            self.refuse(index, peer.name(), clause);
            peer.state = PeerState::Quarantined as u32;
            peer.region_count = 0;
        }
        let [old, now] = [&old, &*peer].map(|peer| &peer.regions[..peer.region_count as usize]);
        if self.show_regions(index, old, now).is_err() {
            // Unmapping what was mapped of them takes no memory.
            let _ = self.hide_regions(index, now, &[]);
            self.console.say(format_args!("vm {}: peer {}: no memory left for its views", self.name, peer.name()));
            self.window.get().quarantine_peer(index);
            (peer.state, peer.region_count) = (PeerState::Quarantined as u32, 0);
        }
    }

    /// Maps the memory of the peer at `index` that is in the regions `now`, and unmaps what was in `old` alone: in the
    /// view that shows peers, and in the monitor.
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

    /// Unmaps the memory of the peer at `index` that is in the regions `old` and not in `now`.
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

    /// Reports why the queue of the peer at `index` is not used, once for each peer and clause: the peer decides how
    /// often it happens.
    fn refuse(&mut self, index: PeerIdx, peer: &str, clause: Clause) {
        let before = self.refused[index.get()];
        self.refused[index.get()] |= 1 << clause as u8;
        if self.refused[index.get()] != before {
            self.console.say(format_args!("vm {}: peer {peer}: queue refused: {clause:?}", self.name));
        }
    }

    /// Writes the directory `new` to the VM's pages. The VM's only vCPU has exited to this processor, but it may stand
    /// between two loads of its directory, and has to see that the first is out of date. So the pages are written as if
    /// it read meanwhile.
    fn write_directory(&self, new: &Directory) {
        // The pages have room for a directory (asserted in sluice-abi) and are aligned.
        let pages = physical::slice(self.directory_pages, map::DIRECTORY_LEN);
        if let Some(words) = pages.and_then(|pages| pages.table(0, word::COUNT as u16)) {
            publish(&words, new);
        }
    }
}
