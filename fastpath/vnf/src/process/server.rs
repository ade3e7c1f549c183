//! A process that `sluiced` serves: it connects by itself, and a thread of its own maps the memory of its peers where
//! and when the server says so.

use super::print;
use super::shared::Peers;
use rustix::cmsg_space;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, send, sendmsg,
};
use sluice_abi::PeerIdx;
use sluice_abi::handover::{FILES, FLOW_FILES, MAX_PLACES, Place, Placed, Placement, VERSION, Welcome};
use sluice_abi::run::RUN_ALIGN;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::path::Path;
use zerocopy::{FromBytes, IntoBytes};

/// Length of the longest packet of the server, bytes.
const PACKET: usize = size_of::<Placement>() + MAX_PLACES * size_of::<Place>();

/// What the server hands over.
pub struct Handed {
    pub control: OwnedFd,
    pub directory: OwnedFd,
    pub ram: OwnedFd,
    pub request: OwnedFd,
    /// The socket on which the server places the memory of peers.
    pub places: OwnedFd,
    /// The flow table and the records, if this VM has an in-VM switch.
    pub flows: Option<[OwnedFd; FLOW_FILES]>,
}

/// Connects to the server at `path`, in the role of the VM whose socket that is.
pub fn connect(path: &Path) -> io::Result<Handed> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let socket = UnixStream::connect(path).map_err(named)?;
    let mut bytes = [0; size_of::<Welcome>()];
    let (len, mut files) = receive(&socket, &mut bytes).map_err(|error| named(error.into()))?;
    let welcome = Welcome::read_from_bytes(&bytes[..len]);
    let flows = <[OwnedFd; FLOW_FILES]>::try_from(files.split_off(files.len().min(FILES))).ok();
    let count = flows.as_ref().map_or(0, |flows| flows.len() as u32);
    let files = <[OwnedFd; FILES]>::try_from(files);
    match (welcome, files) {
        (Ok(Welcome { version: VERSION, flow_files }), Ok([directory, ram, request, places]))
            if flow_files == count =>
        {
            Ok(Handed { control: socket.into(), directory, ram, request, places, flows })
        }
        (Ok(Welcome { version, .. }), Ok(_)) if version != VERSION => {
            Err(named(io::Error::other(format!("the server speaks version {version}; {VERSION} is known here"))))
        }
        _ => Err(named(io::Error::other("no server that takes a process, or it has one for this VM already"))),
    }
}

/// Has the server take the file at `path` for the RAM that it has handed over, which has as many bytes.
pub fn give_ram(handed: Handed, path: &Path) -> io::Result<Handed> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("SLUICE_RAM: {}: {error}", path.display()));
    let file = File::options().read(true).write(true).open(path).map_err(named)?;
    let [len, wanted] = [fstat(&file)?, fstat(&handed.ram)?].map(|stat| stat.st_size);
    if len != wanted {
        return Err(named(io::Error::other(format!("{len} bytes; ram_mib of this VM is {} MiB", wanted >> 20))));
    }
    let request = [6, (len as u64 / RUN_ALIGN) as u32, 0, 0];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let (mut control, files) = (SendAncillaryBuffer::new(&mut space), [file.as_fd()]);
    control.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(&handed.control, &[IoSlice::new(request.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    let mut answer = [0; 4];
    File::from(handed.control.try_clone()?).read_exact(&mut answer)?;
    match u32::from_ne_bytes(answer) {
        0 => Ok(Handed { ram: file.into(), ..handed }),
        error => Err(named(io::Error::from_raw_os_error(error as i32))),
    }
}

/// Maps the memory of peers as the server says on `socket`. Once the server has gone the process ends, as a VM does
/// whose host is switched off: its peers may be somebody else's to fill by then.
pub fn follow(socket: OwnedFd, peers: Peers) -> io::Result<()> {
    let work = move || {
        let why = loop {
            if let Err(why) = turn(&socket, &peers) {
                break why;
            }
        };
        print(format_args!("error: the server has gone: {why}\n"));
        std::process::exit(1)
    };
    std::thread::Builder::new().name("sluice-places".into()).spawn(work).map(|_| ())
}

/// Handles one packet of the server.
fn turn(socket: &OwnedFd, peers: &Peers) -> io::Result<()> {
    let mut bytes = [0; PACKET];
    let (len, files) = receive(socket, &mut bytes)?;
    let broken = || io::Error::other(format!("a packet of {len} bytes with {} descriptors", files.len()));
    let (placement, places) = Placement::read_from_prefix(&bytes[..len]).map_err(|_| broken())?;
    let Placement { peer, count } = placement;
    let places = <[Place]>::ref_from_bytes(places).ok().filter(|places| places.len() == files.len());
    let places = places.filter(|places| places.len() == count as usize).ok_or_else(broken)?;
    let index = PeerIdx::new(peer as usize).ok_or_else(broken)?;
    let places: Vec<_> = places.iter().copied().zip(files).collect();
    let error = peers.place(index, &places).err().map_or(0, |errno| errno.raw_os_error() as u32);
    send(socket, Placed { peer, error }.as_bytes(), SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives what comes next on `socket`, up to the length of `bytes`, with its descriptors.
fn receive(socket: &impl AsFd, bytes: &mut [u8]) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    loop {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_PLACES))];
        let (mut control, mut files) = (RecvAncillaryBuffer::new(&mut space), Vec::new());
        let received = match recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => continue,
            received => received?,
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                files.extend(descriptors);
            }
        }
        return match received.bytes {
            0 => Err(Errno::CONNRESET),
            _ if received.flags.contains(ReturnFlags::CTRUNC) => Err(Errno::MFILE),
            len => Ok((len, files)),
        };
    }
}
