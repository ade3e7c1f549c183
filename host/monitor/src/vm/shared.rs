//! What the processors share: every VM's device, and who may reach whom.

use super::{Vm, mailbox};
use crate::platform::smp;
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

/// Writes a register of the VM's device, and tells the VM's senders what that changed.
pub fn device_write(vm: &mut Vm, offset: u32, value: u32) {
    let event = NETWORK.lock().as_mut().and_then(|network| network.write(vm.id, offset, value));
    vm.revocations += u64::from(event == Some(Event::Reset));
    if event.is_some() {
        tell_senders(vm.id);
    }
}

/// The VM is gone: so is its device.
pub fn gone(vm: &mut Vm) {
    if let Some(network) = NETWORK.lock().as_mut() {
        network.remove(vm.id);
    }
    vm.revocations += 1;
    tell_senders(vm.id);
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

/// Returns once no sender of `vm` can still act on what was before (rule G13).
///
/// `vm` is not in a window meanwhile, and says so: two VMs that send to each other may both be here.
fn tell_senders(vm: u32) {
    mailbox::outside(vm);
    let senders: Vec<u32> = NETWORK.lock().as_ref().map(|network| network.senders_to(vm).collect()).unwrap_or_default();
    for &sender in &senders {
        mailbox::ask(sender);
    }
    for &sender in &senders {
        mailbox::wait(sender, smp::current());
    }
}
