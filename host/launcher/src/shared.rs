//! What all processes' devices and directories come from, and the switch behind the devices.

use crate::memory;
use crate::taps::Taps;
use sluice_abi::directory::GateKind;
use sluice_abi::run::Run;
use sluice_control::{Counters, Event, Manifest, Network, RunError, Switch, Told, publish};
use sluice_memory::{PeerSlice, Table};
use std::io;
use std::time::Instant;

/// The devices of all VMs, the pages that tell of them, and the switch.
pub struct Shared {
    network: Network,
    pages: Vec<Table<'static, u64>>,
    rams: Vec<PeerSlice<'static>>,
    switch: Switch,
    taps: Taps,
    /// VMs whose drivers notified the host since their ports were served.
    notified: Vec<bool>,
    started: Instant,
}

/// Memory that the devices and the switch work with.
pub struct Memory {
    /// A page for the directory of each VM.
    pub pages: Vec<Table<'static, u64>>,
    /// All of each VM's RAM.
    pub rams: Vec<PeerSlice<'static>>,
    /// [`Switch::ROOM_LEN`] bytes for the switch alone.
    pub room: PeerSlice<'static>,
}

impl Shared {
    /// The VMs of `manifest`. `None` if there is too little `memory`.
    pub fn new(manifest: &Manifest, memory: Memory, taps: Taps) -> Option<Self> {
        let switch = Switch::new(manifest, &memory.rams, memory.room)?;
        let (network, notified) = (Network::new(manifest), vec![false; manifest.vms.len()]);
        let mut shared =
            Self { network, pages: memory.pages, rams: memory.rams, switch, taps, notified, started: Instant::now() };
        (0..manifest.vms.len() as u32).for_each(|vm| shared.refresh(vm));
        Some(shared)
    }

    /// Reads a register of VM `vm`'s device.
    pub fn read(&self, vm: u32, register: u32) -> u32 {
        self.network.read(vm, register)
    }

    /// Writes a register of VM `vm`'s device, and brings the directories of those who may send to it up to date.
    pub fn write(&mut self, vm: u32, register: u32, value: u32) {
        match self.network.write(vm, register, value) {
            Some(Event::Notified) => self.notified[vm as usize] = true,
            Some(Event::QueuesReady | Event::Reset) => self.refresh_senders(vm),
            None => {}
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

    /// Serves the ports whose VMs notified the host, a turn each; whether there is more to do.
    pub fn serve(&mut self) -> bool {
        let Some(first) = self.notified.iter().position(|&notified| notified) else { return false };
        for vm in first..self.notified.len() {
            if std::mem::take(&mut self.notified[vm]) {
                let now = self.started.elapsed().as_nanos() as u64;
                let served = self.switch.serve(&mut self.network, vm as u32, now, &mut self.taps);
                self.notified[vm] = served.more;
                served.told.iter().for_each(|told| self.tell(told));
                if served.event.is_some() {
                    self.refresh_senders(vm as u32);
                }
            }
        }
        self.taps.flush();
        self.notified.contains(&true)
    }

    /// Tells a driver, which may sleep, that its device used a buffer. A process has no interrupts: it sleeps on the word that changed then.
    fn tell(&mut self, told: &Told) {
        self.network.tell(told.vm);
        if let Some(ram) = self.rams.get(told.vm as usize) {
            memory::wake(*ram, told.word);
        }
    }

    /// What VM `vm`'s port has counted.
    pub fn counters(&self, vm: u32) -> Counters {
        self.switch.counters(vm)
    }

    /// The first capture file that could not be written in full, and why.
    pub fn tap_error(&mut self) -> Option<(String, io::Error)> {
        self.taps.error()
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
