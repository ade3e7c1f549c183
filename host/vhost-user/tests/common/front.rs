//! A front-end that sends what it likes, at the other end of a session.

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sluice_abi::net::F;
use sluice_vhost_user::memory::Mapping;
use sluice_vhost_user::message::header::Code;
use sluice_vhost_user::{Error, Offer, Session};
use std::fs::File;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The length of the front-end's memory, bytes.
pub const LEN: u64 = 1 << 20;
/// The address that the front-end claims to have guest-physical `GPA` at.
pub const USER: u64 = 0x7000_0000_0000;
pub const GPA: u64 = 0x10_0000;
pub const SPLIT: u64 = F::VERSION_1.bits();
pub const PACKED: u64 = SPLIT | F::RING_PACKED.bits();
/// The bit of GET_FEATURES and SET_FEATURES that says that there are protocol features.
pub const PROTOCOL: u64 = 1 << 30;
/// Descriptors that one call sends, at most.
const MOST: usize = 16;

/// A front-end, and memory and an event that it can share.
pub struct Front {
    pub socket: UnixStream,
    pub file: File,
    pub event: File,
    pub memory: Mapping,
}

impl Front {
    /// Returns a front-end, and the session that it has with a back-end of two queue pairs.
    pub fn new() -> (Self, Session) {
        Self::with(F::VERSION_1 | F::RING_PACKED)
    }

    /// Returns a front-end as [`Front::new`] does, to which these features are offered.
    pub fn with(features: F) -> (Self, Session) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (memory, file) = Mapping::shared(LEN).unwrap();
        let session = Session::new(ours, Offer { features, pairs: 2 });
        (Self { socket: theirs, file, event: event(), memory }, session)
    }

    /// Sends bytes, and these descriptors with the first of them.
    pub fn raw(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(files)));
        }
        let sent = sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
        assert_eq!(sent, Ok(bytes.len()));
    }

    /// Sends a message with these descriptors.
    pub fn send(&self, code: Code, body: &[u64], files: &[BorrowedFd<'_>]) {
        self.raw(&message(code, 1, body), files);
    }

    pub fn features(&self, features: u64) {
        self.send(Code::SET_FEATURES, &[features], &[]);
    }

    pub fn protocol(&self, features: u64) {
        self.send(Code::SET_PROTOCOL_FEATURES, &[features], &[]);
    }

    /// Gives the regions at these offsets and of these lengths, all of one file, each at its offset there.
    pub fn memory(&self, regions: &[(u64, u64)]) {
        let regions: Vec<_> = regions.iter().map(|&(at, len)| [GPA + at, len, USER + at, 0]).collect();
        self.table(&regions);
    }

    /// Gives these regions, all of one file: guest-physical address, length, address, and offset in the file.
    pub fn table(&self, regions: &[[u64; 4]]) {
        let body = [&[regions.len() as u64], regions.as_flattened()].concat();
        self.send(Code::SET_MEM_TABLE, &body, &vec![self.file.as_fd(); regions.len()]);
    }

    /// Sets up ring 0 with areas at these offsets from [`USER`], and starts it.
    pub fn ring(&self, size: u64, at: [u64; 3]) {
        self.send(Code::SET_VRING_NUM, &[size << 32], &[]);
        self.send(Code::SET_VRING_BASE, &[0], &[]);
        let [desc, driver, device] = at.map(|at| USER.wrapping_add(at));
        self.send(Code::SET_VRING_ADDR, &[0, desc, device, driver, 0], &[]);
        self.event(Code::SET_VRING_KICK, 0);
    }

    /// Gives the event to ring `index`.
    pub fn event(&self, code: Code, index: u64) {
        self.send(code, &[index], &[self.event.as_fd()]);
    }

    /// Reads a reply: the number of its request, and the words of its body.
    pub fn reply(&self) -> (Code, Vec<u64>) {
        let mut header = [0; 12];
        (&self.socket).read_exact(&mut header).unwrap();
        let [code, flags, size] = [0, 4, 8].map(|at| u32::from_ne_bytes(header[at..at + 4].try_into().unwrap()));
        assert_eq!(flags, 0b101, "version 1, a reply");
        let mut body = vec![0; size as usize];
        (&self.socket).read_exact(&mut body).unwrap();
        (Code(code), body.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect())
    }
}

/// Returns the bytes of a message.
pub fn message(code: Code, flags: u32, body: &[u64]) -> Vec<u8> {
    let header = [code.0, flags, 8 * body.len() as u32];
    let header = header.iter().flat_map(|word| word.to_ne_bytes());
    header.chain(body.iter().flat_map(|word| word.to_ne_bytes())).collect()
}

/// Returns a new event, which waits where it can't be read or written at once.
pub fn event() -> File {
    File::from(eventfd(0, EventfdFlags::CLOEXEC).unwrap())
}

/// Handles all messages that have come, and returns the error that ends the session, if one does.
pub fn end_of(session: &mut Session) -> Option<Error> {
    loop {
        match session.handle(Duration::ZERO) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(error),
        }
    }
}
