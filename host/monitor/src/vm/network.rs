//! What the processors share: every VM's network device, who may reach whom, and the switch. VMs are known by their ids
//! here.

use super::mailbox;
use super::ring_code::SharedSwitch;
use crate::platform::{cpu, smp};
use alloc::vec::Vec;
use sluice_abi::run::Run;
use sluice_control::{Counters, Directory, Event, Network, RunError, Served, Tap};
use sluice_flows::{FlowSwitches, Windows};
use spin::Mutex;

static SHARED: Mutex<Option<Shared>> = Mutex::new(None);

struct Shared {
    network: Network,
    switch: SharedSwitch,
    flows: FlowSwitches,
}

/// Puts all of that in place, before any VM runs.
pub fn install(network: Network, switch: SharedSwitch, flows: FlowSwitches) {
    *SHARED.lock() = Some(Shared { network, switch, flows });
}

/// Calls `act` with the in-VM switches.
pub fn with_flows(act: impl FnOnce(&mut FlowSwitches)) {
    with(|shared| act(&mut shared.flows));
}

/// Looks after the flow tables. Returns the VMs whose windows have to change.
pub fn turn_flows(now: u64) -> Vec<(u32, Windows)> {
    let mut changes = Vec::new();
    with_flows(|flows| flows.turn(now, |vm, windows| changes.push((vm, windows))));
    changes
}

/// Closes the windows of VM `vm`, or opens them, once it has read its directory.
pub fn close(vm: u32, closed: bool) {
    with(|shared| shared.network.close(vm, closed));
}

/// Notes that the windows of VM `vm` are closed.
pub fn flows_closed(vm: u32, now: u64) {
    with_flows(|flows| flows.closed(vm, now));
}

/// Calls `act` with network and switch; the default result if they are not in place.
fn with<R: Default>(act: impl FnOnce(&mut Shared) -> R) -> R {
    SHARED.lock().as_mut().map_or_else(R::default, act)
}

/// Serves VM `vm`'s port of the switch, and raises the interrupt lines of devices that have news for their drivers.
pub fn serve(vm: u32, now: u64, tap: &mut impl Tap) -> Served {
    with(|Shared { network, switch, flows }| {
        let served = switch.get().serve(network, vm, now, tap, flows);
        for told in &served.told {
            network.tell(told.vm);
            mailbox::set_line(told.vm, true, smp::current());
        }
        // A command may have changed the configuration.
        mailbox::set_line(vm, network.interrupts(vm), smp::current());
        served
    })
}

/// Returns what the switch counted at VM `vm`'s port.
pub fn counters(vm: u32) -> Counters {
    with(|shared| shared.switch.get().counters(vm))
}

/// Reads register `offset` of VM `vm`'s device.
pub fn device_read(vm: u32, offset: u32) -> u32 {
    with(|shared| shared.network.read(vm, offset))
}

/// Writes register `offset` of VM `vm`'s device. Returns what the write means for others.
pub fn device_write(vm: u32, offset: u32, value: u32) -> Option<Event> {
    with(|Shared { network, .. }| {
        let event = network.write(vm, offset, value);
        mailbox::set_line(vm, network.interrupts(vm), smp::current());
        event
    })
}

/// Adds a run to VM `vm`'s packet memory. Its senders do not know of it yet.
pub fn add_run(vm: u32, run: Run) -> Result<(), RunError> {
    SHARED.lock().as_mut().map_or(Ok(()), |shared| shared.network.add_run(vm, run))
}

/// Removes a run of VM `vm`'s packet memory. Its senders do not know of that yet.
pub fn remove_run(vm: u32, offset: u64, len: u64) -> Result<(), RunError> {
    SHARED.lock().as_mut().map_or(Ok(()), |shared| shared.network.remove_run(vm, offset, len))
}

/// Returns VM `vm`'s packet memory as ranges without a gap: offset and length of each.
pub fn extents(vm: u32) -> Vec<(u64, u64)> {
    with(|shared| shared.network.extents(vm))
}

/// Returns VM `vm`'s directory as it is now.
pub fn directory(vm: u32) -> Directory {
    with(|shared| shared.network.directory(vm))
}

/// Removes the device of VM `vm`, which ended. No sender can use it any more on return (rule G13).
pub fn remove(vm: u32) {
    with(|shared| {
        shared.flows.end(vm);
        shared.network.remove(vm);
        mailbox::set_line(vm, false, smp::current());
        mailbox::listen(vm, false);
    });
    wait_for(vm, ask_senders(vm).into_iter());
}

/// Gives VM `vm`, which starts again, its device back. Its senders learn of it when the driver starts it.
pub fn restart(vm: u32) {
    with(|shared| {
        shared.network.close(vm, false);
        shared.network.restart(vm);
        shared.flows.start(vm, cpu::ticks());
    });
}

/// Returns the VMs that may send to `vm`.
pub fn senders_to(vm: u32) -> Vec<u32> {
    with(|shared| shared.network.senders_to(vm).collect())
}

/// Asks all VMs that may send to `vm` to read their directories before they execute again. Returns their ids.
pub fn ask_senders(vm: u32) -> Vec<u32> {
    let senders = senders_to(vm);
    senders.iter().for_each(|&sender| mailbox::ask(sender));
    senders
}

/// Returns once none of `senders`, which were asked, can still act on what its directory said before (rule G13).
///
/// `vm` is not in a window meanwhile, and says so: two VMs that send to each other may both wait here.
pub fn wait_for(vm: u32, senders: impl Iterator<Item = u32>) {
    mailbox::outside(vm);
    senders.for_each(|sender| mailbox::wait(sender, smp::current()));
}
