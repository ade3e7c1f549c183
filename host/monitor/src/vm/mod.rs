//! Virtual machines: what each is made of, and how it runs.
//!
//! Reading order: [`run`] (all VMs, from start to report), `schedule` (one processor's share), `exit` (what an exit means),
//! `view` (what a VM can reach). Lower layers: `crate::vmx` (the processor), `crate::platform` (the machine).

mod abort;
mod bases;
mod call;
mod console;
mod cpuid;
mod debug;
mod descriptor_table;
mod event;
mod exit;
mod fault;
mod fetch;
mod image;
mod inject;
mod lan;
mod lapic;
mod mailbox;
mod mmio;
mod news;
mod operand;
mod ram;
mod reason;
mod registration;
mod restart;
mod runs;
mod schedule;
mod segment;
mod shared;
mod state;
mod tables;
mod view;
mod walk;
mod window;

pub use mailbox::MAX_VMS;
pub use schedule::run;

use crate::load::Start;
use crate::platform::frames::{self, OutOfFrames};
use crate::platform::paging::HostSpace;
use crate::platform::table::Table;
use crate::vmx::enter::{Registers, Xsave};
use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use crate::vmx::rest::Rest;
use abort::Watched;
use alloc::string::String;
use alloc::vec::Vec;
use console::Console;
use image::GateImage;
use lapic::LocalApic;
use news::News;
use ram::Ram;
use sluice_abi::call::ExitCounts;
use sluice_abi::directory::{GateKind, MAX_PEERS};
use sluice_abi::{Hpa, map};
use sluice_control::Directory;
use view::{HomePages, PeerMemory, Place, Views};
use window::OwnWindow;

/// What to do after an exit was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on in the guest.
    Resume,
    /// Let another VM of this processor run, then go on.
    Switch,
    /// The VM is over.
    End,
}

/// How a VM ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It said so, with this code.
    Exited(u64),
    /// The monitor stopped it.
    Stopped(String),
}

/// One virtual machine with one vCPU.
pub struct Vm {
    id: u32,
    name: String,
    gate: GateKind,
    ram: Ram,
    start: Start,
    vmcs: Table,
    /// Whether it has been entered since it started.
    launched: bool,
    registers: Registers,
    xsave: Xsave,
    rest: Rest,
    views: Views,
    host: HostSpace,
    window: OwnWindow,
    /// Whom it may send to, by place in the directory.
    peers: Vec<PeerMemory>,
    directory: Directory,
    directory_pages: Hpa,
    /// Whether its vCPU has registered.
    registered: bool,
    /// Reasons for which a peer's queue was refused, by bits, that were said.
    refused: [u16; MAX_PEERS],
    console: Console,
    news: News,
    /// Its port of the switch has to be served before it executes again.
    serving: bool,
    /// The preemption timer runs to something that the monitor itself has to do.
    reminded: bool,
    exits: ExitCounts,
    aborts: u64,
    /// Exits from gate or window.
    crossing_exits: u64,
    /// Times that its device was taken away from its senders.
    revocations: u64,
    restarts: u32,
    /// The call that the watchdog saw last.
    watched: Option<Watched>,
    lapic: LocalApic,
    /// The counter's value at which its turn is over.
    turn_ends: u64,
    state: State,
}

/// What a VM is made from.
pub struct Parts<'a> {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its gate.
    pub gate: GateKind,
    /// Its RAM, loaded.
    pub ram: Ram,
    /// Where it starts.
    pub start: Start,
    /// Whom it may send to.
    pub peers: Vec<PeerMemory>,
    /// Ticks between two calls of its senders.
    pub quantum: u64,
    /// The host's pages.
    pub image: &'a GateImage,
}

impl Vm {
    /// Builds a VM that has not run yet.
    pub fn new(parts: Parts) -> Result<Self, OutOfFrames> {
        let directory_pages = frames::alloc_contiguous(map::DIRECTORY_LEN, map::PAGE)?;
        let window = OwnWindow::alloc()?;
        let pages = HomePages { stub: parts.image.stub, directory: directory_pages };
        let views = Views::new(parts.gate, parts.ram, &pages, parts.image, window.hpa(), &parts.peers)?;
        let mut host = HostSpace::new()?;
        host.map(map::STATE, window.hpa(), map::STATE_LEN)?;
        Ok(Self {
            id: parts.id,
            console: Console::new(parts.id, &parts.name),
            news: News::new(parts.quantum),
            name: parts.name,
            gate: parts.gate,
            ram: parts.ram,
            start: parts.start,
            vmcs: Table::alloc()?,
            launched: false,
            registers: restart::first_registers(&parts.start),
            xsave: Xsave::initial(),
            rest: Rest::initial(),
            views,
            host,
            window,
            peers: parts.peers,
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
            turn_ends: 0,
            state: State::Running,
        })
    }

    /// VPID 0 is the monitor's own.
    fn vpid(&self) -> u16 {
        self.id as u16 + 1
    }

    /// Whether its vCPU stands in the gate or the window (the current VMCS is this VM's).
    fn in_crossing(&self) -> bool {
        matches!(self.views.place(read(Field::EptPointer)), Place::Gate | Place::Window)
    }

    /// Whether its vCPU stands in the window (the current VMCS is this VM's).
    fn in_window(&self) -> bool {
        self.views.place(read(Field::EptPointer)) == Place::Window
    }

    /// Stops the VM for good, for the reason given. The others go on.
    fn stop(&mut self, reason: String) -> Next {
        self.console.say(format_args!("vm {} stopped: {reason}", self.name));
        self.finish(State::Stopped(reason))
    }

    /// The VM ends itself.
    fn end(&mut self, code: u64) -> Next {
        self.console.finish();
        self.console.say(format_args!("vm {} exit code {code}", self.name));
        self.finish(State::Exited(code))
    }

    fn finish(&mut self, state: State) -> Next {
        self.console.finish();
        self.state = state;
        shared::gone(self);
        Next::End
    }
}

/// RAM for a VM of `len` bytes.
fn alloc_ram(len: u64) -> Result<Ram, OutOfFrames> {
    frames::alloc_contiguous(len, 2 << 20).map(|hpa| Ram { hpa, len })
}
