//! The socket of a session. Nothing here waits: a message is handled when all of it has come, and a reply that the
//! front-end leaves no room for ends the session.

use crate::message::header::MAX_DESCRIPTORS;
use crate::message::{Fault, Gathering, Header, Message, Refused};
use crate::{Error, Result};
use rustix::cmsg_space;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg, send};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::{MaybeUninit, take};
use std::os::unix::net::UnixStream;

/// A socket, and the message that comes through it.
pub struct Channel {
    socket: UnixStream,
    gathering: Gathering,
    /// The descriptors that came with the message.
    files: Vec<File>,
}

impl Channel {
    pub fn new(socket: UnixStream) -> Self {
        Self { socket, gathering: Gathering::default(), files: Vec::new() }
    }

    /// Returns the next message with its descriptors, if all of it has come.
    pub fn receive(&mut self) -> Result<Option<(Header, Message, Vec<File>)>> {
        loop {
            // Not a byte of the next message is read, whose descriptors would come along.
            let room = self.gathering.room()?;
            if room.is_empty() {
                break;
            }
            match read(&self.socket, room, &mut self.files) {
                Ok(0) if self.gathering.is_empty() => return Err(Error::HungUp),
                Ok(0) => return Err(Error::Truncated(self.gathering.len())),
                Ok(count) => self.gathering.add(count),
                Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
                Err(Errno::CONNRESET) => return Err(Error::HungUp),
                Err(Errno::TOOMANYREFS) => return Err(Error::TooManyDescriptors),
                Err(error) => return Err(Error::Io(error.into())),
            }
        }
        let Some((header, message)) = self.gathering.take()? else { return Ok(None) };
        let (count, expected) = (self.files.len(), message.descriptors());
        if count != expected {
            return Err(Refused { request: header.code(), fault: Fault::Descriptors { count, expected } }.into());
        }
        Ok(Some((header, message, take(&mut self.files))))
    }

    /// Sends `reply`.
    pub fn send(&self, reply: &[u8]) -> Result<()> {
        match send(&self.socket, reply, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) if count == reply.len() => Ok(()),
            Ok(_) | Err(Errno::AGAIN) => Err(Error::Unread),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(Error::HungUp),
            Err(error) => Err(Error::Io(io::Error::from(error))),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Receives what there is into `room`, and adds the descriptors that come along to `files`. Returns the number of
/// bytes, or [`Errno::TOOMANYREFS`] if there are more descriptors than a message can have, or than the kernel could
/// open here.
fn read(socket: &UnixStream, room: &mut [u8], files: &mut Vec<File>) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(room)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            files.extend(descriptors.map(File::from));
        }
    }
    let fit = files.len() <= MAX_DESCRIPTORS && !received.flags.contains(ReturnFlags::CTRUNC);
    if fit { Ok(received.bytes) } else { Err(Errno::TOOMANYREFS) }
}
