//! What is connected to the socket of a VM: a vhost-user front-end, or a process.

use crate::offered;
use crate::process::Process;
use crate::queue_lock::Lock;
use crate::sockets::is_now;
use crate::windows::{Layout, Whole};
use rustix::event::PollFlags;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use sluice_abi::directory::{Queue, Region};
use sluice_abi::handover::Place;
use sluice_abi::mmio::reg;
use sluice_abi::net::F;
use sluice_control::Told;
use sluice_vhost_user::memory::DeviceRing;
use sluice_vhost_user::message::Message;
use sluice_vhost_user::{Offer, Session};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A connection.
pub struct Connection {
    end: End,
    /// The events by which the driver notifies of frames.
    kicks: Vec<File>,
    /// Why the connection has to end, and whether that is as the other end has left.
    fault: Option<(String, bool)>,
    pub since: Instant,
    /// The number of the memory that the other end shares. No two memories of a server have the same.
    memory: u64,
    /// Number of queue pairs that a front-end has: up to the last ring that a message named.
    pairs: u16,
    /// The locks of receive queues, by their index, that are in a window.
    locks: BTreeMap<u16, Lock>,
}

#[allow(clippy::large_enum_variant, reason = "a VM has one")]
enum End {
    FrontEnd(Session),
    Process(Process),
}

/// What comes next on a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Nothing,
    /// A message that windows on the VM know nothing of.
    Message,
    /// A message before which all windows on the VM have to be closed: it takes memory or a queue away.
    Taking,
}

impl Connection {
    /// Begins the session of the front-end at the other end of `socket`.
    pub fn front_end(socket: UnixStream, pairs: u16) -> Self {
        let mut session = Session::new(socket, Offer { features: offered::features(pairs), pairs });
        // Whoever writes into the guest's memory is the session, or a window, which closes for a migration. Its address
        // is known by the policy, so nobody is told of it.
        session.offer_migration();
        Self::new(End::FrontEnd(session))
    }

    /// Returns the connection of `process`.
    pub fn of_process(process: Process) -> Self {
        Self::new(End::Process(process))
    }

    fn new(end: End) -> Self {
        Self {
            end,
            kicks: Vec::new(),
            fault: None,
            since: Instant::now(),
            memory: another_memory(),
            pairs: 0,
            locks: BTreeMap::new(),
        }
    }

    /// Returns what it is, for the log.
    pub const fn kind(&self) -> &'static str {
        match &self.end {
            End::FrontEnd(_) => "front-end",
            End::Process(process) if process.is_in_vm() => "VM",
            End::Process(_) => "process",
        }
    }

    /// Returns the process, if it is one.
    pub const fn process(&mut self) -> Option<&mut Process> {
        match &mut self.end {
            End::Process(process) => Some(process),
            End::FrontEnd(_) => None,
        }
    }

    /// Returns the socket, to wait for messages.
    pub fn socket(&self) -> BorrowedFd<'_> {
        match &self.end {
            End::FrontEnd(session) => session.as_fd(),
            End::Process(process) => process.socket(),
        }
    }

    /// Returns the other descriptors to wait for: of a process that has to end, its end alone.
    pub fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let (answers, exit) = match &self.end {
            End::FrontEnd(_) => (None, None),
            End::Process(process) => (process.sources().0, Some(process.sources().1)),
        };
        answers.filter(|_| self.fault.is_none()).into_iter().chain(exit)
    }

    /// Returns what comes next on the socket.
    pub fn next(&mut self) -> Result<Next, String> {
        let pairs = self.pairs;
        let taking = match &mut self.end {
            End::FrontEnd(session) => {
                let message = session.peek(Duration::ZERO).map_err(|error| error.to_string())?;
                // Whoever has shared the first pair so far may get one of its own.
                message.map(|message| takes(message) || pairs_up_to(message) > pairs)
            }
            End::Process(process) => process.next()?.map(|[kind, register, ..]| match kind {
                1 => register != reg::QUEUE_NOTIFY,
                kind => [3, 4, 6].contains(&kind),
            }),
        };
        Ok(taking.map_or(Next::Nothing, |taking| if taking { Next::Taking } else { Next::Message }))
    }

    /// Returns whether a message has come that is not handled.
    pub fn holds(&self) -> bool {
        match &self.end {
            End::FrontEnd(session) => session.holds(),
            End::Process(process) => process.holds(),
        }
    }

    /// Handles the next message, if the other end is a front-end. After an error the session is over.
    pub fn handle(&mut self) -> Result<(), String> {
        let End::FrontEnd(session) = &mut self.end else { return Ok(()) };
        if let Ok(Some(message)) = session.peek(Duration::ZERO) {
            if matches!(message, Message::SetMemTable(_)) {
                self.memory = another_memory();
            }
            self.pairs = self.pairs.max(pairs_up_to(message));
        }
        session.handle(Duration::ZERO).map_err(|error| error.to_string())?;
        // A copy that can't be made is one that nobody waits for: the rings are looked at from time to time.
        self.kicks = session.device().kicks().filter_map(|kick| kick.try_clone().ok()).collect();
        Ok(())
    }

    /// Returns why the connection has to end, if it has.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_ref().map(|(why, _)| why.as_str())
    }

    /// Returns whether that is as the other end has left.
    pub fn is_left(&self) -> bool {
        self.fault.as_ref().is_some_and(|&(_, is_left)| is_left)
    }

    /// Returns whether the other end has closed its socket.
    pub fn is_over(&self) -> bool {
        is_now(self.socket(), PollFlags::RDHUP)
    }

    /// Returns the number of queue pairs that a front-end has.
    pub const fn pairs(&self) -> u16 {
        self.pairs
    }

    /// Returns the features that a front-end accepted, and the rings that it has in use.
    pub fn set_up(&mut self) -> Option<(F, Vec<Queue>)> {
        let End::FrontEnd(session) = &mut self.end else { return None };
        let device = session.device();
        Some((device.features(), device.queues().copied().collect()))
    }

    /// Returns the ring that is `queue`, and its lock, if it is in a window.
    pub fn ring_and_lock(&mut self, queue: &Queue) -> Option<(&mut DeviceRing, Option<&mut Lock>)> {
        let ring = match &mut self.end {
            End::FrontEnd(session) => session.device().ring(queue.index),
            End::Process(process) => process.ring(queue),
        };
        Some((ring?, self.locks.get_mut(&queue.index)))
    }

    /// Returns the lock of the receive queue at `index`, if that is in a window.
    pub fn lock(&mut self, index: u16) -> Option<&mut Lock> {
        self.locks.get_mut(&index)
    }

    /// Returns the locks that windows take, by the index of the queue.
    pub fn used_locks(&mut self) -> impl Iterator<Item = (u16, &mut Lock)> {
        self.locks.iter_mut().map(|(index, lock)| (*index, lock)).filter(|(_, lock)| lock.is_used)
    }

    /// Returns the number of the memory that windows may have; `None` while a front-end has it logged, or if a window
    /// has no room for it.
    pub fn memory(&mut self) -> Option<u64> {
        let may = match &mut self.end {
            End::FrontEnd(session) => {
                let device = session.device();
                device.log().is_none() && !device.memory().is_empty() && Layout::of(device.memory()).is_some()
            }
            End::Process(_) => true,
        };
        may.then_some(self.memory)
    }

    /// Notes that the other end shares other memory than before.
    pub fn renew_memory(&mut self) {
        self.memory = another_memory();
    }

    /// Returns the regions of a front-end's memory. See: [`sluice_control::Network::share`].
    pub fn regions(&mut self) -> Option<Vec<Region>> {
        match &mut self.end {
            End::FrontEnd(session) => Layout::of(session.device().memory()).map(|layout| layout.regions()),
            End::Process(_) => None,
        }
    }

    /// Returns the file that is all of a front-end's memory, if one is. See: [`Layout::whole`].
    pub fn whole(&mut self) -> Option<Whole> {
        match &mut self.end {
            End::FrontEnd(session) => Layout::of(session.device().memory())?.whole(),
            End::Process(_) => None,
        }
    }

    /// Returns where the memory lies in a window on a peer that begins at slot offset `base`, with the lock of the
    /// queue at `index`, and copies of the files.
    pub fn places(&mut self, base: u64, index: u16) -> io::Result<Vec<(Place, OwnedFd)>> {
        let memory = match &mut self.end {
            End::FrontEnd(session) => match Layout::of(session.device().memory()) {
                Some(layout) => layout.places(base)?,
                None => return Ok(Vec::new()),
            },
            End::Process(process) => {
                let (len, file, file_offset) = process.ram();
                vec![(Place { slot_offset: base, len, file_offset }, file.as_fd().try_clone_to_owned()?)]
            }
        };
        let lock = match self.locks.entry(index) {
            Entry::Occupied(lock) => lock.into_mut(),
            Entry::Vacant(place) => place.insert(Lock::new()?),
        };
        Ok(memory.into_iter().chain([lock.place(base)?]).collect())
    }

    /// Returns the events by which the driver notifies of frames.
    pub fn kicks(&self) -> &[File] {
        &self.kicks
    }

    /// Notifies the driver of used buffers. An error ends the connection.
    pub fn notify(&mut self, told: &Told) {
        match &mut self.end {
            End::Process(process) => process.wake(told.word),
            End::FrontEnd(session) => {
                if let Err(error) = session.device().notify(told.queue) {
                    self.end(format!("call event of ring {}: {error}", told.queue), false);
                }
            }
        }
    }

    /// Takes what the driver has said by kick event `index`.
    pub fn take_kick(&self, index: usize) -> io::Result<()> {
        self.kicks.get(index).map_or(Ok(()), take_kick)
    }

    /// Ends the connection at the next look: `is_left` says whether the other end has left. The first cause counts.
    pub fn end(&mut self, why: String, is_left: bool) {
        self.fault.get_or_insert((why, is_left));
    }
}

/// Returns the number of a new memory.
fn another_memory() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// Returns whether `message` takes away what a window may have: memory, or a ring. So does the begin of a log.
const fn takes(message: &Message) -> bool {
    matches!(
        message,
        Message::SetMemTable(_)
            | Message::GetVringBase(_)
            | Message::SetVringBase(_)
            | Message::SetVringNum(_)
            | Message::SetVringAddr(_)
            | Message::SetVringEnable(_)
            | Message::SetFeatures(_)
            | Message::SetLogBase(_)
    )
}

/// Returns the number of queue pairs up to the ring that `message` names; 0 if it names none.
fn pairs_up_to(message: &Message) -> u16 {
    message.ring().map_or(0, |ring| u16::try_from(ring / 2 + 1).unwrap_or(u16::MAX))
}

/// Takes what a driver has said by `kick`. Nobody waits for that, whatever kind of file it is.
fn take_kick(kick: &impl AsFd) -> io::Result<()> {
    let (mut count, here) = ([0; 8], u64::MAX);
    match preadv2(kick, &mut [IoSliceMut::new(&mut count)], here, ReadWriteFlags::NOWAIT) {
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
