//! The devices and directories of all processes, and the switch behind the devices.

use crate::console::Console;
use crate::openvswitch::Bridge;
use crate::sender::Sender;
use crate::taps::Taps;
use crate::{flows, memory};
use rustix::event::PollFlags;
use rustix::process::Pid;
use sluice_abi::directory::GateKind;
use sluice_abi::run::Run;
use sluice_control::{Counters, Event, Manifest, Network, RunError, Switch, Told, publish};
use sluice_flows::{FlowSwitches, Windows};
use sluice_memory::{PeerSlice, Table};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;

/// The devices of all VMs, their directories, and the switch.
pub struct Shared {
    network: Network,
    pages: Vec<Table<'static, u64>>,
    rams: Vec<PeerSlice<'static>>,
    switch: Switch,
    taps: Taps,
    flows: FlowSwitches,
    bridges: Vec<Bridge>,
    /// VMs whose drivers notified the host since their ports were served.
    notified: Vec<bool>,
    /// All VMs, as far as they send.
    senders: Vec<Sender>,
    /// VMs that were ended as they stayed in a call.
    stuck: Vec<u32>,
}

/// Memory for the devices and the switch.
pub struct Memory {
    /// The directory of each VM.
    pub pages: Vec<Table<'static, u64>>,
    /// The request block of each VM.
    pub requests: Vec<Table<'static, u64>>,
    /// The RAM of each VM.
    pub rams: Vec<PeerSlice<'static>>,
    /// [`Switch::ROOM_LEN`] bytes for the switch alone.
    pub room: PeerSlice<'static>,
}

impl Shared {
    /// Returns the devices of the VMs of `manifest`; `None` if there is too little `memory`.
    pub fn new(manifest: &Manifest, memory: Memory, taps: Taps, flows: (FlowSwitches, Vec<Bridge>)) -> Option<Self> {
        let switch = Switch::new(manifest, &memory.rams, memory.room)?;
        let (flows, bridges) = flows;
        let (network, notified) = (Network::new(manifest), vec![false; manifest.vms.len()]);
        let Memory { pages, requests, rams, .. } = memory;
        let (senders, stuck) = (requests.into_iter().map(Sender::new).collect(), Vec::new());
        let mut shared = Self { network, pages, rams, switch, taps, flows, bridges, notified, senders, stuck };
        (0..manifest.vms.len() as u32).for_each(|vm| shared.refresh(vm));
        Some(shared)
    }

    /// Reads a register of VM `vm`'s device.
    pub fn read(&self, vm: u32, register: u32) -> u32 {
        self.network.read(vm, register)
    }

    /// Writes a register of VM `vm`'s device, and updates the directories of the VMs that may send to it.
    pub fn write(&mut self, vm: u32, register: u32, value: u32) {
        if let Some(event) = self.network.write(vm, register, value) {
            self.changed(vm, event);
        }
    }

    fn changed(&mut self, vm: u32, event: Event) {
        match event {
            Event::Notified => self.notified[vm as usize] = true,
            Event::QueuesReady => self.refresh_senders(vm),
            Event::Reset => self.settle_senders(vm),
        }
    }

    /// Adds a run to VM `vm`'s packet memory, and updates the directories of the VMs that may send to it.
    pub fn add_run(&mut self, vm: u32, run: Run) -> Result<(), RunError> {
        self.network.add_run(vm, run)?;
        self.refresh_senders(vm);
        Ok(())
    }

    /// Removes a run of VM `vm`'s packet memory, and updates the directories of the VMs that may send to it. None of
    /// them writes there any more.
    pub fn remove_run(&mut self, vm: u32, offset: u64, len: u64) -> Result<(), RunError> {
        self.network.remove_run(vm, offset, len)?;
        self.settle_senders(vm);
        Ok(())
    }

    /// Serves each port whose VM notified the host once. Returns whether there is more to do.
    pub fn serve(&mut self) -> bool {
        let Some(first) = self.notified.iter().position(|&notified| notified) else { return false };
        for vm in first..self.notified.len() {
            if std::mem::take(&mut self.notified[vm]) {
                let Self { network, switch, taps, flows, .. } = self;
                let served = switch.serve(network, vm as u32, flows::now(), taps, flows);
                self.notified[vm] = served.more;
                served.told.iter().for_each(|told| self.tell(told));
                served.event.into_iter().for_each(|event| self.changed(vm as u32, event));
            }
        }
        self.taps.flush();
        self.notified.contains(&true)
    }

    /// Notifies a driver that its device used a buffer. A process has no interrupts: it sleeps on the word that
    /// changed.
    fn tell(&mut self, told: &Told) {
        self.network.tell(told.vm);
        if let Some(ram) = self.rams.get(told.vm as usize) {
            memory::wake(*ram, told.word);
        }
    }

    /// Returns the counters of VM `vm`'s port.
    pub fn counters(&self, vm: u32) -> Counters {
        self.switch.counters(vm)
    }

    /// Returns the name of the first capture file that could not be written in full, and the error.
    pub fn tap_error(&mut self) -> Option<(String, io::Error)> {
        self.taps.error()
    }

    /// Returns the in-VM switches.
    pub fn flows(&mut self) -> &mut FlowSwitches {
        &mut self.flows
    }

    /// Returns what to wait for on behalf of full switches outside.
    pub fn sources(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.bridges.iter().flat_map(Bridge::sources)
    }

    /// Goes on with the full switches outside. Returns whether there is more to do.
    pub fn serve_bridges(&mut self, console: &mut Console<'_>) -> bool {
        if self.bridges.is_empty() {
            return false;
        }
        let (mut told, mut is_busy) = (BTreeSet::new(), false);
        for bridge in &mut self.bridges {
            let Self { network, switch, taps, flows, notified, .. } = self;
            let vm = bridge.vm();
            is_busy |= bridge.turn(flows, console, |ports, frame| {
                told.extend(switch.give_back(network, vm, (ports, frame), taps));
            });
            // What is decided is told when the port is served.
            notified[vm as usize] = true;
        }
        told.iter().for_each(|told| self.tell(told));
        self.serve() | is_busy
    }

    /// Returns the lines that are said of full switches outside at the end.
    pub fn bridge_lines(&self) -> impl Iterator<Item = String> {
        self.bridges.iter().flat_map(|bridge| bridge.lines(&self.flows))
    }

    /// Looks after the in-VM switches. Returns the VMs that did not report in time, and have to end.
    pub fn turn(&mut self) -> Vec<u32> {
        let mut late = Vec::new();
        self.flows.turn(flows::now(), |vm, windows| {
            if windows == Windows::Close {
                late.push(vm);
            }
        });
        late
    }

    /// Notes that VM `vm` starts.
    pub fn start(&mut self, vm: u32) {
        self.flows.start(vm, flows::now());
    }

    /// Notes that VM `vm` is this process group.
    pub fn runs(&mut self, vm: u32, group: Pid) {
        self.senders[vm as usize].group = Some(group);
    }

    /// Removes the device of VM `vm`, which ended, and with it what it was doing.
    pub fn remove(&mut self, vm: u32) {
        self.senders[vm as usize].end();
        self.flows.end(vm);
        self.network.remove(vm);
        self.settle_senders(vm);
    }

    /// Returns the VMs that were ended as they stayed in a call, since this was asked last.
    pub fn stuck(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.stuck)
    }

    /// Gives VM `vm`, which starts again, its device back. Its senders learn of it when the driver starts it.
    pub fn restart(&mut self, vm: u32) {
        self.network.restart(vm);
    }

    /// Updates the directories of the VMs that may send to VM `vm`, from which something is taken, and waits until no
    /// call goes by those of before. Who stays in one is ended: it would write into memory that has another use.
    fn settle_senders(&mut self, vm: u32) {
        self.refresh_senders(vm);
        for sender in self.network.senders_to(vm) {
            if !self.senders[sender as usize].leaves() {
                self.senders[sender as usize].kill();
                self.stuck.push(sender);
            }
        }
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
