//! One ring of a session, as far as the front-end has set it up.

use crate::memory::DeviceRing;
use std::fs::File;
use std::io::{self, Write};
use vhost::vhost_user::{Error, Result};

/// One ring as far as it is set up.
#[derive(Default)]
pub struct Vring {
    /// The number of entries. 0: not set.
    pub size: u16,
    /// Where the ring goes on, if that was set. See: "Vhost-user Protocol", "Vring state indices".
    pub base: Option<u32>,
    /// The addresses in the front-end's own space: descriptors, driver area, device area.
    pub user: Option<[u64; 3]>,
    /// Whether the front-end has sent a kick event.
    pub started: bool,
    /// Whether the front-end has enabled the ring.
    pub enabled: bool,
    /// The event by which the driver notifies the device.
    pub kick: Option<File>,
    /// The event by which the device notifies the driver.
    pub call: Option<File>,
    /// The ring, once all of that is known.
    pub ring: Option<DeviceRing>,
}

impl Vring {
    /// Detaches the ring. Attached again, it goes on where it stands.
    pub fn keep_base(&mut self) {
        if let Some(ring) = self.ring.take() {
            self.base = Some(ring.base());
        }
    }

    /// Returns the ring, if it is set up and enabled.
    pub fn running(&mut self) -> Option<&mut DeviceRing> {
        self.ring.as_mut().filter(|_| self.enabled)
    }

    /// Publishes what was filled or taken, and notifies the driver if it asks for that. Returns whether it was
    /// notified.
    pub fn publish(&mut self) -> io::Result<bool> {
        let Some(ring) = self.running() else { return Ok(false) };
        ring.publish();
        if !ring.needs_notification() {
            return Ok(false);
        }
        self.notify()
    }

    /// Notifies the driver, if it has given an event for that. An event that it has filled is one that it has not
    /// looked at, so nothing is missing then.
    pub fn notify(&self) -> io::Result<bool> {
        let Some(mut call) = self.call.as_ref() else { return Ok(false) };
        match call.write_all(&1u64.to_le_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(true),
        }
    }
}

/// Returns an error that ends the session and says why.
pub fn refuse<T>(why: String) -> Result<T> {
    Err(Error::ReqHandlerError(io::Error::other(why)))
}
