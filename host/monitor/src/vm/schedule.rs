//! All VMs, from start to report: which processor runs which, and for how long.

use super::console::Progress;
use super::image::GateImage;
use super::ram::Ram;
use super::view::PeerMemory;
use super::{MAX_VMS, Next, Parts, State, Vm, alloc_ram, exit, lan, lapic, mailbox, shared};
use crate::load::{self, Start};
use crate::platform::table::Table;
use crate::platform::{console, cpu, exit as machine, msr, smp};
use crate::println;
use crate::start::Machine;
use crate::vmx::field::Field;
use crate::vmx::instruction::{self, VmFail, read, write};
use crate::vmx::rest::Rest;
use crate::vmx::{enter, features, tsx, vmcs};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use sluice_abi::{Hpa, PeerIdx, map};
use sluice_control::{Manifest, Network};
use spin::{Mutex, Once};

static MACHINE: Once<&Machine> = Once::new();
static VMS: [Mutex<Option<Vm>>; MAX_VMS] = [const { Mutex::new(None) }; MAX_VMS];
static MSR_BITMAP: AtomicU64 = AtomicU64::new(0);
static WATCHDOG_TICKS: AtomicU64 = AtomicU64::new(0);
static GRACE_TICKS: AtomicU64 = AtomicU64::new(0);
static QUANTUM_TICKS: AtomicU64 = AtomicU64::new(0);
static PROCESSORS_DONE: AtomicUsize = AtomicUsize::new(0);

/// Builds every VM, runs them to their ends, reports. `Err`: what is wrong with the machine or the manifest.
pub fn run(machine: &'static Machine) -> Result<(), String> {
    MACHINE.call_once(|| machine);
    features::check().map_err(|missing| format!("{missing}"))?;
    build(machine)?;
    let processors = smp::cpu_count();
    for cpu in 1..processors {
        smp::run_on(cpu, processor);
    }
    processor(0);
    while PROCESSORS_DONE.load(SeqCst) < processors {
        core::hint::spin_loop();
    }
    report()
}

fn build(machine: &Machine) -> Result<(), String> {
    let manifest = &machine.manifest;
    let window = machine.module("window").ok_or("module \"window\": missing")?;
    let image = GateImage::load(window).map_err(|error| format!("{error}"))?;
    let no_memory = |name: &str| format!("vm \"{name}\": no memory left");
    let mut rams = Vec::new();
    for vm in &manifest.vms {
        let too_large = |_| format!("vm \"{}\": ram_mib = {}: more than this machine has left", vm.name, vm.ram_mib);
        rams.push(alloc_ram(u64::from(vm.ram_mib) << 20).map_err(too_large)?);
    }
    MSR_BITMAP.store(msr_bitmap().map_err(|_| no_memory("all"))?.0, SeqCst);
    WATCHDOG_TICKS.store(manifest.watchdog_ticks, SeqCst);
    GRACE_TICKS.store(manifest.grace_ticks.min(manifest.watchdog_ticks), SeqCst);
    QUANTUM_TICKS.store(manifest.quantum_ticks, SeqCst);
    for (id, config) in manifest.vms.iter().enumerate() {
        let start = load(machine, id, rams[id])?;
        let peers: Vec<PeerMemory> = manifest
            .peers_of(id)
            .zip(PeerIdx::all())
            .map(|(peer, index)| PeerMemory { offset: map::peer_base(index), ram: rams[peer] })
            .collect();
        let parts = Parts {
            id: id as u32,
            name: config.name.clone(),
            gate: config.gate,
            ram: rams[id],
            start,
            peers,
            quantum: manifest.quantum_ticks,
            image: &image,
        };
        *VMS[id].lock() = Some(Vm::new(parts).map_err(|_| no_memory(&config.name))?);
        place(manifest, id);
        mailbox::ask(id as u32);
    }
    let switch = lan::build(manifest, &rams).map_err(|_| no_memory("all"))?;
    shared::install(Network::new(manifest), switch);
    Ok(())
}

/// Fills RAM of VM `id` with what the manifest says.
fn load(machine: &Machine, id: usize, ram: Ram) -> Result<Start, String> {
    let config = &machine.manifest.vms[id];
    let modules = machine.modules_of(config)?;
    let image_elf = machine
        .module(&config.image)
        .ok_or_else(|| format!("vm \"{}\": image \"{}\": no such boot module", config.name, config.image))?;
    let contents =
        load::Contents { vm: &config.name, image: (&config.image, image_elf), args: &config.args, modules: &modules };
    load::load(ram.all(), &contents)
}

/// The manifest's processor where there is one, else one each as far as they go.
fn place(manifest: &Manifest, id: usize) {
    let cpu = manifest.vms[id].cpu.unwrap_or(id) % smp::cpu_count();
    mailbox::assign(id as u32, cpu);
    println!(
        "vm {}: gate {}, {} MiB, processor {cpu}",
        manifest.vms[id].name,
        manifest.vms[id].gate.name(),
        manifest.vms[id].ram_mib
    );
}

/// MSRs that a VM may read and write itself: FS and GS base. All others exit and are refused.
fn msr_bitmap() -> Result<Hpa, crate::platform::frames::OutOfFrames> {
    const FS_AND_GS_BASE: u64 = 0b11;
    /// Byte 1,024: reads of MSRs from C000_0000; byte 3,072: writes. See: SDM volume 3, "MSR-Bitmap Address".
    const READS: usize = 1024 / 8;
    const WRITES: usize = 3072 / 8;
    let bitmap = Table::alloc()?;
    for index in 0..Table::WORDS {
        bitmap.set(index, u64::MAX);
    }
    for area in [READS, WRITES] {
        bitmap.set(area + 0x100 / 64, !FS_AND_GS_BASE);
    }
    Ok(bitmap.hpa())
}

/// One processor's share: its VMs in turn, until all of them have ended.
fn processor(cpu: usize) {
    if let Err(error) = vmcs::enable(tsx::Leaf7::own()) {
        machine::finish(Err(&format!("processor {cpu}: VMX can't be turned on: {error}")));
    }
    // In this order: another processor holds the lock of a VM of its own for as long as that runs.
    let own: Vec<usize> =
        (0..MAX_VMS).filter(|&id| mailbox::cpu(id as u32) == cpu && VMS[id].lock().is_some()).collect();
    let shared = own.len() > 1;
    loop {
        let mut running = false;
        for &id in &own {
            let is_over = |vm: &Vm| vm.state != State::Running && !vm.console.is_pending();
            if let Some(vm) = VMS[id].lock().as_mut().filter(|vm| !is_over(vm)) {
                running = true;
                turn(vm, shared);
            }
        }
        if !running {
            break;
        }
    }
    PROCESSORS_DONE.fetch_add(1, SeqCst);
}

/// Runs a VM until it ends or gives the processor away.
fn turn(vm: &mut Vm, shared: bool) {
    if waits(vm) {
        return core::hint::spin_loop();
    }
    if let Err(error) = activate(vm) {
        vm.stop(format!("its VMCS can't be made current: the processor refuses {}", error.0));
        return;
    }
    vm.xsave.load();
    vm.rest.load();
    let quantum = if shared { &QUANTUM_TICKS } else { &WATCHDOG_TICKS }.load(SeqCst);
    vm.turn_ends = cpu::ticks().saturating_add(quantum);
    while step(vm) == Next::Resume {}
    vm.xsave.save();
    vm.rest = Rest::save();
    if vm.state != State::Running {
        start_again(vm);
    }
}

/// Whether the VM has nothing to execute: it ended, sleeps, prints, or ended so lately that it may not start again yet.
fn waits(vm: &mut Vm) -> bool {
    shared::spread_news(vm);
    let held = vm.console.print(&console::STREAM) == Progress::Held;
    let early = !vm.launched && cpu::ticks() < vm.news.not_before();
    vm.state != State::Running || held || early || vm.lapic.sleeps(mailbox::line(vm.id))
}

/// Starts a VM that ended again, as often as the manifest says.
fn start_again(vm: &mut Vm) {
    let Some(machine) = MACHINE.get() else { return };
    let id = vm.id as usize;
    let times = machine.manifest.vms[id].restarts;
    if vm.restarts == times {
        return;
    }
    let started = load(machine, id, vm.ram).and_then(|start| vm.restart(start).map_err(|error| format!("{error}")));
    match started {
        Ok(()) => vm.console.say(format_args!("vm {} starts again, {} of {times}", vm.name, vm.restarts)),
        Err(error) => vm.console.say(format_args!("vm {} does not start again: {error}", vm.name)),
    }
}

fn activate(vm: &mut Vm) -> Result<(), VmFail> {
    // This processor may have served another VM, with other memory at the same addresses.
    vm.host.load();
    if vm.launched {
        return instruction::vmptrld(vm.vmcs.hpa());
    }
    let setup = vmcs::Setup {
        vpid: vm.vpid(),
        home: vm.views.home(),
        eptp_list: vm.views.list(),
        msr_bitmap: Hpa(MSR_BITMAP.load(SeqCst)),
        host_cr3: vm.host.root(),
        entry: vm.start.entry,
        stack: vm.start.stack,
        cr3: vm.start.cr3,
    };
    vmcs::init(vm.vmcs, &setup)
}

/// One entry, one exit.
fn step(vm: &mut Vm) -> Next {
    if vm.console.is_pending() && !vm.in_window() && vm.console.print(&console::STREAM) == Progress::Held {
        return Next::Switch;
    }
    shared::spread_news(vm);
    if vm.serving {
        lan::serve(vm);
        return after_timer(vm);
    }
    vm.answer();
    lapic::deliver(vm);
    // All of these are fixed points in time: whatever exits come between, a call gets no more.
    let due = vm.watched.as_ref().map_or(vm.turn_ends, |watched| watched.ends).min(vm.lapic.deadline());
    let reminder = reminder(vm);
    vm.reminded = reminder < due;
    let ends = due.min(reminder);
    write(Field::PreemptionTimer, preemption_timer(ends.saturating_sub(cpu::ticks())));
    if enter::enter(&mut vm.registers, core::mem::replace(&mut vm.launched, true)).is_err() {
        return vm.stop(format!("VM entry refused: VM-instruction error {}", read(Field::InstructionError)));
    }
    let next = exit::handle(vm);
    if !vm.in_window() {
        vm.watched = None;
        mailbox::outside(vm.id);
    }
    next
}

/// When the monitor has to look after the VM although nothing of its own is due: its senders are to be called, lines wait to be printed, or its
/// device's line may have been raised.
fn reminder(vm: &Vm) -> u64 {
    let again = vm.console.is_pending() || vm.lapic.is_told();
    let quantum = if again { QUANTUM_TICKS.load(SeqCst) } else { u64::MAX };
    vm.news.deadline().min(cpu::ticks().saturating_add(quantum))
}

/// The preemption timer ran out where the VM can be left alone: its turn is over, or something of its own is due.
pub fn after_timer(vm: &Vm) -> Next {
    if cpu::ticks() < vm.turn_ends { Next::Resume } else { Next::Switch }
}

/// Ticks that a call may go on after the watchdog first saw it.
pub fn grace_ticks() -> u64 {
    GRACE_TICKS.load(SeqCst)
}

/// The preemption timer counts at a rate of 2^n TSC ticks. See: SDM volume 3, appendix "Miscellaneous Data".
fn preemption_timer(ticks: u64) -> u64 {
    const VMX_MISC: u32 = 0x485;
    (ticks >> (msr::read(VMX_MISC) & 31)).clamp(1, u64::from(u32::MAX))
}

/// Exits by VM and reason, and the verdict.
fn report() -> Result<(), String> {
    let mut verdict = Ok(());
    for vm in VMS.iter().filter_map(|slot| slot.lock().take()) {
        let mut line = format!("exits {} total={}", vm.name, vm.exits.total());
        for (number, name) in exit::reason::NAMES {
            let count = vm.exits.by_reason[usize::from(number)];
            if count > 0 {
                // Writing to a String does not fail.
                let _ = write!(line, " {name}={count}");
            }
        }
        println!(
            "{line} aborts={} crossing={} revocations={} interrupts={} restarts={}",
            vm.aborts,
            vm.crossing_exits,
            vm.revocations,
            vm.lapic.injected(),
            vm.restarts
        );
        lan::report(vm.id, &vm.name);
        match &vm.state {
            State::Exited(0) | State::Running => {}
            State::Exited(code) if verdict.is_ok() => verdict = Err(format!("vm {} exit code {code}", vm.name)),
            State::Stopped(reason) if verdict.is_ok() => verdict = Err(format!("vm {} stopped: {reason}", vm.name)),
            _ => {}
        }
    }
    verdict
}
