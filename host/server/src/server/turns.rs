//! The turn of one VM, and its last turns: what it sent before it left, or before the server ends, is taken.

use super::Server;
use crate::ports::Port;
use std::collections::BTreeMap;

/// Last turns of a VM at most: nobody waits longer for one that goes on sending.
const TURNS: u32 = 1_024;

impl Server {
    /// Gives VM `vm` its turn if it is there. Returns whether it has sent something.
    pub(super) fn serve(&mut self, vm: usize) -> bool {
        if !self.switch.rings().get(vm).is_some_and(Port::is_there) {
            return false;
        }
        let now = self.begin.elapsed().as_nanos() as u64;
        let Self { network, switch, captures, .. } = self;
        let served = switch.poll(network, vm as u32, now, captures, &mut ());
        // Of one queue the driver is told once, by the last word.
        let told: BTreeMap<_, _> = served.told.iter().map(|told| ((told.vm, told.queue), told)).collect();
        for told in told.into_values() {
            if let Some(connection) = self.connection(told.vm as usize) {
                connection.notify(told);
            }
        }
        if served.event.is_some() {
            self.close_windows_on(vm);
            self.tell_senders_to(vm);
        }
        if let Some(fault) = self.connection(vm).and_then(|connection| connection.fault().map(str::to_owned)) {
            self.close(vm, &fault, false);
        }
        self.lose_tap(vm);
        served.more
    }

    /// Takes what VM `vm` has sent. The memory of a front-end that has left stays mapped up to the end of its session.
    pub(super) fn take_rest(&mut self, vm: usize) {
        for _ in 0..TURNS {
            if !self.serve(vm) {
                break;
            }
        }
    }
}
