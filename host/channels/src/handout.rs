//! How a server hands a channel to a process: by one message with one descriptor, on a socket of the one who connects.
//!
//! A message has [`MESSAGE`] bytes: a line of text, and zeros behind it. The descriptor of the channel comes with it; a
//! message without one is a refusal, and the line says why. Nobody sends anything else. A writer is the writer for as
//! long as its socket is open.
//!
//! # Why it is that long
//! Descriptors on their way count as the sender's, and the system has a bound for them. So a server wants to know who
//! has not taken his. A socket is ready for more when three quarters of its buffer are free (unix(7), `POLLOUT`), and a
//! message takes more than the rest of the smallest buffer: a socket that is ready has nothing on its way.

use crate::ChannelFile;
use crate::file::{is_sealed, map};
use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use sluice_memory::PeerSlice;
use sluice_vhost_user::memory::Mapping;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Length of a message in bytes.
pub const MESSAGE: usize = 1024;
/// Time that a server has for its message.
const PATIENCE: Duration = Duration::from_secs(10);

/// What somebody is to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of many, with a descriptor for reading only.
    Reader,
    /// The only one.
    Writer,
}

impl Role {
    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
        }
    }
}

/// Gives whoever is at the other end of `socket` the descriptor of `role`. Nobody waits.
///
/// # Errors
/// The other end has hung up; or the system has too many descriptors on their way.
pub fn give(socket: &UnixStream, channel: &ChannelFile, role: Role) -> io::Result<()> {
    let file = match role {
        Role::Reader => channel.reader(),
        Role::Writer => channel.writer(),
    };
    send(socket, &std::format!("channel {}: {}\n", channel.name(), role.name()), Some(file))
}

/// Tells whoever is at the other end of `socket` why it gets nothing. Nobody waits.
///
/// # Errors
/// The other end has hung up.
pub fn refuse(socket: &UnixStream, why: &str) -> io::Result<()> {
    send(socket, &std::format!("{why}\n"), None)
}

fn send(socket: &UnixStream, line: &str, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    // The least that the system allows: 4,608 bytes, of which each message and what is kept with it takes half.
    set_socket_send_buffer_size(socket, 0)?;
    let mut message = [0; MESSAGE];
    // The last byte stays 0.
    message[..MESSAGE - 1].iter_mut().zip(line.bytes()).for_each(|(byte, of_line)| *byte = of_line);
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = file.as_slice();
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(ErrorKind::OutOfMemory.into());
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match sendmsg(socket, &[IoSlice::new(&message)], &mut control, flags)? {
        MESSAGE => Ok(()),
        _ => Err(ErrorKind::WriteZero.into()),
    }
}

/// Returns whether the other end of `socket` has taken its message, or is gone.
pub fn has_taken(socket: &UnixStream) -> bool {
    is_now(socket, PollFlags::OUT)
}

/// Returns whether the other end of `socket` has hung up. What it has sent is never looked at.
pub fn has_left(socket: &UnixStream) -> bool {
    is_now(socket, PollFlags::empty())
}

/// Returns whether one of `flags`, or the end of the other side, is now. Nobody waits.
fn is_now(socket: &UnixStream, flags: PollFlags) -> bool {
    let mut fds = [PollFd::new(socket, flags)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let wanted = if flags.is_empty() { PollFlags::HUP | PollFlags::ERR } else { flags };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(wanted)
}

/// Reasons for which a process has no channel of a server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens at the socket, it is not for this user, or the memory can't be mapped.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server says why not.
    #[error("refused: {0}")]
    Refused(String),
    /// The file can be cut by whoever may write it, which would end this process, and the caller takes none such.
    #[error("the channel lies in a file that can be cut")]
    Unsealed,
}

/// Which files a process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Those that nobody can resize.
    Sealed,
    /// All. Whoever may write a file that is not sealed can cut it, and so end the processes that have it mapped: a
    /// channel in a file that virtual machines have is such a one.
    Any,
}

/// A channel of a server, mapped.
pub struct Connected {
    mapping: Mapping,
    socket: UnixStream,
}

impl Connected {
    /// Becomes a reader of the channel whose readers connect to the socket `path`.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn reader(path: &Path, files: Files) -> Result<Self, ConnectError> {
        Self::connect(path, files, Mapping::of_file_read_only)
    }

    /// Becomes the writer of the channel whose writer connects to the socket `path`, up to the drop of this.
    ///
    /// # Errors
    /// [`ConnectError`]; [`ConnectError::Refused`] while there is another writer.
    pub fn writer(path: &Path, files: Files) -> Result<Self, ConnectError> {
        Self::connect(path, files, Mapping::of_file)
    }

    fn connect(
        path: &Path,
        files: Files,
        how: fn(&OwnedFd, u64, u64) -> io::Result<Mapping>,
    ) -> Result<Self, ConnectError> {
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let (line, file) = receive(&socket)?;
        let Some(file) = file else { return Err(ConnectError::Refused(line)) };
        if files == Files::Sealed && !is_sealed(&file)? {
            return Err(ConnectError::Unsealed);
        }
        Ok(Self { mapping: map(&file, how)?, socket })
    }

    /// Returns the memory, for `sluice_channel`'s readers and writers. A reader's can't be written: that would end the
    /// process.
    pub const fn memory(&self) -> PeerSlice<'_> {
        self.mapping.slice()
    }

    /// Returns the socket. It has something to read, which is its end, once the server has ended, or has let go of one
    /// of many readers. The memory stays.
    pub const fn socket(&self) -> &UnixStream {
        &self.socket
    }
}

/// Receives a message: its line, and its descriptor.
fn receive(mut socket: &UnixStream) -> io::Result<(String, Option<OwnedFd>)> {
    let (mut message, mut space) = ([0; MESSAGE], [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))]);
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut message)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let rights = |message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    };
    let file = control.drain().filter_map(rights).flatten().next();
    // The rest of it, if it comes in parts.
    socket.read_exact(&mut message[got.bytes..])?;
    let text = message.split(|&byte| byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let line = text.trim_end().chars().map(|it| if it.is_control() { '?' } else { it }).collect();
    Ok((line, file))
}

#[cfg(test)]
mod tests;
