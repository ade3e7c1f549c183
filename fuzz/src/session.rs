//! A front-end that sends any bytes with any descriptors, and messages that lead behind the first checks.

use arbitrary::Arbitrary;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use sluice_abi::net::F;
use sluice_vhost_user::message::header::{Code, HEADER_LEN};
use sluice_vhost_user::{Error, Offer, Session};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The length of the memory, bytes.
const LEN: u64 = 1 << 16;
const FEATURES: F =
    F::VERSION_1.union(F::RING_PACKED).union(F::MRG_RXBUF).union(F::INDIRECT_DESC).union(F::EVENT_IDX).union(F::MTU);

/// A descriptor that comes with a message.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Given {
    Memory,
    Event,
    Socket,
}

/// What a front-end sends, and what the device does meanwhile.
#[derive(Arbitrary, Debug)]
pub enum Step {
    /// Any bytes.
    Bytes { bytes: Vec<u8>, with: Vec<Given> },
    /// Any body of words to any request.
    Message { code: u8, flags: u8, body: Vec<u64>, with: Vec<Given> },
    /// Chooses features, a log, and protocol features.
    Choose { features: u64, protocol: u8, log: bool },
    /// The messages that set up a ring at these offsets in the memory, in units of 16 bytes.
    Ring { index: u8, size: u16, base: u32, at: [u8; 3] },
    /// Writes into the memory.
    Write { at: u16, bytes: Vec<u8> },
    /// Writes a descriptor of a buffer in the memory.
    Buffer { at: u8, from: u16, len: u16, rest: u32 },
    /// The device sends a frame, takes one, and publishes.
    Traffic { len: u16 },
}

/// The front-end's end, and all that it has to give.
struct Front {
    socket: UnixStream,
    memory: OwnedFd,
    event: OwnedFd,
}

impl Front {
    fn send(&self, bytes: &[u8], with: &[Given]) {
        let files: Vec<_> = with.iter().take(12).map(|given| self.file(*given)).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(12))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        }
        // The back-end may have hung up, or the socket be full.
        let _ = sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    fn file(&self, given: Given) -> BorrowedFd<'_> {
        match given {
            Given::Memory => self.memory.as_fd(),
            Given::Event => self.event.as_fd(),
            Given::Socket => self.socket.as_fd(),
        }
    }

    fn message(&self, code: Code, flags: u8, body: &[u64], with: &[Given]) {
        let head = [code.0, flags.into(), 8 * body.len() as u32].map(u32::to_ne_bytes);
        let body: Vec<_> = body.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.send(&[head.as_flattened(), &body].concat(), with);
    }

    fn choose(&self, features: u64, protocol: u8, log: bool) {
        let (offered, both) = (F::VERSION_1.union(FEATURES).bits(), F::VERSION_1.bits() | 1 << 30);
        self.message(Code::SET_PROTOCOL_FEATURES, 1, &[u64::from(protocol & 0x1f) | 1 << 16], &[]);
        self.message(Code::SET_FEATURES, 1, &[features & offered | both | u64::from(log) << 26], &[]);
        self.message(Code::SET_MEM_TABLE, 9, &[1, 0, LEN, LEN, 0], &[Given::Memory]);
        if log {
            self.message(Code::SET_LOG_BASE, 1, &[LEN, 0], &[Given::Memory]);
        }
    }

    fn ring(&self, index: u8, size: u16, base: u32, at: [u8; 3]) {
        let (index, high) = (u64::from(index % 5), |number: u32| u64::from(number) << 32);
        let [desc, driver, device] = at.map(|at| LEN + 16 * u64::from(at));
        // Most rings are of a size that split ones may have.
        let size = if size & 7 == 7 { size.into() } else { 1 << (size % 11) };
        self.message(Code::SET_VRING_NUM, 1, &[index | high(size)], &[]);
        self.message(Code::SET_VRING_BASE, 1, &[index | high(base)], &[]);
        self.message(Code::SET_VRING_ADDR, 1, &[index, desc, device, driver, 0], &[]);
        self.message(Code::SET_VRING_CALL, 1, &[index], &[Given::Event]);
        self.message(Code::SET_VRING_KICK, 1, &[index], &[Given::Event]);
        self.message(Code::SET_VRING_ENABLE, 1, &[index | high(1)], &[]);
    }
}

/// Lets the front-end do its steps. The session goes on or ends with an error, and leaves no descriptor behind.
pub fn run(steps: &[Step]) {
    let before = next_descriptor();
    hold(steps);
    assert_eq!(next_descriptor(), before, "a descriptor stays open");
}

/// Returns the lowest number of a descriptor that is free.
fn next_descriptor() -> i32 {
    eventfd(0, EventfdFlags::CLOEXEC).expect("an event").as_raw_fd()
}

fn hold(steps: &[Step]) {
    let (ours, socket) = UnixStream::pair().expect("a socket");
    let memory = memfd_create("memory", MemfdFlags::CLOEXEC).expect("memory");
    ftruncate(&memory, LEN).expect("memory");
    let front = Front { socket, memory, event: eventfd(0, EventfdFlags::CLOEXEC).expect("an event") };
    let mut session = Session::new(ours, Offer { features: FEATURES, pairs: 2 });
    session.offer_migration();
    for step in steps {
        if front.act(step, &mut session).and_then(|()| serve(&mut session)).is_err() {
            return;
        }
        // Replies are read, or the session would soon end for want of room.
        while recv(&front.socket, &mut [0; 256], RecvFlags::DONTWAIT).is_ok_and(|(count, _)| count >= HEADER_LEN) {}
    }
}

/// Handles all messages that have come.
fn serve(session: &mut Session) -> Result<(), Error> {
    while session.handle(Duration::ZERO)? {}
    Ok(())
}

impl Front {
    fn act(&self, step: &Step, session: &mut Session) -> Result<(), Error> {
        match step {
            Step::Bytes { bytes, with } => self.send(bytes, with),
            Step::Message { code, flags, body, with } => {
                self.message(Code((code % 48).into()), flags & 9 | 1, &body[..body.len().min(40)], with);
            }
            Step::Choose { features, protocol, log } => self.choose(*features, *protocol, *log),
            Step::Ring { index, size, base, at } => self.ring(*index, *size, *base, *at),
            Step::Write { at, bytes } => {
                // What reaches out of the memory is left out.
                let len = bytes.len().min((LEN - u64::from(*at)) as usize);
                let _ = rustix::io::pwrite(&self.memory, &bytes[..len], u64::from(*at));
            }
            Step::Buffer { at, from, len, rest } => {
                let words = [u64::from(*from), u64::from(*len) | u64::from(*rest) << 32].map(u64::to_ne_bytes);
                let _ = rustix::io::pwrite(&self.memory, words.as_flattened(), 16 * u64::from(*at));
            }
            Step::Traffic { len } => traffic(session, *len)?,
        }
        Ok(())
    }
}

/// Sends and takes a frame on each pair. A ring that breaks a rule is blamed.
fn traffic(session: &mut Session, len: u16) -> Result<(), Error> {
    let (device, mut frame) = (session.device(), vec![0; 65_536]);
    for pair in 0..2 {
        device.enqueue(pair, &frame[..usize::from(len)])?;
        if let Some(len) = device.dequeue(pair, &mut frame)? {
            assert!(len <= frame.len());
        }
        device.publish(pair)?;
    }
    Ok(())
}
