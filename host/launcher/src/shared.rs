//! What all processes' devices and directories come from.

use sluice_abi::directory::{Directory, PeerState};
use sluice_control::{Manifest, Network};
use sluice_memory::PeerSlice;
use std::mem::offset_of;
use zerocopy::IntoBytes;

/// The devices of all VMs and the pages that tell of them.
pub struct Shared {
    network: Network,
    pages: Vec<Page>,
}

struct Page {
    memory: PeerSlice<'static>,
    written: Directory,
}

impl Shared {
    /// The VMs of `manifest`, with one page of memory each for their directories.
    pub fn new(manifest: &Manifest, pages: Vec<PeerSlice<'static>>) -> Self {
        let pages = pages.into_iter().map(|memory| Page { memory, written: Directory::default() }).collect();
        let mut shared = Self { network: Network::new(manifest), pages };
        (0..manifest.vms.len() as u32).for_each(|vm| shared.refresh(vm));
        shared
    }

    /// Reads a register of VM `vm`'s device.
    pub fn read(&self, vm: u32, register: u32) -> u32 {
        self.network.read(vm, register)
    }

    /// Writes a register of VM `vm`'s device, and brings the directories of those who may send to it up to date.
    pub fn write(&mut self, vm: u32, register: u32, value: u32) {
        if self.network.write(vm, register, value).is_some() {
            self.refresh_senders(vm);
        }
    }

    /// VM `vm` is gone.
    pub fn remove(&mut self, vm: u32) {
        self.network.remove(vm);
        self.refresh_senders(vm);
    }

    /// VM `vm` is there again. Its senders hear of it when its device starts.
    pub fn restart(&mut self, vm: u32) {
        self.network.restart(vm);
    }

    fn refresh_senders(&mut self, vm: u32) {
        for sender in self.network.senders_to(vm).collect::<Vec<_>>() {
            self.refresh(sender);
        }
    }

    fn refresh(&mut self, vm: u32) {
        let new = self.network.directory(vm);
        if let Some(page) = self.pages.get_mut(vm as usize) {
            page.write(Directory { gate: sluice_abi::directory::GateKind::Direct as u32, ..new });
        }
    }
}

impl Page {
    /// Generation first, state words last.
    fn write(&mut self, new: Directory) {
        let mut quiet = new;
        for (quiet, old) in quiet.peers.iter_mut().zip(&self.written.peers) {
            if *quiet != *old {
                quiet.state = PeerState::Absent as u32;
            }
        }
        // A page is larger than a directory (asserted in sluice-abi).
        let _ = self.memory.write(offset_of!(Directory, generation) as u64, new.generation);
        let _ = self.memory.copy_from_slice(0, quiet.as_bytes());
        let _ = self.memory.copy_from_slice(0, new.as_bytes());
        self.written = new;
    }
}
