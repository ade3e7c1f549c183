//! What the processors share: every VM's device, and who may reach whom.

use super::{Vm, mailbox};
use crate::platform::{cpu, smp};
use alloc::vec::Vec;
use sluice_abi::run::Run;
use sluice_control::{Directory, Event, Network, RunError};
use spin::Mutex;

static NETWORK: Mutex<Option<Network>> = Mutex::new(None);

/// Puts the network in place, before any VM runs.
pub fn install(network: Network) {
    *NETWORK.lock() = Some(network);
}

/// Reads register `offset` of VM `vm`'s device.
pub fn device_read(vm: u32, offset: u32) -> u32 {
    NETWORK.lock().as_mut().map_or(0, |network| network.read(vm, offset))
}

/// Writes a register of the VM's device. What that takes away no sender can use any more on return (rule G13); all else is news to them.
pub fn device_write(vm: &mut Vm, offset: u32, value: u32) {
    let event = NETWORK.lock().as_mut().and_then(|network| network.write(vm.id, offset, value));
    if event.is_none() {
        return;
    }
    let senders = ask_senders(vm.id);
    if event == Some(Event::Reset) {
        vm.revocations += 1;
        wait_for(vm.id, senders.into_iter().filter(|&sender| mailbox::reaches(sender, vm.id)));
    }
    vm.news.add();
}

/// Adds a run to VM `vm`'s packet memory. Its senders have not heard of that.
pub fn add_run(vm: u32, run: Run) -> Result<(), RunError> {
    NETWORK.lock().as_mut().map_or(Ok(()), |network| network.add_run(vm, run))
}

/// Removes a run of VM `vm`'s packet memory. Its senders have not heard of that.
pub fn remove_run(vm: u32, offset: u64, len: u64) -> Result<(), RunError> {
    NETWORK.lock().as_mut().map_or(Ok(()), |network| network.remove_run(vm, offset, len))
}

/// VM `vm`'s packet memory, as ranges without a gap: offset and bytes.
pub fn extents(vm: u32) -> Vec<(u64, u64)> {
    NETWORK.lock().as_ref().map(|network| network.extents(vm)).unwrap_or_default()
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
    if let Some(network) = NETWORK.lock().as_mut() {
        network.remove(vm.id);
    }
    vm.revocations += 1;
    wait_for(vm.id, ask_senders(vm.id).into_iter());
    vm.news.told(cpu::ticks(), false);
}

/// The VM is there again. Its senders hear of it when its device starts.
pub fn back(vm: u32) {
    if let Some(network) = NETWORK.lock().as_mut() {
        network.restart(vm);
    }
}

/// VM `vm`'s directory as it is now.
pub fn directory(vm: u32) -> Directory {
    NETWORK.lock().as_mut().map_or_else(Directory::default, |network| network.directory(vm))
}

fn senders_to(vm: u32) -> Vec<u32> {
    NETWORK.lock().as_ref().map(|network| network.senders_to(vm).collect()).unwrap_or_default()
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
