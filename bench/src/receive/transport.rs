//! A device that is nothing but what a driver told it: the registers of a virtio-net device, without one behind them.

use sluice_abi::directory::Queue;
use sluice_abi::mmio::Status;
use sluice_abi::net::{DEVICE_ID, F};
use sluice_abi::virtq::QueueAddresses;
use sluice_driver::{StartError, Transport};
use std::cell::Cell;
use std::rc::Rc;

/// Registers of a device with one queue pair.
pub struct Registers {
    status: Status,
    offered: F,
    /// The receive queue, when the driver has set it up.
    receiveq: Rc<Cell<Option<Queue>>>,
    ready: [bool; 2],
    size: u16,
}

impl Registers {
    /// A device that offers `offered` and has queues of `size` entries.
    pub fn new(offered: F, size: u16) -> Self {
        Self { status: Status::empty(), offered, receiveq: Rc::default(), ready: [false; 2], size }
    }

    /// Where the receive queue will be found.
    pub fn receiveq(&self) -> Rc<Cell<Option<Queue>>> {
        Rc::clone(&self.receiveq)
    }
}

impl Transport for Registers {
    fn device_id(&mut self) -> Result<u32, StartError> {
        Ok(DEVICE_ID)
    }

    fn status(&mut self) -> Status {
        self.status
    }

    fn set_status(&mut self, status: Status) {
        self.status = status;
    }

    fn device_features(&mut self) -> F {
        self.offered
    }

    fn set_driver_features(&mut self, _features: F) {}

    fn queue_size_max(&mut self, queue: u16) -> u16 {
        if queue < 2 { self.size } else { 0 }
    }

    fn queue_ready(&mut self, queue: u16) -> bool {
        self.ready.get(usize::from(queue)).is_some_and(|ready| *ready)
    }

    fn enable_queue(&mut self, queue: u16, size: u16, addresses: QueueAddresses) {
        if queue == 0 {
            let features = self.offered.bits();
            self.receiveq.set(Some(Queue { addresses, features, size, ..Queue::default() }));
        }
        if let Some(ready) = self.ready.get_mut(usize::from(queue)) {
            *ready = true;
        }
    }

    fn reset_queue(&mut self, _queue: u16) {}

    fn queue_is_reset(&mut self, _queue: u16) -> bool {
        true
    }

    fn notify(&mut self, _queue: u16) {}

    fn config_generation(&mut self) -> u32 {
        0
    }

    fn config8(&mut self, _offset: u32) -> u8 {
        0
    }

    fn config16(&mut self, _offset: u32) -> u16 {
        0
    }
}
