//! Channels, and whoever has been handed one. The server has no part in what is written and read.
//!
//! # Why readers are not waited for
//! A reader that has its descriptor needs nothing more, so nobody listens to it: it is counted when somebody asks, and
//! let go of when there are too many. Only one that has not taken its descriptor keeps its place, as descriptors on
//! their way are bounded by the system, for all that the server's user sends.

use crate::log::Quota;
use crate::policy::{Access, Memory};
use crate::sockets::Socket;
use sluice_channels::handout::{give, has_left, has_taken, refuse};
use sluice_channels::{ChannelFile, ChannelFileError, Pages, Role};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;
use tracing::{Level, info, warn};

/// Readers of one channel whose sockets are kept.
pub const READERS: usize = 64;
/// Clients that are accepted at a time, of each socket.
const CLIENTS: usize = 16;

/// A channel that is handed out.
pub struct Channel {
    pub shared: Shared,
    /// The sockets of readers, and of the writer.
    sockets: [Socket; 2],
}

/// The memory of a channel, and who has it.
pub struct Shared {
    pub file: ChannelFile,
    readers: Vec<UnixStream>,
    writer: Option<Writer>,
    pub counts: Counts,
    /// How many lines the channel has in the log.
    pub quota: Quota,
}

struct Writer {
    socket: UnixStream,
    since: Instant,
    has_left: bool,
}

/// How often somebody got a descriptor, or did not.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub readers: u64,
    pub writers: u64,
    pub refused: u64,
}

impl Shared {
    /// Makes the memory that `wanted` is about, which nobody has yet.
    pub fn create(wanted: &Memory) -> Result<Self, ChannelFileError> {
        let (name, kind) = (wanted.name.clone(), wanted.kind.into());
        let most = if wanted.huge { Pages::Huge } else { Pages::Small };
        let file = match &wanted.file {
            Some(path) => ChannelFile::at(path, name, kind, wanted.capacity)?,
            None => ChannelFile::create(name, kind, wanted.capacity, most)?,
        };
        let (counts, quota) = (Counts::default(), Quota::default());
        Ok(Self { file, readers: Vec::new(), writer: None, counts, quota })
    }

    /// Returns how long the writer is connected, seconds.
    pub fn writer_seconds(&self) -> Option<u64> {
        self.writer.as_ref().filter(|writer| !has_left(&writer.socket)).map(|writer| writer.since.elapsed().as_secs())
    }

    /// Returns the number of readers that are connected, of those that are kept.
    pub fn readers(&self) -> usize {
        self.readers.iter().filter(|reader| !has_left(reader)).count()
    }

    /// Logs a line of this channel by `line`, unless nobody wants its level, or there were too many lately.
    fn log(&mut self, level: Level, line: impl FnOnce(&str)) {
        if self.quota.wants(level) {
            line(self.file.name().as_ref());
        }
    }

    /// Lets go of the writer if it has left and has nothing on its way. Says so once.
    pub fn look_after_writer(&mut self) {
        let Some(writer) = self.writer.as_mut().filter(|writer| has_left(&writer.socket)) else { return };
        let (is_new, is_free) = (!writer.has_left, has_taken(&writer.socket));
        writer.has_left = true;
        if is_free {
            self.writer = None;
        }
        if is_new {
            self.log(Level::INFO, |channel| info!(channel, "the writer has left"));
        }
    }

    /// Makes room for one more reader. Returns whether there is some.
    fn has_room(&mut self) -> bool {
        self.readers.retain(|reader| !has_left(reader) || !has_taken(reader));
        if self.readers.len() >= READERS
            && let Some(at) = self.readers.iter().position(has_taken)
        {
            self.readers.remove(at);
        }
        self.readers.len() < READERS
    }

    /// Gives the one who has connected what is for his `role`, or tells him why not.
    fn welcome(&mut self, role: Role, socket: UnixStream) {
        self.look_after_writer();
        let why = match role {
            Role::Reader if !self.has_room() => Some("has too many readers that do not take their descriptors"),
            Role::Writer if self.writer.is_some() => Some("has a writer"),
            _ => None,
        };
        if let Some(why) = why {
            // Who has hung up is not told.
            let _ = refuse(&socket, &format!("channel {} {why}", self.file.name()));
            self.counts.refused += 1;
            return self.log(Level::WARN, |channel| warn!(channel, why, "a {} is refused", role.name()));
        }
        if let Err(error) = give(&socket, &self.file, role) {
            self.counts.refused += 1;
            return self.log(Level::WARN, |channel| warn!(channel, %error, "a {} gets nothing", role.name()));
        }
        match role {
            Role::Reader => {
                self.counts.readers += 1;
                self.readers.push(socket);
            }
            Role::Writer => {
                self.counts.writers += 1;
                self.writer = Some(Writer { socket, since: Instant::now(), has_left: false });
                self.log(Level::INFO, |channel| info!(channel, "a writer has connected"));
            }
        }
    }
}

impl Channel {
    pub const fn new(shared: Shared, sockets: [Socket; 2]) -> Self {
        Self { shared, sockets }
    }

    /// Returns what it is made of.
    pub fn into_parts(self) -> (Shared, [Socket; 2]) {
        (self.shared, self.sockets)
    }

    pub const fn sockets(&self) -> &[Socket; 2] {
        &self.sockets
    }

    /// Returns the descriptors to wait for: those who want to connect, and a writer that has not left.
    pub fn sources(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let writer = self.shared.writer.as_ref().filter(|writer| !writer.has_left);
        let sockets = self.sockets.iter().map(|socket| (socket.listener().as_fd(), true));
        sockets.chain(writer.map(|writer| (writer.socket.as_fd(), false)))
    }

    /// Serves those who want to connect, and sees whether the writer is there.
    pub fn turn(&mut self) {
        self.shared.look_after_writer();
        for (at, role) in [Role::Reader, Role::Writer].into_iter().enumerate() {
            for _ in 0..CLIENTS {
                match self.sockets[at].accept() {
                    Ok(Some(socket)) => self.shared.welcome(role, socket),
                    Ok(None) => break,
                    Err(error) => return self.refused(role, &error),
                }
            }
        }
    }

    fn refused(&mut self, role: Role, error: &io::Error) {
        self.shared.log(Level::WARN, |channel| warn!(channel, %error, "a {} can't be accepted", role.name()));
    }
}

/// Has the sockets allow whom `wanted` allows. Those of another service stay as it has made them.
pub fn allow(sockets: &[Socket; 2], wanted: &[Access; 2]) {
    for (socket, Access { path, mode }) in sockets.iter().zip(wanted) {
        if let Err(error) = socket.allow(*mode) {
            warn!(socket = %path.display(), %error, "the mode stays as it was");
        }
    }
}
