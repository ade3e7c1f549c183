//! One ring of a session, as far as the front-end has set it up.

use crate::memory::DeviceRing;
use crate::message::Fault;
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use std::fs::File;
use std::io::{self, ErrorKind, Write};

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
            self.base = Some(ring.queue().base());
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

    /// Notifies the driver, if it has given an event for that. Returns whether it has.
    pub fn notify(&self) -> io::Result<bool> {
        let Some(mut call) = self.call.as_ref() else { return Ok(false) };
        match call.write_all(&1u64.to_le_bytes()) {
            // The event counts as far as it can, so the driver is notified already.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            written => written.map(|()| true),
        }
    }
}

/// Returns the event among `files`, if there is one. Neither reading nor writing it will wait, unless the front-end
/// changes that on its own descriptor later.
///
/// # Errors
/// It is a file, a pipe, a socket or a device.
pub fn event(files: Vec<File>) -> Result<Option<File>, Fault> {
    let Some(file) = files.into_iter().next() else { return Ok(None) };
    let kind = fstat(&file).map(|stat| FileType::from_raw_mode(stat.st_mode));
    // An eventfd has no type: the kernel's anonymous inodes have none.
    if kind != Ok(FileType::Unknown) {
        return Err(Fault::Value("the descriptor is no event".into()));
    }
    let set = fcntl_getfl(&file).and_then(|flags| fcntl_setfl(&file, flags | OFlags::NONBLOCK));
    set.map(|()| Some(file)).map_err(|error| Fault::Value(format!("the event: {error}")))
}
