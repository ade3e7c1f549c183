//! What the processors share: every VM's device, and who may reach whom.

use super::{Vm, mailbox};
use crate::platform::{cpu, smp};
use alloc::vec::Vec;
use sluice_abi::directory::Directory;
use sluice_control::{Event, Network};
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
    if !matches!(event, Some(Event::QueuesReady | Event::Reset)) {
        return;
    }
    let senders = ask_senders(vm.id);
    if event == Some(Event::Reset) {
        vm.revocations += 1;
        wait_for(vm.id, senders.into_iter().filter(|&sender| mailbox::reaches(sender, vm.id)));
    }
    vm.news.add();
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
