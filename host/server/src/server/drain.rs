//! The turn of one VM, and its last turns: what it sent before it left, or before the server ends, is taken.

use super::Server;
use std::collections::BTreeSet;

/// Last turns of a VM at most: nobody waits longer for one that goes on sending.
const TURNS: u32 = 1_024;

impl Server {
    /// Gives VM `vm` its turn if it is connected. Returns whether it has sent something.
    pub(super) fn serve(&mut self, vm: usize) -> bool {
        if self.connection(vm).is_none() {
            return false;
        }
        let now = self.begin.elapsed().as_nanos() as u64;
        let Self { network, switch, captures, .. } = self;
        let served = switch.poll(network, vm as u32, now, captures, &mut ());
        let told: BTreeSet<_> = served.told.iter().map(|told| (told.vm as usize, told.queue)).collect();
        for (vm, queue) in told {
            if let Some(connection) = self.connection(vm) {
                connection.notify(queue);
            }
        }
        if let Some(fault) = self.connection(vm).and_then(|connection| connection.fault().map(str::to_owned)) {
            self.close(vm, &fault, false);
        }
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
