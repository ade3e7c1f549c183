//! A virtual machine: its parts, and how it ends.

use super::console::Console;
use super::gate_image::GateImage;
use super::lapic::LocalApic;
use super::load::Start;
use super::network;
use super::news::News;
use super::ram::Ram;
use super::ring_code::OwnWindow;
use super::view::{FlowFrames, HomePages, PeerMemory, Views, WhichView};
use crate::platform::cpu;
use crate::platform::paging::HostSpace;
use crate::platform::physical::{self, OutOfFrames};
use crate::platform::table::Table;
use crate::vmx::field::Field;
use crate::vmx::instruction::{Xsave, read};
use crate::vmx::registers::Registers;
use crate::vmx::unswitched::UnswitchedState;
use alloc::string::String;
use alloc::vec::Vec;
use sluice_abi::call::ExitCounts;
use sluice_abi::directory::{GateKind, MAX_PEERS};
use sluice_abi::{Hpa, map};
use sluice_control::Directory;

/// What the processor does after an exit was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The guest goes on.
    Resume,
    /// Another VM of this processor runs, then the guest goes on.
    Switch,
    /// The VM has ended.
    End,
}

/// Whether a VM runs, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The VM runs.
    Running,
    /// The VM ended itself with this exit code.
    Exited(u64),
    /// The monitor stopped the VM for this reason.
    Stopped(String),
}

/// Limits of a VM's time, in ticks of the time-stamp counter.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time after which the monitor looks at a VM that has its processor alone.
    pub watchdog: u64,
    /// Time that a call may go on after the watchdog first saw it.
    pub grace: u64,
    /// Turn of a VM that shares its processor, and time between two calls of the VM's senders.
    pub quantum: u64,
    /// Time from one print of the counters of the VM's port and flow table to the next; 0 for none.
    pub report: u64,
}

/// A call that the preemption timer found in the window.
pub struct Watched {
    /// Number of calls that the window had begun.
    pub calls: u64,
    /// Value of the time-stamp counter at which the call must have ended.
    pub ends: u64,
}

/// A virtual machine with one vCPU.
pub struct Vm {
    /// Index of the VM in the manifest.
    pub id: u32,
    /// Name of the VM.
    pub name: String,
    /// Gate through which the VM sends.
    pub gate: GateKind,
    /// RAM of the VM.
    pub ram: Ram,
    /// Where the VM starts.
    pub start: Start,
    /// VMCS of the vCPU.
    pub vmcs: Table,
    /// MSR bitmap, which all VMs share.
    pub msr_bitmap: Hpa,
    /// Whether the vCPU was entered since it started.
    pub launched: bool,
    /// General registers of the vCPU.
    pub registers: Registers,
    /// Vector registers of the vCPU, while another VM runs.
    pub xsave: Xsave,
    /// Other state of the vCPU, while another VM runs.
    pub unswitched: UnswitchedState,
    /// What the vCPU can reach.
    pub views: Views,
    /// The monitor's page tables while it serves the VM.
    pub host: HostSpace,
    /// State of the window.
    pub window: OwnWindow,
    /// The VMs to which this one may send, by index in the directory.
    pub peers: Vec<PeerMemory>,
    /// The directory that the VM reads.
    pub directory: Directory,
    /// Frames of the directory.
    pub directory_pages: Hpa,
    /// Whether the vCPU has registered.
    pub registered: bool,
    /// Clauses for which each peer's queue was refused and that were reported, by bits.
    pub refused: [u16; MAX_PEERS],
    /// Console of the VM.
    pub console: Console,
    /// What the VM's senders do not know yet.
    pub news: News,
    /// Whether the VM's port of the switch has to be served before the vCPU executes again.
    pub serving: bool,
    /// Whether the preemption timer runs to something that the monitor itself has to do.
    pub reminded: bool,
    /// Number of exits by reason.
    pub exits: ExitCounts,
    /// Number of calls that were aborted.
    pub aborts: u64,
    /// Number of exits from gate or window.
    pub crossing_exits: u64,
    /// Number of times that the VM's device was taken away from its senders.
    pub revocations: u64,
    /// Number of times that the VM started again.
    pub restarts: u32,
    /// The call that the watchdog saw last.
    pub watched: Option<Watched>,
    /// Local APIC of the vCPU.
    pub lapic: LocalApic,
    /// Limits of the VM's time.
    pub limits: Limits,
    /// Value of the time-stamp counter at which the VM's turn is over.
    pub turn_ends: u64,
    /// Value of the time-stamp counter from which on the counters of its port are printed again.
    pub report_due: u64,
    /// Whether the VM runs, or how it ended.
    pub state: State,
}

/// What a VM is made from.
pub struct NewVm<'a> {
    /// Index of the VM in the manifest.
    pub id: u32,
    /// Name of the VM.
    pub name: String,
    /// Gate through which the VM sends.
    pub gate: GateKind,
    /// RAM of the VM, loaded.
    pub ram: Ram,
    /// Where the VM starts.
    pub start: Start,
    /// The VMs to which this one may send.
    pub peers: Vec<PeerMemory>,
    /// Limits of the VM's time.
    pub limits: Limits,
    /// The host's pages.
    pub image: &'a GateImage,
    /// MSR bitmap, which all VMs share.
    pub msr_bitmap: Hpa,
    /// The flow memory of an in-VM switch.
    pub flows: Option<FlowFrames>,
}

impl Vm {
    /// Returns a VM that has not run yet.
    pub fn new(new: NewVm) -> Result<Self, OutOfFrames> {
        let directory_pages = physical::alloc_contiguous(map::DIRECTORY_LEN, map::PAGE)?;
        let window = OwnWindow::new();
        let pages = HomePages { stub: new.image.stub, directory: directory_pages, flows: new.flows };
        let views = Views::new(new.gate, new.ram, &pages, new.image, window.hpa(), &new.peers)?;
        let mut host = HostSpace::new()?;
        host.map(map::STATE, window.hpa(), map::STATE_LEN)?;
        Ok(Self {
            id: new.id,
            console: Console::new(new.id, &new.name),
            news: News::new(new.limits.quantum),
            name: new.name,
            gate: new.gate,
            ram: new.ram,
            registers: new.start.registers(),
            start: new.start,
            vmcs: Table::alloc()?,
            msr_bitmap: new.msr_bitmap,
            launched: false,
            xsave: Xsave::initial(),
            unswitched: UnswitchedState::initial(),
            views,
            host,
            window,
            peers: new.peers,
            directory: Directory::default(),
            directory_pages,
            registered: false,
            refused: [0; MAX_PEERS],
            serving: false,
            reminded: false,
            exits: ExitCounts::default(),
            aborts: 0,
            crossing_exits: 0,
            revocations: 0,
            restarts: 0,
            watched: None,
            lapic: LocalApic::new(),
            limits: new.limits,
            turn_ends: 0,
            report_due: 0,
            state: State::Running,
        })
    }

    /// Returns the VPID of the vCPU. VPID 0 is the monitor's own.
    pub fn vpid(&self) -> u16 {
        self.id as u16 + 1
    }

    /// Returns whether the vCPU, whose VMCS is current, stands in the gate or the window.
    pub fn in_crossing(&self) -> bool {
        matches!(self.views.place(read(Field::EptPointer)), WhichView::Gate | WhichView::Window)
    }

    /// Returns whether the vCPU, whose VMCS is current, stands in the window.
    pub fn in_window(&self) -> bool {
        self.views.place(read(Field::EptPointer)) == WhichView::Window
    }

    /// Keeps the next call from opening the window (it exits instead), or lets it.
    pub fn hold(&mut self, held: bool) {
        if let Some(isolated) = self.views.isolated() {
            isolated.hold(held);
        }
    }

    /// Returns what follows when the preemption timer ran out where the VM can be left alone: its turn is over, or
    /// something of its own is due.
    pub fn after_timer(&self) -> Next {
        if cpu::ticks() < self.turn_ends { Next::Resume } else { Next::Switch }
    }

    /// Stops the VM for good, for the reason given. The others go on.
    pub fn stop(&mut self, reason: String) -> Next {
        self.console.say(format_args!("vm {} stopped: {reason}", self.name));
        self.finish(State::Stopped(reason))
    }

    /// Ends the VM, which asked for that, with exit code `code`.
    pub fn end(&mut self, code: u64) -> Next {
        self.console.finish();
        self.console.say(format_args!("vm {} exit code {code}", self.name));
        self.finish(State::Exited(code))
    }

    fn finish(&mut self, state: State) -> Next {
        self.console.finish();
        self.state = state;
        self.revocations += 1;
        network::remove(self.id);
        self.news.told(cpu::ticks(), false);
        Next::End
    }
}
