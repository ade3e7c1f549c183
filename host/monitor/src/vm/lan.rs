//! The switch behind the VMs' transmit queues: who serves it, what is written down of it, and what it counted.
//!
//! A VM's transmit queues are served by its own processor, in the VM's time: the VM does not execute until they are
//! empty, though others of its processor may. The lock that all processors share is held for one service, which is
//! bounded. What a window carries does not come by here.

use super::console::Console;
use super::ram::Ram;
use super::{Vm, shared};
use crate::platform::cpu;
use crate::platform::frames::{self, OutOfFrames};
use crate::println;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use sluice_abi::map;
use sluice_control::{Manifest, PCAP_HEADER, Switch, Tap, pcap_record};
use sluice_memory::PeerSlice;
use spin::Once;

/// Bytes of a frame that a capture has at most: a console is no disk.
const SNAP: usize = 96;
/// Ticks that count as a microsecond in a capture: the monitor knows no rate of the counter.
const TICKS: u64 = 1000;

/// The names of the VMs' captures.
static CAPTURES: Once<Vec<Option<String>>> = Once::new();

/// The switch for the VMs of `manifest`, whose RAM is `rams`. Says how each capture begins.
pub fn build(manifest: &Manifest, rams: &[Ram]) -> Result<Switch, OutOfFrames> {
    let room = Ram { hpa: frames::alloc_contiguous(Switch::ROOM_LEN, map::PAGE)?, len: Switch::ROOM_LEN };
    let rams: Vec<_> = rams.iter().map(Ram::all).collect();
    let switch = Switch::new(manifest, &rams, room.all()).ok_or(OutOfFrames)?;
    let captures = CAPTURES.call_once(|| manifest.vms.iter().map(|vm| vm.tap.clone()).collect());
    captures.iter().flatten().for_each(|name| println!("file {name} {}", hex(&PCAP_HEADER)));
    Ok(switch)
}

/// Serves the VM's port, as far as one service goes.
pub fn serve(vm: &mut Vm) {
    let now = cpu::ticks();
    let mut lines = Lines { captures: CAPTURES.get().map_or(&[], Vec::as_slice), now, console: &mut vm.console };
    let served = shared::serve(vm.id, now, &mut lines);
    vm.serving = served.more;
    if let Some(event) = served.event {
        shared::changed(vm, event);
    }
}

/// Says how captures end, and what was counted at the port of VM `vm`, which is called `name`, if anything.
pub fn report(vm: u32, name: &str) {
    if let Some(Some(capture)) = CAPTURES.get().and_then(|captures| captures.get(vm as usize)) {
        println!("file {capture} end");
    }
    let counted = shared::with_switch(|switch, _| switch.counters(vm));
    let mut line = String::new();
    for (name, count) in counted.named().into_iter().filter(|(_, count)| *count > 0) {
        // Writing to a String does not fail.
        let _ = write!(line, " {name}={count}");
    }
    if !line.is_empty() {
        println!("switch {name}{line}");
    }
}

/// Captures as lines of the monitor's, among those of the VM that is served.
struct Lines<'l> {
    captures: &'l [Option<String>],
    now: u64,
    console: &'l mut Console,
}

impl Tap for Lines<'_> {
    fn frame(&mut self, vm: u32, frame: PeerSlice<'_>) {
        let Some(Some(name)) = self.captures.get(vm as usize) else { return };
        let (len, mut bytes) = ((frame.len() as usize).min(SNAP), [0; SNAP]);
        // It is as long as that.
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
