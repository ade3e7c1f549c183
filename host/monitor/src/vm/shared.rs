//! What the processors share: every VM's device, who may reach whom, and the switch.
#![allow(unsafe_code, reason = "says that all processors may use the switch, one at a time")]

use super::{Vm, mailbox};
use crate::platform::{cpu, smp};
use alloc::vec::Vec;
use sluice_abi::run::Run;
use sluice_control::{Directory, Event, Network, RunError, Served, Switch, Tap};
use spin::Mutex;

static SHARED: Mutex<Option<Shared>> = Mutex::new(None);

struct Shared {
    network: Network,
    switch: Switch,
}

// SAFETY: what its pointers lead to, the VMs' RAM and the switch's own room, is mapped at the same addresses on every processor and never
// unmapped; nothing in it belongs to the processor that made it.
unsafe impl Send for Shared {}

/// Puts network and switch in place, before any VM runs.
pub fn install(network: Network, switch: Switch) {
    *SHARED.lock() = Some(Shared { network, switch });
}

/// Serves VM `vm`'s port of the switch, and raises the lines of devices whose drivers are to be told.
pub fn serve(vm: u32, now: u64, tap: &mut impl Tap) -> Served {
    with_switch(|switch, network| {
        let served = switch.serve(network, vm, now, tap);
        for told in &served.told {
            network.tell(told.vm);
            mailbox::set_line(told.vm, true, smp::current());
        }
        // A command may have changed the configuration.
        mailbox::set_line(vm, network.interrupts(vm), smp::current());
        served
    })
}

/// Lets `act` work with the switch, if it is in place; no device changes meanwhile.
pub fn with_switch<R: Default>(act: impl FnOnce(&mut Switch, &mut Network) -> R) -> R {
    SHARED.lock().as_mut().map_or_else(R::default, |shared| act(&mut shared.switch, &mut shared.network))
}

/// Reads register `offset` of VM `vm`'s device.
pub fn device_read(vm: u32, offset: u32) -> u32 {
    SHARED.lock().as_mut().map_or(0, |shared| shared.network.read(vm, offset))
}

/// Writes a register of the VM's device. What that takes away no sender can use any more on return (rule G13); all else is news to them.
pub fn device_write(vm: &mut Vm, offset: u32, value: u32) {
    let event = SHARED.lock().as_mut().and_then(|shared| {
        let event = shared.network.write(vm.id, offset, value);
        mailbox::set_line(vm.id, shared.network.interrupts(vm.id), smp::current());
        event
    });
    match event {
        Some(Event::Notified) => vm.serving = true,
        Some(event) => changed(vm, event),
        None => {}
    }
}

/// The VM's device is another one for its senders.
pub fn changed(vm: &mut Vm, event: Event) {
    let senders = ask_senders(vm.id);
    if event == Event::Reset {
        vm.revocations += 1;
        wait_for(vm.id, senders.into_iter().filter(|&sender| mailbox::reaches(sender, vm.id)));
    }
    vm.news.add();
}

/// Adds a run to VM `vm`'s packet memory. Its senders have not heard of that.
pub fn add_run(vm: u32, run: Run) -> Result<(), RunError> {
    SHARED.lock().as_mut().map_or(Ok(()), |shared| shared.network.add_run(vm, run))
}

/// Removes a run of VM `vm`'s packet memory. Its senders have not heard of that.
pub fn remove_run(vm: u32, offset: u64, len: u64) -> Result<(), RunError> {
    SHARED.lock().as_mut().map_or(Ok(()), |shared| shared.network.remove_run(vm, offset, len))
}

/// VM `vm`'s packet memory, as ranges without a gap: offset and bytes.
pub fn extents(vm: u32) -> Vec<(u64, u64)> {
    SHARED.lock().as_ref().map(|shared| shared.network.extents(vm)).unwrap_or_default()
}

/// Whether the VM would take its senders' time again before a quantum has passed.
pub fn is_early(vm: &Vm) -> bool {
    cpu::ticks() < vm.news.not_before() && senders_to(vm.id).into_iter().any(|sender| mailbox::reaches(sender, vm.id))
}

/// Returns once no sender acts on what the directory said of the VM before (rule G13). Those that do not reach the VM look when they do.
pub fn tell(vm: &mut Vm) {
    let senders = ask_senders(vm.id);
    let reaching: Vec<_> = senders.into_iter().filter(|&sender| mailbox::reaches(sender, vm.id)).collect();
    if !reaching.is_empty() {
        wait_for(vm.id, reaching.into_iter());
        vm.news.interrupted(cpu::ticks());
    }
}

/// Calls those of the VM's senders that have not looked yet, if that is due.
pub fn spread_news(vm: &mut Vm) {
    let (now, own) = (cpu::ticks(), vm.id);
    if vm.news.is_due(now) {
        let senders = senders_to(own).into_iter();
        let called = senders.filter(|&sender| mailbox::call(sender, smp::current())).count();
        vm.news.told(now, called > 0);
    }
}

/// The VM is gone: so is its device.
pub fn gone(vm: &mut Vm) {
    if let Some(shared) = SHARED.lock().as_mut() {
        shared.network.remove(vm.id);
        mailbox::set_line(vm.id, false, smp::current());
        mailbox::listen(vm.id, false);
    }
    vm.revocations += 1;
    wait_for(vm.id, ask_senders(vm.id).into_iter());
    vm.news.told(cpu::ticks(), false);
}

/// The VM is there again. Its senders hear of it when its device starts.
pub fn back(vm: u32) {
    if let Some(shared) = SHARED.lock().as_mut() {
        shared.network.restart(vm);
    }
}

/// VM `vm`'s directory as it is now.
pub fn directory(vm: u32) -> Directory {
    SHARED.lock().as_mut().map_or_else(Directory::default, |shared| shared.network.directory(vm))
}

fn senders_to(vm: u32) -> Vec<u32> {
    SHARED.lock().as_ref().map(|shared| shared.network.senders_to(vm).collect()).unwrap_or_default()
}

/// Asks all who send to `vm` to look before they go on; who they are.
fn ask_senders(vm: u32) -> Vec<u32> {
    let senders = senders_to(vm);
    senders.iter().for_each(|&sender| mailbox::ask(sender));
    senders
}

/// Returns once none of `senders`, which were asked, can still act on what was before (rule G13).
///
/// `vm` is not in a window meanwhile, and says so: two VMs that send to each other may both be here.
fn wait_for(vm: u32, senders: impl Iterator<Item = u32>) {
    mailbox::outside(vm);
    senders.for_each(|sender| mailbox::wait(sender, smp::current()));
}
