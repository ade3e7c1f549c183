//! The back-end: the device side of a front-end's rings.

mod agreed;
mod channel;
mod device;
mod messages;
mod table;
mod vring;

pub use device::{Device, Log, Offer};

use crate::error::transmit;
use crate::message::{Header, Message, Refused, Reply};
use crate::wait::is_readable;
use crate::{Error, ROUNDS, Result};
use channel::Channel;
use rustix::fd::{AsFd, BorrowedFd};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Messages that one call of [`Session::serve`] handles, at most. A front-end that never stops gets no more time.
const BURST: u32 = 64;

/// A socket that front-ends connect to, one after the other.
pub struct Backend {
    listener: UnixListener,
    path: PathBuf,
    offer: Offer,
}

impl Backend {
    /// Makes a socket at `path` and listens there.
    pub fn bind(path: &Path, offer: Offer) -> io::Result<Self> {
        Ok(Self { listener: UnixListener::bind(path)?, path: path.into(), offer })
    }

    /// Returns the session of the next front-end that connects within `patience`.
    pub fn accept(&self, patience: Duration) -> Result<Session> {
        if !is_readable(&self.listener, patience)? {
            return Err(Error::TimedOut { what: "connect", patience });
        }
        Ok(Session::new(self.listener.accept()?.0, self.offer))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // A socket that somebody else has removed already is no error.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One front-end and what it has set up. A dropped session closes all its descriptors and unmaps all its memory.
pub struct Session {
    channel: Channel,
    device: Device,
    /// The message that was received and not handled.
    next: Option<(Header, Message, Vec<File>)>,
    rounds: u32,
    handled: u64,
}

impl Session {
    /// Begins the session of the front-end at the other end of `socket`.
    pub fn new(socket: UnixStream, offer: Offer) -> Self {
        Self { channel: Channel::new(socket), device: Device::new(offer), next: None, rounds: 0, handled: 0 }
    }

    /// Offers the front-end, which has not asked yet, that it may migrate its guest. Whoever else writes into the
    /// guest's memory then has to mark that in [`Device::log`], and [`Device::mac`] is to be announced.
    pub const fn offer_migration(&mut self) {
        self.device.offered.add_migration();
    }

    /// Returns the device that the front-end has set up.
    pub const fn device(&mut self) -> &mut Device {
        &mut self.device
    }

    /// Returns how many messages were handled. As long as this stays, nothing of the device's set-up has changed.
    pub const fn handled(&self) -> u64 {
        self.handled
    }

    /// Waits for bytes of the front-end up to `patience`, and returns the next message if all of it has come. It is
    /// not handled yet, and the front-end that asked something waits: who shares the guest's memory with others has
    /// time to take it from them, before a ring stops or another memory takes its place.
    pub fn peek(&mut self, patience: Duration) -> Result<Option<&Message>> {
        if self.next.is_none() && is_readable(&self.channel, patience)? {
            self.next = self.channel.receive()?;
        }
        Ok(self.next.as_ref().map(|(_, message, _)| message))
    }

    /// Returns whether a message was received that is not handled.
    pub const fn holds(&self) -> bool {
        self.next.is_some()
    }

    /// Handles the next message, for which it waits as [`Session::peek`] does. Returns whether one was handled. After
    /// an error the session is over.
    pub fn handle(&mut self, patience: Duration) -> Result<bool> {
        self.peek(patience)?;
        let Some((header, message, files)) = self.next.take() else { return Ok(false) };
        let handled = self.device.handle(message, files);
        self.handled += 1;
        let status = Reply::Number(handled.is_err().into());
        let wanted = header.needs_reply() && self.device.acknowledges();
        let reply = handled.as_ref().unwrap_or(&None).or(wanted.then_some(status));
        let sent = reply.map_or(Ok(()), |reply| self.channel.send(&reply.bytes(&header)));
        handled.map_err(|fault| Refused { request: header.code(), fault })?;
        sent.map(|()| true)
    }

    /// Waits until the driver notifies of frames on `pair`, and returns whether it did within `patience`.
    pub fn wait(&self, pair: u16, patience: Duration) -> Result<bool> {
        let mut kick = self.device.kick(pair).ok_or_else(|| transmit(pair, "no kick event"))?;
        if !is_readable(kick, patience)? {
            return Ok(false);
        }
        match kick.read_exact(&mut [0; 8]) {
            // The front-end has read the event itself.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            read => Ok(read.map(|()| true)?),
        }
    }

    /// Handles messages until `pairs` queue pairs are running.
    pub fn until_running(&mut self, pairs: u16, patience: Duration) -> Result<()> {
        let start = Instant::now();
        while !self.device.is_running(pairs) {
            self.handle(Duration::from_millis(50))?;
            if start.elapsed() > patience {
                return Err(Error::TimedOut { what: "start all queue pairs", patience });
            }
        }
        Ok(())
    }

    /// Handles messages that have come, 64 of them at most. Only each 256th call looks at the socket, so it may stand
    /// in a polling loop.
    pub fn serve(&mut self) -> Result<()> {
        self.rounds = (self.rounds + 1) % ROUNDS;
        let mut left = if self.rounds == 0 { BURST } else { 0 };
        while left > 0 && self.handle(Duration::ZERO)? {
            left -= 1;
        }
        Ok(())
    }
}

/// The socket, to wait for messages together with other descriptors.
impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
