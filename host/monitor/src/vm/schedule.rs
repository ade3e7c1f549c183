//! All VMs, from start to report: which processor runs which VM, and for how long.

use super::boot_files::BootFiles;
use super::build::{build, load_ram};
use super::console::Progress;
use super::exit::{self, interrupts};
use super::mailbox::{self, MAX_VMS};
use super::vm::{Next, State, Vm};
use super::{flows, lan};
use crate::platform::{console, cpu, msr, smp, verdict};
use crate::println;
use crate::vmx::field::Field;
use crate::vmx::instruction::{self, VmFail, read, write};
use crate::vmx::unswitched::UnswitchedState;
use crate::vmx::{features, reason, tsx, vmcs};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use spin::{Mutex, Once};

static FILES: Once<BootFiles> = Once::new();
static VMS: [Mutex<Option<Vm>>; MAX_VMS] = [const { Mutex::new(None) }; MAX_VMS];
static PROCESSORS_DONE: AtomicUsize = AtomicUsize::new(0);

/// Builds every VM of the manifest, runs all of them to their ends, and reports. The error says what is wrong with the
/// machine or the manifest, or which VM failed.
pub fn run(files: BootFiles) -> Result<(), String> {
    let files = FILES.call_once(|| files);
    features::check().map_err(|missing| format!("{missing}"))?;
    build(files, |id, vm| *VMS[id].lock() = Some(vm))?;
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

/// Runs the VMs of processor `cpu` in turn, until all of them have ended.
fn processor(cpu: usize) {
    if let Err(error) = vmcs::enable(tsx::Leaf7::own()) {
        verdict::finish(Err(&format!("processor {cpu}: VMX can't be turned on: {error}")));
    }
    // The processor is compared first: another processor holds the lock of a VM of its own for as long as that runs.
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

/// Runs a VM until it ends or gives the processor away. `shared` says whether the processor has other VMs.
fn turn(vm: &mut Vm, shared: bool) {
    if waits(vm) {
        return core::hint::spin_loop();
    }
    if let Err(error) = activate(vm) {
        vm.stop(format!("its VMCS can't be made current: the processor refuses {}", error.0));
        return;
    }
    vm.xsave.load();
    vm.unswitched.load();
    flows::look_after(vm.id);
    let len = if shared { vm.limits.quantum } else { vm.limits.watchdog };
    vm.turn_ends = cpu::ticks().saturating_add(len);
    while step(vm) == Next::Resume {}
    vm.xsave.save();
    vm.unswitched = UnswitchedState::save();
    if vm.state != State::Running {
        start_again(vm);
    }
}

/// Returns whether the VM has nothing to execute: it ended, sleeps, prints, or ended too lately to start again yet.
fn waits(vm: &mut Vm) -> bool {
    vm.spread_news();
    let held = vm.console.print(&console::STREAM) == Progress::Held;
    let early = !vm.launched && cpu::ticks() < vm.news.not_before();
    vm.state != State::Running || held || early || vm.lapic.sleeps(mailbox::line(vm.id))
}

/// Starts a VM that ended again, as often as the manifest says.
fn start_again(vm: &mut Vm) {
    let Some(files) = FILES.get() else { return };
    let id = vm.id as usize;
    let times = files.manifest.vms[id].restarts;
    if vm.restarts == times {
        return;
    }
    let started = load_ram(files, id, vm.ram).and_then(|start| vm.restart(start).map_err(|error| format!("{error}")));
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
        msr_bitmap: vm.msr_bitmap,
        host_cr3: vm.host.root(),
        entry: vm.start.entry,
        stack: vm.start.stack,
        cr3: vm.start.cr3,
    };
    vmcs::init(vm.vmcs, &setup)
}

/// Enters the VM once and handles its exit.
fn step(vm: &mut Vm) -> Next {
    lan::report_if_due(vm);
    if vm.console.is_pending() && !vm.in_window() && vm.console.print(&console::STREAM) == Progress::Held {
        return Next::Switch;
    }
    vm.spread_news();
    if vm.serving {
        lan::serve(vm);
        return vm.after_timer();
    }
    vm.answer();
    interrupts::deliver(vm);
    // All of these are fixed points in time: a call gets no more time, however many exits come between.
    let due = vm.watched.as_ref().map_or(vm.turn_ends, |watched| watched.ends).min(vm.lapic.deadline());
    let reminder = reminder(vm);
    vm.reminded = reminder < due;
    let ends = due.min(reminder);
    write(Field::PreemptionTimer, preemption_timer(ends.saturating_sub(cpu::ticks())));
    if instruction::enter(&mut vm.registers, core::mem::replace(&mut vm.launched, true)).is_err() {
        return vm.stop(format!("VM entry refused: VM-instruction error {}", read(Field::InstructionError)));
    }
    let next = exit::handle(vm);
    if !vm.in_window() {
        vm.watched = None;
        mailbox::outside(vm.id);
    }
    next
}

/// Returns when the monitor has to look after the VM although nothing of its own is due: its senders are to be called,
/// lines wait to be printed, its device's line may have been raised, or its counters are to be said.
fn reminder(vm: &Vm) -> u64 {
    let again = vm.console.is_pending() || vm.lapic.is_line_enabled();
    let quantum = if again { vm.limits.quantum } else { u64::MAX };
    let report = if vm.limits.report > 0 { vm.report_due } else { u64::MAX };
    vm.news.deadline().min(cpu::ticks().saturating_add(quantum)).min(report)
}

/// Returns the value of the preemption timer for `ticks` ticks of the time-stamp counter: the timer counts once in 2^n
/// of them.
/// See: SDM volume 3, appendix "Miscellaneous Data".
fn preemption_timer(ticks: u64) -> u64 {
    const VMX_MISC: u32 = 0x485;
    (ticks >> (msr::read(VMX_MISC) & 31)).clamp(1, u64::from(u32::MAX))
}

/// Prints the exits by VM and reason. The error names the first VM that failed.
fn report() -> Result<(), String> {
    let mut verdict = Ok(());
    for vm in VMS.iter().filter_map(|slot| slot.lock().take()) {
        let mut line = format!("exits {} total={}", vm.name, vm.exits.total());
        for (number, name) in reason::NAMES {
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
        lan::end(&vm);
        match &vm.state {
            State::Exited(0) | State::Running => {}
            State::Exited(code) if verdict.is_ok() => verdict = Err(format!("vm {} exit code {code}", vm.name)),
            State::Stopped(reason) if verdict.is_ok() => verdict = Err(format!("vm {} stopped: {reason}", vm.name)),
            _ => {}
        }
    }
    verdict
}
