//! The turn of one VM or tap, and the last turns of a VM: what it sent before it left, or before the server ends, is
//! taken.

use super::Server;
use super::flows::now;
use crate::ports::Port;
use std::collections::BTreeMap;

/// Last turns of a VM at most: nobody waits longer for one that goes on sending.
const TURNS: u32 = 1_024;

impl Server {
    /// Gives VM or tap `id` its turn if it is there. Returns whether it has sent something.
    pub(super) fn serve(&mut self, id: usize) -> bool {
        if !self.switch.rings().get(id).is_some_and(Port::is_there) {
            return false;
        }
        let Self { network, switch, captures, flows, .. } = self;
        let served = switch.poll(network, id as u32, now(), captures, flows);
        // Of one queue the driver is told once, by the last word.
        let told: BTreeMap<_, _> = served.told.iter().map(|told| ((told.vm, told.queue), told)).collect();
        for told in told.into_values() {
            if let Some(connection) = self.connection(told.vm as usize) {
                connection.notify(told);
            }
        }
        if served.event.is_some() {
            self.close_windows_on(id);
            self.tell_senders_to(id);
        }
        if let Some(fault) = self.connection(id).and_then(|connection| connection.fault().map(str::to_owned)) {
            self.close(id, &fault, false);
        }
        self.lose_tap(id);
        served.more
    }

    /// Takes what VM `vm` has sent. The memory of a front-end that has left stays mapped up to the end of its session.
    pub(super) fn drain(&mut self, vm: usize) {
        for _ in 0..TURNS {
            if !self.serve(vm) {
                break;
            }
        }
    }
}
