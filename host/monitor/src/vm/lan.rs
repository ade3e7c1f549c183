//! The switch behind the VMs' transmit queues: when a VM is served, which frames are captured, and what was counted.
//!
//! A VM's transmit queues are served by its own processor, in the VM's time: the VM does not execute until they are
//! empty, though others of its processor may. The lock that all processors share is held for one service, which is
//! bounded. Packets that a window carries do not pass the switch.

use super::console::Console;
use super::vm::Vm;
use super::{flows, network};
use crate::platform::cpu;
use crate::println;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use sluice_control::{Manifest, PCAP_HEADER, Tap, pcap_record};
use sluice_memory::PeerSlice;
use spin::Once;

/// Largest number of bytes of a frame in a capture, which is printed.
const SNAP: usize = 96;
/// Ticks that count as a microsecond in a capture: the monitor does not know the rate of the time-stamp counter.
const TICKS: u64 = 1000;

/// The names of the VMs' captures.
static CAPTURES: Once<Vec<Option<String>>> = Once::new();

/// Prints the header of each capture that `manifest` asks for.
pub fn begin_captures(manifest: &Manifest) {
    let captures = CAPTURES.call_once(|| manifest.vms.iter().map(|vm| vm.tap.clone()).collect());
    captures.iter().flatten().for_each(|name| println!("file {name} {}", hex(&PCAP_HEADER)));
}

/// Serves the VM's port once.
pub fn serve(vm: &mut Vm) {
    let now = cpu::ticks();
    let mut lines = Lines { captures: CAPTURES.get().map_or(&[], Vec::as_slice), now, console: &mut vm.console };
    let served = network::serve(vm.id, now, &mut lines);
    vm.serving = served.more;
    if let Some(event) = served.event {
        vm.device_changed(event);
    }
    flows::look_after(vm.id);
}

/// Prints the end of the VM's capture, and its counters.
pub fn end(vm: &Vm) {
    if let Some(Some(capture)) = CAPTURES.get().and_then(|captures| captures.get(vm.id as usize)) {
        println!("file {capture} end");
    }
    counters(vm.id, &vm.name).iter().for_each(|line| println!("{line}"));
}

/// Says the VM's counters, if it is time.
pub fn report_if_due(vm: &mut Vm) {
    if vm.limits.report == 0 || cpu::ticks() < vm.report_due {
        return;
    }
    // Nothing is counted yet when a VM has its first turn.
    if vm.report_due > 0 {
        counters(vm.id, &vm.name).iter().for_each(|line| vm.console.say(format_args!("{line}")));
    }
    vm.report_due = cpu::ticks().saturating_add(vm.limits.report);
}

/// Returns the lines with the counters of the port of VM `vm`, which is called `name`, that are not 0, and those of its
/// flow table.
fn counters(vm: u32, name: &str) -> Vec<String> {
    let counted = network::counters(vm);
    let mut line = String::new();
    for (name, count) in counted.named().into_iter().filter(|(_, count)| *count > 0) {
        // Writing to a String does not fail.
        let _ = write!(line, " {name}={count}");
    }
    let port = (!line.is_empty()).then(|| format!("switch {name}{line}"));
    port.into_iter().chain(flows::line(vm, name)).collect()
}

/// Prints captured frames as lines of the monitor's, on the console of the VM that is served.
struct Lines<'l> {
    captures: &'l [Option<String>],
    now: u64,
    console: &'l mut Console,
}

impl Tap for Lines<'_> {
    fn frame(&mut self, vm: u32, frame: PeerSlice<'_>) {
        let Some(Some(name)) = self.captures.get(vm as usize) else { return };
        let (len, mut bytes) = ((frame.len() as usize).min(SNAP), [0; SNAP]);
        // The frame has at least `len` bytes.
        let _ = frame.copy_to_slice(0, &mut bytes[..len]);
        let record = pcap_record(self.now / TICKS, len as u32, frame.len() as u32);
        self.console.say(format_args!("file {name} {}{}", hex(&record), hex(&bytes[..len])));
    }

    fn has_room(&self) -> bool {
        self.console.has_room()
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
