//! A process in the role of a VM that keeps no rules. The test plays it, behind a child that has connected for it: the
//! server ends whoever connected.

use crate::lab::*;
use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
};
use sluice_abi::call::CALLS;
use sluice_abi::directory::{Header, Peer, PeerState};
use sluice_abi::handover::{FILES, MAX_PLACES, Place, Placed, Placement, Welcome, window_file};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write, stdin};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use zerocopy::{FromBytes, IntoBytes};

/// Set in the environment of a child to the socket to which it connects.
pub const VARIABLE: &str = "SLUICE_TEST_STRANGER";
/// The test in whose place a child connects.
const ROLE: &str = "processes::a_process_that_hangs_up_is_ended";

/// What a child does: it connects, hands the socket on, and lives until nobody wants it any more.
pub fn play(path: &Path) {
    let socket = UnixStream::connect(path).expect("a server");
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let (mut control, files) = (SendAncillaryBuffer::new(&mut space), [socket.as_fd()]);
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    sendmsg(stdin(), &[IoSlice::new(&[1])], &mut control, SendFlags::empty()).expect("handed on");
    drop(socket);
    // The end of the input is that of the test.
    let _ = stdin().read(&mut [0]);
}

/// Receives a message with its descriptors. Nothing: the other end has hung up.
pub fn receive(socket: impl AsFd, bytes: &mut [u8], flags: RecvFlags) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_PLACES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let len = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags)?.bytes;
    let rights = |message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    };
    let files = control.drain().filter_map(rights).flatten().collect();
    Ok((len, files))
}

/// Returns a child that has connected to the socket of VM `vm`, and that socket.
fn child(lab: &Lab, vm: char) -> (Child, OwnedFd, UnixStream) {
    let (here, there) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("two");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", ROLE]).env(VARIABLE, lab.socket(vm)).stdin(Stdio::from(there));
    let child = sluice_guard::tie(&mut command).stdout(Stdio::null()).spawn().expect("a child");
    // The child has its own copy alone, so that its end can be seen here.
    drop(command);
    let (_, files) = receive(&here, &mut [0], RecvFlags::empty()).expect("a socket");
    let socket = UnixStream::from(files.into_iter().next().expect("a socket"));
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    (child, here, socket)
}

/// A process that was welcomed.
pub struct Stranger {
    pub child: Child,
    /// Keeps the child alive.
    _life: OwnedFd,
    pub socket: UnixStream,
    pub directory: File,
    pub ram: File,
    pub block: File,
    /// Where the request block begins in its file, bytes.
    block_at: u64,
    pub places: OwnedFd,
}

impl Stranger {
    /// Connects as VM `vm`. Nothing: the server refuses it.
    pub fn try_connect(lab: &Lab, vm: char) -> Option<Self> {
        let (mut child, life, socket) = child(lab, vm);
        let mut welcome = [0; size_of::<Welcome>()];
        let (len, files) = receive(&socket, &mut welcome, RecvFlags::CMSG_CLOEXEC).expect("an answer");
        if len == 0 {
            child.kill().and_then(|()| child.wait()).expect("killed");
            return None;
        }
        assert_eq!(Welcome::read_from_bytes(&welcome).expect("its length").version, sluice_abi::handover::VERSION);
        let [directory, ram, block, places] = <[OwnedFd; FILES]>::try_from(files).expect("four descriptors");
        set_socket_timeout(&places, Timeout::Recv, Some(PATIENCE)).expect("set");
        let [directory, ram, block] = [directory, ram, block].map(File::from);
        Some(Self { child, _life: life, socket, directory, ram, block, block_at: 0, places })
    }

    /// Connects as a program within VM `vm`, whose window file is `file`. The child has the part of QEMU.
    pub fn in_vm(lab: &Lab, vm: char, file: &str) -> Self {
        lab.until(vm, |vm| vm["connected_seconds"].is_null());
        let (child, life, socket) = child(lab, vm);
        lab.until(vm, |vm| vm["connected_seconds"].is_number());
        let open = || File::options().read(true).write(true).open(lab.file(file)).expect("a file of the server");
        let places = life.try_clone().expect("a copy");
        let [directory, ram, block] = [open(), open(), open()];
        Self { child, _life: life, socket, directory, ram, block, block_at: window_file::REQUEST, places }
    }

    /// Connects as VM `vm`, once the one before has ended.
    #[track_caller]
    pub fn connect(lab: &Lab, vm: char) -> Self {
        lab.until(vm, |vm| vm["connected_seconds"].is_null());
        Self::try_connect(lab, vm).expect("a welcome")
    }

    /// Makes a request, and returns the answer.
    pub fn request(&mut self, request: [u32; 4]) -> std::io::Result<u32> {
        let mut answer = [0; 4];
        self.socket.write_all(request.as_bytes())?;
        self.socket.read_exact(&mut answer).map(|()| u32::from_ne_bytes(answer))
    }

    /// Makes a request with these descriptors, and returns the answer.
    pub fn request_with(&mut self, request: [u32; 4], files: &[&File]) -> std::io::Result<u32> {
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_PLACES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        sendmsg(&self.socket, &[IoSlice::new(request.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
        let mut answer = [0; 4];
        self.socket.read_exact(&mut answer).map(|()| u32::from_ne_bytes(answer))
    }

    /// Writes registers.
    #[track_caller]
    pub fn write(&mut self, registers: &[(u32, u32)]) {
        for &(register, value) in registers {
            self.request([1, register, value, 0]).expect("an answer");
        }
    }

    /// Returns the next placement: peer, places, and their files.
    #[track_caller]
    pub fn placement(&self) -> (u32, Vec<Place>, Vec<OwnedFd>) {
        let mut bytes = [0; size_of::<Placement>() + MAX_PLACES * size_of::<Place>()];
        let (len, files) = receive(&self.places, &mut bytes, RecvFlags::CMSG_CLOEXEC).expect("a placement");
        let (Placement { peer, count }, places) = Placement::read_from_prefix(&bytes[..len]).expect("a header");
        let places = <[Place]>::ref_from_bytes(places).expect("whole places").to_vec();
        assert_eq!((count as usize, places.len()), (places.len(), files.len()));
        (peer, places, files)
    }

    /// Returns whether there is a placement.
    pub fn has_placement(&self) -> bool {
        let peeked = receive(&self.places, &mut [0], RecvFlags::DONTWAIT | RecvFlags::PEEK);
        peeked.err() != Some(Errno::AGAIN)
    }

    /// Sends `bytes` as the answer to a placement.
    pub fn answer(&self, bytes: &[u8]) {
        send(&self.places, bytes, SendFlags::NOSIGNAL).expect("sent");
    }

    /// Says what became of a placement.
    pub fn placed(&self, peer: u32, error: u32) {
        self.answer(Placed { peer, error }.as_bytes());
    }

    /// Writes the word of the request block that tells whether a call is under way.
    pub fn call(&self, word: u64) {
        self.block.write_all_at(&word.to_ne_bytes(), self.block_at + 8 * CALLS as u64).expect("written");
    }

    /// Returns the entry of the peer at `index` in the directory.
    pub fn peer(&self, index: usize) -> Peer {
        let mut bytes = vec![0; size_of::<Peer>()];
        let at = size_of::<Header>() + index * size_of::<Peer>();
        self.directory.read_exact_at(&mut bytes, at as u64).expect("a directory");
        Peer::read_from_bytes(&bytes).expect("its length")
    }

    /// Returns whether it is shown the peer at `index`.
    pub fn sees(&self, index: usize) -> bool {
        self.peer(index).state == PeerState::Ready as u32
    }

    /// Waits until it is shown the peer at `index`, or no more.
    #[track_caller]
    pub fn until_it_sees(&self, index: usize, sees: bool) {
        let start = Instant::now();
        while self.sees(index) != sees {
            assert!(start.elapsed() < PATIENCE, "peer {index}: {sees}");
            std::thread::yield_now();
        }
    }

    /// Waits until it is shown the peer at `index`, or told to map something. Returns whether it is shown the peer.
    pub fn comes_to_see(&self, index: usize) -> bool {
        let start = Instant::now();
        while !self.sees(index) && !self.has_placement() {
            assert!(start.elapsed() < PATIENCE, "peer {index}");
            std::thread::yield_now();
        }
        self.sees(index)
    }

    /// Maps nothing, but says that it did, and waits until it sees its first peer.
    #[track_caller]
    pub fn open(&self) {
        let (peer, ..) = self.placement();
        self.placed(peer, 0);
        self.until_it_sees(0, true);
    }

    /// Asserts that the server ends the child, as VM `vm`, and says `why`.
    #[track_caller]
    pub fn ends(mut self, lab: &Lab, vm: char, why: &str) {
        let start = Instant::now();
        while self.child.try_wait().expect("a state").is_none() {
            assert!(start.elapsed() < PATIENCE, "it goes on, in spite of: {why}");
            std::thread::yield_now();
        }
        assert_eq!(self.child.wait().expect("an end").signal(), Some(9), "{why}");
        lab.until(vm, |vm| {
            vm["connected_seconds"].is_null() && vm["last_end"].as_str().is_some_and(|end| end.contains(why))
        });
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
