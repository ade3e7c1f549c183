//! The back-end: the device side of a front-end's rings.

mod device;
mod messages;
mod table;
mod vring;

pub use device::{Device, Offer};

use crate::error::transmit;
use crate::wait::is_readable;
use crate::{Error, ROUNDS, Result};
use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vhost::vhost_user::BackendReqHandler;

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
    messages: BackendReqHandler<Mutex<Device>>,
    device: Arc<Mutex<Device>>,
    rounds: u32,
}

impl Session {
    /// Begins the session of the front-end at the other end of `socket`.
    pub fn new(socket: UnixStream, offer: Offer) -> Self {
        #[allow(
            clippy::arc_with_non_send_sync,
            reason = "the crate vhost asks for an Arc; all of it stays in one thread"
        )]
        let device = Arc::new(Mutex::new(Device::new(offer)));
        Self { messages: BackendReqHandler::from_stream(socket, device.clone()), device, rounds: 0 }
    }

    /// Returns the device that the front-end has set up.
    pub fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles the next message, and returns whether one came within `patience`. After an error the session is over.
    pub fn handle(&mut self, patience: Duration) -> Result<bool> {
        let socket = self.messages.try_clone_connection()?;
        if !is_readable(&socket, patience)? {
            return Ok(false);
        }
        self.messages.handle_request()?;
        Ok(true)
    }

    /// Waits until the driver notifies of frames on `pair`, and returns whether it did within `patience`.
    pub fn wait(&self, pair: u16, patience: Duration) -> Result<bool> {
        let device = self.device();
        let kick = device.kick(pair).ok_or_else(|| transmit(pair, "no kick event"))?;
        let readable = is_readable(kick, patience)?;
        if readable {
            (&mut &*kick).read_exact(&mut [0; 8])?;
        }
        Ok(readable)
    }

    /// Handles messages until `pairs` queue pairs are running.
    pub fn until_running(&mut self, pairs: u16, patience: Duration) -> Result<()> {
        let start = Instant::now();
        while !self.device().is_running(pairs) {
            self.handle(Duration::from_millis(50))?;
            if start.elapsed() > patience {
                return Err(Error::TimedOut { what: "start all queue pairs", patience });
            }
        }
        Ok(())
    }

    /// Handles the messages that have come. Only each 256th call looks at the socket, so it may stand in a polling
    /// loop.
    pub fn serve(&mut self) -> Result<()> {
        self.rounds = (self.rounds + 1) % ROUNDS;
        while self.rounds == 0 && self.handle(Duration::ZERO)? {}
        Ok(())
    }
}
