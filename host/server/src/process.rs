//! A process in the role of a VM, or a program within a VM: its memory, the registers of its device, and what it is
//! shown of its peers.
//!
//! The process is as hostile as a guest, but for one thing: what it was shown of a peer it can write for as long as it
//! lives. So a process that does not leave a peer in time is ended: see `server/windows.rs`. A VM is not.

use crate::server::FlowFiles;
use crate::sockets::is_now;
use crate::windows::Window;
use rustix::event::PollFlags;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal, test_kill_process};
use rustix::thread::futex;
use rustix::{cmsg_space, io};
use sluice_abi::call::CALLS;
use sluice_abi::directory::{Queue, word};
use sluice_abi::handover::{FILES, MAX_PLACES, Place, Placed, Placement, VERSION, Welcome, window_file};
use sluice_abi::map::{DIRECTORY_LEN, PAGE};
use sluice_abi::{Gpa, PeerIdx};
use sluice_control::{Call, Directory, publish};
use sluice_memory::{SharedWords, Table};
use sluice_vhost_user::memory::{DeviceRing, GuestMemory, Mapping};
use sluice_vhost_user::sealed::{resizable_by_nobody, written_here};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use zerocopy::{FromZeros, IntoBytes};

/// A message of the process about its device: see docs/interfaces.md.
pub type Request = [u32; 4];

/// A process that is connected.
pub struct Process {
    socket: UnixStream,
    /// The socket on which the memory of peers is placed; none if devices of a VM have it.
    places: Option<OwnedFd>,
    /// The process, or the VM's QEMU, as a descriptor that becomes readable when it has ended.
    exit: OwnedFd,
    /// The bytes of the request that comes, and how many there are.
    request: (Request, usize),
    /// The file that came with them.
    given: Option<OwnedFd>,
    directory: Mapping,
    block: Mapping,
    /// The RAM, the file that shares it, and where it begins there, in bytes.
    ram: Mapping,
    file: File,
    ram_at: u64,
    memory: Rc<GuestMemory>,
    /// The rings that are in use, each as the directory describes it.
    rings: Vec<(Queue, DeviceRing)>,
    /// The windows of the process, by index of the peer.
    pub windows: Vec<Window>,
    /// The call in which a VM stayed for too long: until it ends no window opens, since it goes by one of before.
    pub stuck: Option<Call>,
}

impl Process {
    /// Takes the process at the other end of `socket`, and hands it `ram_len` bytes of RAM, a window directory and a
    /// request block, and the flow memory of its in-VM switch, if it has one.
    pub fn welcome(socket: UnixStream, ram_len: u64, peers: usize, flows: Option<&FlowFiles>) -> std::io::Result<Self> {
        let pid = socket_peercred(&socket)?.pid;
        let exit = pidfd_open(pid, PidfdFlags::empty())?;
        // Who could not be ended could keep a peer waiting for ever.
        test_kill_process(pid)?;
        let (shown, directory) = written_here("sluice directory", DIRECTORY_LEN)?;
        let [file, block] =
            [("sluice RAM", ram_len), ("sluice request block", PAGE)].map(|(name, len)| resizable_by_nobody(name, len));
        let (file, block) = (file?, block?);
        let pages = [directory, Mapping::of_file(&block, 0, PAGE)?];
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (places, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // The other end waits for packets.
        rustix::io::ioctl_fionbio(&theirs, false)?;
        let process = Self::new(socket, exit, pages, (file, 0, ram_len), peers)?;
        let process = Self { places: Some(places), ..process };
        let files: [BorrowedFd<'_>; FILES] = [shown.as_fd(), process.file.as_fd(), block.as_fd(), theirs.as_fd()];
        let flows = flows.map_or(&[][..], |flows| flows);
        let files: Vec<_> = files.into_iter().chain(flows.iter().map(AsFd::as_fd)).collect();
        send_with(&process.socket, Welcome { version: VERSION, flow_files: flows.len() as u32 }.as_bytes(), &files)?;
        Ok(process)
    }

    /// Takes the VM whose QEMU is at the other end of `socket`, and has `file` with `ram_len` bytes of RAM as a device.
    pub fn of_vm(socket: UnixStream, file: &File, ram_len: u64, peers: usize) -> std::io::Result<Self> {
        let exit = pidfd_open(socket_peercred(&socket)?.pid, PidfdFlags::empty())?;
        let page = |at, len| Mapping::of_file(file, at, len);
        let pages = [page(window_file::DIRECTORY, DIRECTORY_LEN)?, page(window_file::REQUEST, PAGE)?];
        Self::new(socket, exit, pages, (file.try_clone()?, window_file::RAM, ram_len), peers)
    }

    fn new(
        socket: UnixStream,
        exit: OwnedFd,
        [directory, block]: [Mapping; 2],
        (file, ram_at, ram_len): (File, u64, u64),
        peers: usize,
    ) -> std::io::Result<Self> {
        let map = || Mapping::of_file(&file, ram_at, ram_len);
        let memory = GuestMemory::new(vec![(Gpa(0), map()?)]);
        let memory = memory.map_err(|clause| std::io::Error::other(format!("{clause:?}")))?;
        let process = Self {
            socket,
            places: None,
            exit,
            request: (Request::default(), 0),
            given: None,
            directory,
            block,
            ram: map()?,
            file,
            ram_at,
            memory: Rc::new(memory),
            rings: Vec::new(),
            windows: (0..peers).map(|_| Window::default()).collect(),
            stuck: None,
        };
        process.publish(&Directory::default());
        Ok(process)
    }

    /// Returns whether it is a program within a VM.
    pub const fn is_in_vm(&self) -> bool {
        self.places.is_none()
    }

    /// Forgets what a program within the VM was doing, as another one has begun.
    pub fn begin_again(&mut self) {
        if let Some(block) = table(&self.block, CALLS + 1) {
            block.store(CALLS, 0);
        }
        self.rings.clear();
        self.windows.fill(Window::default());
        self.stuck = None;
    }

    /// Returns whether the call in which the VM stayed has ended since this was asked last.
    pub fn is_back(&mut self) -> bool {
        let is_back = self.stuck.is_some_and(|call| self.has_left(call));
        self.stuck = self.stuck.filter(|_| !is_back);
        is_back
    }

    /// Returns the socket of requests.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Returns the other descriptors to wait for: the answers to placements, and the end of the process.
    pub fn sources(&self) -> (Option<BorrowedFd<'_>>, BorrowedFd<'_>) {
        (self.places.as_ref().map(AsFd::as_fd), self.exit.as_fd())
    }

    /// Returns the length of the RAM in bytes, and the file that shares it, with the offset of the RAM there.
    pub const fn ram(&self) -> (u64, &File, u64) {
        (self.ram.slice().len(), &self.file, self.ram_at)
    }

    /// Returns the request that has come, if all of it has. It stays until it is [answered](Process::answer).
    pub fn next(&mut self) -> Result<Option<Request>, String> {
        while self.request.1 < size_of::<Request>() {
            match self.receive() {
                Ok(0) | Err(Errno::CONNRESET) => return Err("the process has hung up".into()),
                Ok(count) => self.request.1 += count,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
                Err(Errno::MFILE) => return Err("a request with more than one descriptor".into()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(Some(self.request.0))
    }

    /// Receives some of a request, and the descriptor that it may have. Returns the number of bytes.
    fn receive(&mut self) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let (mut control, (request, have)) = (RecvAncillaryBuffer::new(&mut space), &mut self.request);
        let rest = &mut [IoSliceMut::new(&mut request.as_mut_bytes()[*have..])];
        let received = recvmsg(&self.socket, rest, &mut control, RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC)?;
        let mut is_one = !received.flags.contains(ReturnFlags::CTRUNC);
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(files) = message else { continue };
            files.for_each(|file| is_one &= self.given.replace(file).is_none());
        }
        if is_one { Ok(received.bytes) } else { Err(Errno::MFILE) }
    }

    /// Makes the file that came with the request the RAM, which is of the same length, from byte `at` on. Its memory is
    /// there from then on, so that the server can touch it.
    pub fn take_ram(&mut self, at: u64) -> io::Result<()> {
        let file = File::from(self.given.take().ok_or(Errno::BADF)?);
        let len = self.ram.slice().len();
        let refused = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
        let map = || Mapping::of_file(&file, at, len).map_err(refused);
        let (ram, memory) = (map()?, GuestMemory::new(vec![(Gpa(0), map()?)]).map_err(|_| Errno::INVAL)?);
        fallocate(&file, FallocateFlags::KEEP_SIZE, at, len)?;
        (self.ram, self.memory, self.file, self.ram_at) = (ram, Rc::new(memory), file, at);
        Ok(())
    }

    /// Returns whether a request has come, at least in part, and is not answered.
    pub const fn holds(&self) -> bool {
        self.request.1 == size_of::<Request>()
    }

    /// Answers the request.
    pub fn answer(&mut self, answer: u32) -> Result<(), String> {
        (self.request.1, self.given) = (0, None);
        match send(&self.socket, answer.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(4) => Ok(()),
            Ok(_) | Err(Errno::AGAIN) => Err("the process reads no answers".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Shows the process `directory`.
    pub fn publish(&self, directory: &Directory) {
        if let Some(words) = table(&self.directory, word::COUNT) {
            publish(&words, directory);
        }
    }

    /// Returns the call of the process that is under way and may go by an earlier directory, if there is one.
    pub fn call_under_way(&self) -> Option<Call> {
        Call::under_way(&table(&self.block, CALLS + 1)?)
    }

    /// Returns whether `call` has ended.
    pub fn has_left(&self, call: Call) -> bool {
        table(&self.block, CALLS + 1).is_none_or(|block| call.is_over(&block))
    }

    /// Has the process map `places` as all the memory of `peer`.
    pub fn place(&self, peer: PeerIdx, places: &[(Place, OwnedFd)]) -> io::Result<()> {
        let (places, files): (Vec<_>, Vec<_>) = places.iter().map(|(place, file)| (*place, file.as_fd())).unzip();
        let head = Placement { peer: peer.0.into(), count: places.len() as u32 };
        let socket = self.places.as_ref().ok_or(Errno::NOTSOCK)?;
        send_with(socket, &[head.as_bytes(), places.as_bytes()].concat(), &files)
    }

    /// Returns the next answer to a placement, if one has come.
    pub fn placed(&self) -> Result<Option<Placed>, String> {
        let (mut placed, Some(socket)) = (Placed::new_zeroed(), &self.places) else { return Ok(None) };
        match recv(socket, placed.as_mut_bytes(), RecvFlags::DONTWAIT) {
            Ok((len, _)) if len == size_of::<Placed>() => Ok(Some(placed)),
            Ok((len, _)) => Err(format!("an answer of {len} bytes to a placement")),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Returns whether the process has closed the socket of placements, as it does when it ends.
    pub fn has_hung_up(&self) -> bool {
        is_now(self.places.as_ref().map_or(self.socket.as_fd(), AsFd::as_fd), PollFlags::RDHUP)
    }

    /// Returns the device side of `queue`, which the driver has in use.
    pub fn ring(&mut self, queue: &Queue) -> Option<&mut DeviceRing> {
        // A queue that started anew is another one.
        self.rings.retain(|(known, _)| known.index != queue.index || known == queue);
        if !self.rings.iter().any(|(known, _)| known == queue) {
            self.rings.push((*queue, DeviceRing::new(&self.memory, queue, None).ok()?));
        }
        self.rings.iter_mut().find(|(known, _)| known == queue).map(|(_, ring)| ring)
    }

    /// Wakes the process, if it sleeps on the word at `at` of its RAM.
    pub fn wake(&self, at: Gpa) {
        if let Some(word) = self.ram.slice().atomic32(at.0) {
            // Nobody may sleep there.
            let _ = futex::wake(word, futex::Flags::empty(), 1);
        }
    }

    /// Returns whether the process has ended, and with it whatever it could write.
    pub fn has_ended(&self) -> bool {
        is_now(&self.exit, PollFlags::IN)
    }

    /// Ends the process.
    pub fn kill(&self) -> io::Result<()> {
        pidfd_send_signal(&self.exit, Signal::KILL)
    }
}

/// Returns the first `count` words of `mapping`.
fn table(mapping: &Mapping, count: usize) -> Option<Table<'_, u64>> {
    mapping.slice().table(0, count as u16)
}

/// Sends `bytes` with `files`, all at once.
fn send_with(socket: impl AsFd, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_PLACES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(Errno::TOOMANYREFS);
    }
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::AGAIN) }
}
