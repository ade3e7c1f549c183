//! RAM that a process gives, in the place of what the server has handed to it: memory that it has already, such as the
//! huge pages of a DPDK application.

use super::Server;
use crate::connection::Connection;
use rustix::io::Errno;
use sluice_abi::run::RUN_ALIGN;

impl Server {
    /// Makes the file that came with a request the RAM of the process that is VM `vm`: `units` of 2 MiB from the unit
    /// `at` on. Returns 0, or the number of the system's error for which all stays as it was. The driver must not have
    /// begun, since it would not know.
    pub(super) fn take_ram(&mut self, vm: usize, units: u32, at: u32) -> u32 {
        let [len, at] = [units, at].map(|units| u64::from(units) * RUN_ALIGN);
        let has_begun = self.network.device(vm as u32).is_some_and(|device| device.queues().next().is_some())
            || !self.network.extents(vm as u32).is_empty();
        let taken = match self.connection(vm).and_then(Connection::process) {
            Some(_) if has_begun => Err(Errno::BUSY),
            Some(process) if process.ram().0 == len => process.take_ram(at),
            _ => Err(Errno::INVAL),
        };
        match (taken, self.connection(vm)) {
            (Ok(()), Some(connection)) => {
                connection.renew_memory();
                0
            }
            (taken, _) => taken.err().unwrap_or(Errno::INVAL).raw_os_error() as u32,
        }
    }
}
