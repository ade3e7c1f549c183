//! What all processes' devices and directories come from.

use sluice_abi::directory::GateKind;
use sluice_abi::run::Run;
use sluice_control::{Manifest, Network, RunError, publish};
use sluice_memory::Table;

/// The devices of all VMs and the pages that tell of them.
pub struct Shared {
    network: Network,
    pages: Vec<Table<'static, u64>>,
}

impl Shared {
    /// The VMs of `manifest`, with the memory of each one's directory.
    pub fn new(manifest: &Manifest, pages: Vec<Table<'static, u64>>) -> Self {
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

    /// Adds a run to VM `vm`'s packet memory, and says so to those who may send to it.
    pub fn add_run(&mut self, vm: u32, run: Run) -> Result<(), RunError> {
        self.network.add_run(vm, run)?;
        self.refresh_senders(vm);
        Ok(())
    }

    /// Removes one.
    pub fn remove_run(&mut self, vm: u32, offset: u64, len: u64) -> Result<(), RunError> {
        self.network.remove_run(vm, offset, len)?;
        self.refresh_senders(vm);
        Ok(())
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
        let mut new = self.network.directory(vm);
        new.header.gate = GateKind::Direct as u32;
        if let Some(pages) = self.pages.get(vm as usize) {
            publish(pages, &new);
        }
    }
}
