//! A device that is set up by messages instead of registers: those of a vhost-user front-end, which has the registers,
//! the control queue and the configuration itself. See: "Vhost-user Protocol", "Front-end message types".

use super::queues::{DeviceQueue, MAX_QUEUES};
use super::{Device, Event};
use sluice_abi::directory::Queue;
use sluice_abi::mmio::Status;
use sluice_abi::net::F;

/// Features that a front-end serves alone, so that this device knows nothing of what they set: the control queue, and
/// the MTU in the configuration.
const OF_THE_FRONT_END: F =
    F::MTU.union(F::CTRL_VQ).union(F::CTRL_RX).union(F::CTRL_VLAN).union(F::CTRL_MAC_ADDR).union(F::GUEST_ANNOUNCE);

impl Device {
    /// Sets the device up as a front-end says: the features that its driver accepted, and the queues that it has in
    /// use, with the start number 0. Without queues the driver has none. Returns a change that others must know. Who
    /// set up the front-end's VM has given its driver the device's MTU, so the driver need not say that it knows it.
    pub fn set_up(&mut self, features: F, queues: &[Queue]) -> Option<Event> {
        let before = self.in_use();
        let given = |index: usize| queues.iter().find(|queue| usize::from(queue.index) == index);
        let is_new = |(index, old): (usize, &DeviceQueue)| {
            given(index).is_none_or(|queue| (queue.size, queue.addresses) != (old.size, old.addresses))
        };
        // A queue that moved is taken back first, so that it gets a new start number.
        let changed = self.features != (features - OF_THE_FRONT_END).bits();
        for index in 0..MAX_QUEUES {
            if changed || is_new((index, &self.queues[index])) {
                self.queues[index] = DeviceQueue::default();
            }
        }
        let taken = self.news(before);
        let between = self.in_use();
        (self.features, self.is_messaged) = ((features - OF_THE_FRONT_END).bits(), true);
        self.status = Status::FEATURES_OK | Status::DRIVER_OK;
        let pairs = queues.iter().map(|queue| queue.index / 2 + 1).max().unwrap_or(1);
        self.pairs = pairs.min(self.config.max_virtqueue_pairs);
        for queue in queues {
            if let Some(own) = self.queues.get_mut(usize::from(queue.index)) {
                (own.size, own.addresses, own.ready) = (queue.size, queue.addresses, true);
            }
        }
        taken.or(self.news(between))
    }
}
