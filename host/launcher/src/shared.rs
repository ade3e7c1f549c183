//! What all processes' devices and directories come from.

use sluice_abi::directory::{Directory, PeerState};
use sluice_control::{Manifest, Network};
use sluice_memory::PeerSlice;
use std::mem::offset_of;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zerocopy::IntoBytes;

/// The devices of all VMs and the pages that tell of them.
pub struct Shared(Mutex<State>);

struct State {
    network: Network,
    pages: Vec<Page>,
}

struct Page {
    memory: PeerSlice<'static>,
    written: Directory,
}

#[allow(unsafe_code, reason = "a page of shared memory moves between threads")]
// SAFETY: the slice is of a mapping that is never unmapped, and only one thread at a time writes through it: under the mutex.
unsafe impl Send for Page {}

impl Shared {
    /// The VMs of `manifest`, with one page of memory each for their directories.
    pub fn new(manifest: &Manifest, pages: Vec<PeerSlice<'static>>) -> Self {
        let pages = pages.into_iter().map(|memory| Page { memory, written: Directory::default() }).collect();
        let shared = Self(Mutex::new(State { network: Network::new(manifest), pages }));
        (0..manifest.vms.len() as u32).for_each(|vm| shared.lock().refresh(vm));
        shared
    }

    /// Reads a register of VM `vm`'s device.
    pub fn read(&self, vm: u32, register: u32) -> u32 {
        self.lock().network.read(vm, register)
    }

    /// Writes a register of VM `vm`'s device, and brings the directories of those who may send to it up to date.
    pub fn write(&self, vm: u32, register: u32, value: u32) {
        let mut state = self.lock();
        if state.network.write(vm, register, value).is_some() {
            state.refresh_senders(vm);
        }
    }

    /// VM `vm` is gone.
    pub fn remove(&self, vm: u32) {
        let mut state = self.lock();
        state.network.remove(vm);
        state.refresh_senders(vm);
    }

    /// VM `vm` is there again. Its senders hear of it when its device starts.
    pub fn restart(&self, vm: u32) {
        self.lock().network.restart(vm);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left nothing half done: every change is one call of `network`.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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
