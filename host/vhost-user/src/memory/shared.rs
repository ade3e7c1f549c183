//! Rings that others fill, too, or have filled.

use super::DeviceRing;
use sluice_abi::call::Clause;
use sluice_inside::LockPage;

impl DeviceRing {
    /// See: [`sluice_inside::DeviceQueue::catch_up`].
    pub fn catch_up(&mut self, page: Option<&LockPage<'_>>) -> Result<u32, Clause> {
        self.queue.catch_up(page)
    }

    /// See: [`sluice_inside::DeviceQueue::enter`].
    pub fn enter(&mut self, page: &LockPage<'_>) -> Result<(), Clause> {
        self.queue.enter(page)
    }
}
