//! What all processes' devices and directories come from.

use sluice_abi::directory::{Directory, GateKind};
use sluice_control::{Manifest, Network, publish};
use sluice_memory::Table;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The devices of all VMs and the pages that tell of them.
pub struct Shared(Mutex<State>);

struct State {
    network: Network,
    pages: Vec<Page>,
}

struct Page(Table<'static, u64>);

#[allow(unsafe_code, reason = "a page of shared memory moves between threads")]
// SAFETY: the table is in a mapping that is never unmapped, and only one thread at a time writes through it: under the mutex.
unsafe impl Send for Page {}

impl Shared {
    /// The VMs of `manifest`, with one page of memory each for their directories.
    pub fn new(manifest: &Manifest, pages: Vec<Table<'static, u64>>) -> Self {
        let pages = pages.into_iter().map(Page).collect();
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
        // A thread that panicked left no network half changed: every change is one call. A page that it left half written reads as busy until
        // it is written again.
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
            publish(&page.0, &Directory { gate: GateKind::Direct as u32, ..new });
        }
    }
}
