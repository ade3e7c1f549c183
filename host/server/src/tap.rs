//! A tap: a device of the host's network, of which the server has the other end. What the host's kernel transmits by
//! the device is read here, and what is written here the kernel receives.
//!
//! The kernel's header before each frame is that of virtio-net, so checksums and segments are left to the other side as
//! between VMs. See: Linux kernel, "Universal TUN/TAP device driver", drivers/net/tun.c (`IFF_VNET_HDR`,
//! `TUNSETOFFLOAD`).
//!
//! # Why the crate's own reads and writes are not used
//! They segment and merge. The switch has its own code for that, for the receivers that did not agree to do it.

use rustix::io::{Errno, read, write};
use rustix::process::geteuid;
use sluice_abi::Gpa;
use sluice_abi::call::Clause;
use sluice_abi::directory::Queue;
use sluice_abi::net::{self, F, HDR_LEN, Hdr};
use sluice_control::Ring;
use sluice_inside::{Dequeue, Enqueue};
use sluice_memory::PeerSlice;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Instant;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};
use zerocopy::IntoBytes;

/// Where the kernel gives taps.
pub const TUN: &str = "/dev/net/tun";
/// Length of the kernel's header with offloads: as in VIRTIO before 1.0, and longer than any kernel has it, bytes.
const HEADERS: std::ops::RangeInclusive<usize> = 10..=64;
const ETHERNET: usize = net::ETHERNET_HEADER as usize;

/// A tap that is open.
pub struct TapDevice {
    device: SyncDevice,
    /// Length of the header before each frame, bytes; 0 without offloads.
    header: usize,
    /// Room for header and frame, and one byte by which a frame is seen to be too long.
    room: Vec<u8>,
    /// Why the device is lost.
    fault: Option<String>,
    /// Whether the device was down when a frame was written last: the kernel receives nothing.
    pub is_down: bool,
    pub since: Instant,
}

impl TapDevice {
    /// Opens the device `name`: one that is there, or a new one where this user may make it. A new one is gone when it
    /// is closed. With `offloads` both sides may leave checksums and segments to each other. The error is a line that
    /// says what to do.
    pub fn open(name: &str, offloads: bool) -> Result<Self, String> {
        // The crate would make the file, and hide that the kernel has no such devices.
        if !Path::new(TUN).exists() {
            return Err(format!("{TUN} is missing: modprobe tun"));
        }
        let builder = DeviceBuilder::new().name(name).layer(Layer::L2).offload(offloads).inherit_enable_state();
        let device = builder.build_sync().map_err(|error| why(name, &error))?;
        device.set_nonblocking(true).map_err(|error| error.to_string())?;
        let header = if offloads { header_len(&device)? } else { 0 };
        let room = vec![0; header + usize::from(net::MAX_FRAME) + 1];
        Ok(Self { device, header, room, fault: None, is_down: false, since: Instant::now() })
    }

    /// Returns what the network knows of the tap: what may be left to the kernel, and the two queues that stand for the
    /// two directions.
    pub fn set_up(&self) -> (F, [Queue; 2]) {
        let offloads = F::GUEST_CSUM | F::GUEST_TSO4 | F::GUEST_TSO6 | F::GUEST_ECN;
        let features = F::VERSION_1 | if self.header > 0 { offloads } else { F::empty() };
        let queue = |index| Queue { index, size: 1, features: features.bits(), ..Queue::default() };
        (features, [net::receiveq(0), net::transmitq(0)].map(queue))
    }

    /// Returns why the device is lost, if it is.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    fn lose(&mut self, error: Errno) {
        self.fault = Some(format!("the device is gone: {error}"));
    }
}

impl AsFd for TapDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// Returns why `name` can't be opened, and what to do.
fn why(name: &str, error: &io::Error) -> String {
    let user = geteuid().as_raw();
    match Errno::from_io_error(error) {
        Some(Errno::PERM) => {
            format!("{error}: make it as root: ip tuntap add dev {name} mode tap user {user} vnet_hdr")
        }
        Some(Errno::ACCESS) => format!("{TUN}: {error}: user {user} has to be allowed to read and write it"),
        Some(Errno::BUSY) => format!("{error}: another program has it open"),
        Some(Errno::INVAL) => format!("{error}: there is a device of this name that is no tap, or has several queues"),
        _ => error.to_string(),
    }
}

/// Returns the length of the header that the kernel has before the frames of `device`. Who had the device before may
/// have changed it, and the crate does not ask.
///
/// The kernel refuses what is shorter than header and Ethernet header, whatever it holds, so the shortest that it takes
/// says the length. If the device is up, the kernel receives that: an Ethernet header without payload, from no station,
/// to a group that no bridge forwards. See: IEEE 802.1Q clause 8.6.3 "Frame filtering".
fn header_len(device: &SyncDevice) -> Result<usize, String> {
    let ethernet: [u8; ETHERNET] = [0x01, 0x80, 0xc2, 0, 0, 0x0e, 0, 0, 0, 0, 0, 0, 0x88, 0xb5];
    for header in HEADERS {
        let bytes = [&vec![0; header][..], &ethernet].concat();
        match write(device, &bytes) {
            Err(Errno::INVAL) => {}
            // It is down.
            Ok(_) | Err(Errno::IO) => return Ok(header),
            Err(error) => return Err(format!("its header: {error}")),
        }
    }
    Err("its header is longer than that of any kernel: delete the device, and make it anew".into())
}

/// A direction of a tap, as a queue: what the switch fills is written, and what it takes is read.
pub struct TapRing<'r>(pub &'r mut TapDevice);

impl Ring for TapRing<'_> {
    fn next_used(&self) -> Gpa {
        Gpa(0)
    }

    fn enqueue(&mut self, hdr: &Hdr, frame: PeerSlice<'_>, _: u32) -> Result<Enqueue, Clause> {
        let TapDevice { device, header, room, .. } = &mut *self.0;
        let end = *header + frame.len() as usize;
        let Some((head, bytes)) = room.get_mut(..end).and_then(|bytes| bytes.split_at_mut_checked(*header)) else {
            return Ok(Enqueue::TooLong);
        };
        head.fill(0);
        let len = head.len().min(HDR_LEN as usize);
        head[..len].copy_from_slice(&hdr.as_bytes()[..len]);
        if frame.copy_to_slice(0, bytes).is_err() {
            return Ok(Enqueue::TooLong);
        }
        let written = write(device.as_fd(), &room[..end]);
        self.0.is_down = written == Err(Errno::IO);
        Ok(match written {
            Ok(_) => Enqueue::Filled,
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::INTR | Errno::IO) => Enqueue::Full,
            Err(Errno::INVAL) => Enqueue::BadHeader,
            Err(error) => {
                self.0.lose(error);
                Enqueue::Full
            }
        })
    }

    fn dequeue(&mut self, into: PeerSlice<'_>) -> Result<Dequeue, Clause> {
        let TapDevice { device, header, room, .. } = &mut *self.0;
        let len = match read(device.as_fd(), &mut room[..]) {
            Ok(len) => len,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Dequeue::Empty),
            Err(error) => {
                self.0.lose(error);
                return Ok(Dequeue::Empty);
            }
        };
        let (head, frame) = room[..len].split_at(len.min(*header));
        let mut hdr = Hdr::default();
        let fields = head.len().min(*HEADERS.start());
        hdr.as_mut_bytes()[..fields].copy_from_slice(&head[..fields]);
        let copied = into.copy_from_slice(0, frame);
        Ok(copied.map_or(Dequeue::TooLong, |()| Dequeue::Frame { hdr, len: frame.len() as u32 }))
    }

    fn respond(&mut self, _: &mut [u8], _: impl FnOnce(Option<&[u8]>) -> u8) -> Result<bool, Clause> {
        Ok(false)
    }

    fn publish(&mut self) {}

    fn needs_notification(&mut self) -> bool {
        false
    }

    fn ask_for_notifications(&mut self, _: bool) {}

    /// Frames that wait make the descriptor readable for as long as they wait, so nobody has to ask for them.
    fn available(&self) -> Result<u16, Clause> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
