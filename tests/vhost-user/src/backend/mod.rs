//! Our back-end: the device side of a front-end's rings.

mod device;
mod memory;
mod messages;

pub use device::{Device, Offer};

use crate::traffic::Port;
use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vhost::vhost_user::BackendReqHandler;

/// Rounds of traffic between two looks at the socket.
pub(crate) const ROUNDS: u32 = 256;

/// A socket that front-ends connect to, one after the other.
pub struct Backend {
    listener: UnixListener,
    path: PathBuf,
    offer: Offer,
}

impl Backend {
    /// Listens at `path`.
    pub fn bind(path: &Path, offer: Offer) -> Result<Self> {
        let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
        Ok(Self { listener, path: path.into(), offer })
    }

    /// The next front-end that connects within `patience`.
    pub fn accept(&self, patience: Duration) -> Result<Session> {
        if !is_readable(&self.listener, patience)? {
            bail!("nobody connected to {} within {patience:?}", self.path.display());
        }
        Ok(Session::new(self.listener.accept()?.0, self.offer))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Gone already, or not ours to complain about.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One front-end and what it has set up. All its descriptors and mappings go with this.
pub struct Session {
    messages: BackendReqHandler<Mutex<Device>>,
    device: Arc<Mutex<Device>>,
    rounds: u32,
}

impl Session {
    /// Of the front-end at the other end of `socket`.
    pub fn new(socket: UnixStream, offer: Offer) -> Self {
        #[allow(clippy::arc_with_non_send_sync, reason = "the crate vhost asks for this; it all stays in one thread")]
        let device = Arc::new(Mutex::new(Device::new(offer)));
        Self { messages: BackendReqHandler::from_stream(socket, device.clone()), device, rounds: 0 }
    }

    /// What the front-end has set up.
    pub fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles the next message, if one comes within `patience`: whether one did. After an error the session is over.
    pub fn handle(&mut self, patience: Duration) -> Result<bool> {
        let socket = self.messages.try_clone_connection()?;
        if !is_readable(&socket, patience)? {
            return Ok(false);
        }
        self.messages.handle_request()?;
        Ok(true)
    }

    /// Waits until the driver tells of frames on `pair`; `false` if it doesn't within `patience`.
    pub fn wait(&self, pair: u16, patience: Duration) -> Result<bool> {
        let device = self.device();
        let kick = device.kick(pair).context("a ring without kick")?;
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
                bail!("the front-end did not start {pairs} queue pairs within {patience:?}");
            }
        }
        Ok(())
    }
}

impl Port for Session {
    fn send(&mut self, pair: u16, frame: &[u8]) -> Result<bool> {
        self.device().enqueue(pair, frame)
    }

    fn flush(&mut self, pair: u16) -> Result<()> {
        self.device().publish(pair)
    }

    fn receive(&mut self, pair: u16, into: &mut [u8]) -> Result<Option<usize>> {
        self.device().dequeue(pair, into)
    }

    fn serve(&mut self) -> Result<()> {
        self.rounds = (self.rounds + 1) % ROUNDS;
        while self.rounds == 0 && self.handle(Duration::ZERO)? {}
        Ok(())
    }
}

/// Whether there is something to read, or the end, within `patience`.
pub(crate) fn is_readable(file: &impl AsFd, patience: Duration) -> Result<bool> {
    let patience = Timespec::try_from(patience)?;
    Ok(poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&patience))? > 0)
}
