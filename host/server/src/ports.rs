//! The sessions of all VMs and the devices of all taps, as the switch sees them: rings, which end with them.

use crate::log::Quota;
use crate::offered;
use crate::rings::PortRing;
use crate::tap::{TapDevice, TapRing};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use sluice_abi::Gpa;
use sluice_abi::call::Clause;
use sluice_abi::directory::Queue;
use sluice_abi::net::{F, Hdr};
use sluice_control::{Ring, Rings};
use sluice_inside::{Dequeue, Enqueue};
use sluice_memory::PeerSlice;
use sluice_vhost_user::memory::DeviceRing;
use sluice_vhost_user::{Offer, Session};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// Largest number of messages that one turn of a session handles.
const MESSAGES: usize = 16;

/// The ports of all VMs and taps, by id.
#[derive(Default)]
pub struct Ports(Vec<Port>);

/// The port of one VM, or of one tap.
#[derive(Default)]
pub struct Port {
    pub connection: Option<Connection>,
    /// The device, if this is the port of a tap.
    pub tap: Option<TapDevice>,
    /// Number of sessions that began, or of times that the device was opened.
    pub connects: u64,
    /// Why the last session ended, or the device was lost.
    pub last_end: Option<String>,
    /// How many lines the VM has in the log.
    pub quota: Quota,
    /// Number of queues that broke the protocol.
    broken: u64,
}

impl Port {
    /// Returns whether frames may come from the port.
    pub const fn is_there(&self) -> bool {
        self.connection.is_some() || self.tap.is_some()
    }

    /// Logs a line of this VM or tap by `line`, unless nobody wants its level, or there were too many lately.
    pub fn log(&mut self, level: Level, line: impl FnOnce()) {
        if level <= LevelFilter::current() && self.quota.takes(Instant::now()) {
            line();
        }
    }
}

/// A front-end that is connected.
pub struct Connection {
    session: Session,
    /// The events by which the driver notifies of frames.
    kicks: Vec<File>,
    /// Why the session has to end.
    fault: Option<String>,
    pub since: Instant,
}

impl Connection {
    /// Begins the session of the front-end at the other end of `socket`.
    pub fn new(socket: UnixStream, pairs: u16) -> Self {
        let offer = Offer { features: offered::features(pairs), pairs };
        let mut session = Session::new(socket, offer);
        // All writes into the guest's memory are the session's own. Its address is known by the policy, so nobody is
        // told of it.
        session.offer_migration();
        Self { session, kicks: Vec::new(), fault: None, since: Instant::now() }
    }

    /// Returns the socket, to wait for messages.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.session.as_fd()
    }

    /// Handles messages that have come. After an error the session is over.
    pub fn handle(&mut self) -> Result<(), String> {
        for _ in 0..MESSAGES {
            if !self.session.handle(Duration::ZERO).map_err(|error| error.to_string())? {
                break;
            }
        }
        // A copy that can't be made is one that nobody waits for: the rings are looked at from time to time.
        self.kicks = self.session.device().kicks().filter_map(|kick| kick.try_clone().ok()).collect();
        Ok(())
    }

    /// Returns why the session has to end, if a ring broke the protocol.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Returns whether the front-end has closed its end.
    pub fn is_over(&self) -> bool {
        let mut fds = [PollFd::new(&self.session, PollFlags::RDHUP)];
        let ready = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        ready.is_ok_and(|count| count > 0)
    }

    /// Returns the features that the front-end accepted, and the rings that it has in use.
    pub fn set_up(&mut self) -> (F, Vec<Queue>) {
        let device = self.session.device();
        (device.features(), device.queues().copied().collect())
    }

    /// Returns the events by which the driver notifies of frames.
    pub fn kicks(&self) -> &[File] {
        &self.kicks
    }

    /// Notifies the driver of used buffers on `queue`. An error ends the session.
    pub fn notify(&mut self, queue: u16) {
        if let Err(error) = self.session.device().notify(queue) {
            self.fault = Some(format!("call event of ring {queue}: {error}"));
        }
    }

    /// Takes what the driver has said by kick event `index`.
    pub fn take_kick(&self, index: usize) -> io::Result<()> {
        self.kicks.get(index).map_or(Ok(()), take_kick)
    }

    /// Ends the session at the next look.
    pub fn end(&mut self, why: String) {
        self.fault = Some(why);
    }
}

/// Takes what a driver has said by `kick`. Nobody waits for that, whatever kind of file it is.
fn take_kick(kick: &impl AsFd) -> io::Result<()> {
    let (mut count, here) = ([0; 8], u64::MAX);
    match preadv2(kick, &mut [IoSliceMut::new(&mut count)], here, ReadWriteFlags::NOWAIT) {
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Ports {
    /// Returns `count` ports to which nobody is connected.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| Port::default()).collect())
    }

    /// Adds the port of a tap, whose device is open.
    pub fn add_tap(&mut self, tap: TapDevice) {
        self.0.push(Port { tap: Some(tap), connects: 1, ..Port::default() });
    }

    pub fn get(&self, vm: usize) -> Option<&Port> {
        self.0.get(vm)
    }

    pub fn get_mut(&mut self, vm: usize) -> Option<&mut Port> {
        self.0.get_mut(vm)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Port> {
        self.0.iter()
    }

    /// Puts the ports into another order: each was at the place that `before` has, or is new.
    pub fn reorder(&mut self, before: &[Option<usize>]) {
        let mut old: Vec<_> = std::mem::take(&mut self.0).into_iter().map(Some).collect();
        let port = |before: &Option<usize>| before.and_then(|before| old.get_mut(before)?.take()).unwrap_or_default();
        self.0 = before.iter().map(port).collect();
    }
}

impl Rings for Ports {
    type Ring<'r> = PortRing<'r>;

    fn ring(&mut self, vm: u32, queue: &Queue) -> Option<Self::Ring<'_>> {
        let port = self.0.get_mut(vm as usize)?;
        if let Some(tap) = &mut port.tap {
            return tap.fault().is_none().then_some(PortRing::Tap(TapRing(tap)));
        }
        let connection = port.connection.as_mut()?;
        if connection.fault.is_some() {
            return None;
        }
        connection.session.device().ring(queue.index).map(SessionRing).map(PortRing::Session)
    }

    fn blame(&mut self, vm: u32, index: u16, clause: Clause) {
        let Some(port) = self.0.get_mut(vm as usize) else { return };
        port.broken += 1;
        if let Some(connection) = &mut port.connection {
            connection.end(format!("ring {index}: {clause:?}"));
        }
    }

    fn broken(&self, vm: u32) -> u64 {
        self.0.get(vm as usize).map_or(0, |port| port.broken)
    }
}

/// A ring of a session.
pub struct SessionRing<'r>(&'r mut DeviceRing);

impl Ring for SessionRing<'_> {
    fn next_used(&self) -> Gpa {
        self.0.queue().next_used()
    }

    fn enqueue(&mut self, hdr: &Hdr, frame: PeerSlice<'_>, min_buffer: u32) -> Result<Enqueue, Clause> {
        self.0.enqueue(hdr, frame, min_buffer)
    }

    fn dequeue(&mut self, into: PeerSlice<'_>) -> Result<Dequeue, Clause> {
        self.0.dequeue(into)
    }

    fn respond(&mut self, into: &mut [u8], answer: impl FnOnce(Option<&[u8]>) -> u8) -> Result<bool, Clause> {
        self.0.respond(into, answer)
    }

    fn publish(&mut self) {
        self.0.publish();
    }

    fn needs_notification(&mut self) -> bool {
        self.0.needs_notification()
    }

    fn ask_for_notifications(&mut self, on: bool) {
        self.0.ask_for_notifications(on);
    }

    fn available(&self) -> Result<u16, Clause> {
        self.0.queue().available()
    }
}
