//! The host's switch, which forwards the frames that VMs transmit to their network devices: those that no window
//! carries, such as broadcasts and frames to unknown destinations.
//!
//! Ports are the VMs' devices. Frames come out of a port's transmit queues, are forwarded by their destination, and go
//! into pair 0 of the receivers ([`Network::switched_queue`]), by the ring code of `trampoline/inside` on both sides. A
//! frame is forwarded only to VMs that the manifest permits to its sender, and only from addresses that the sender may
//! use. Dropped frames are counted by cause: see [`Counters`].
//!
//! Frames that an in-VM switch could not forward by itself come out of its port's slow path, and go back there
//! ([`SlowPath`]).
//!
//! Reading order: [`Switch::serve`] (a port's turn), `port` (its queues), `addresses` (where each address was seen),
//! `delivery` (into a receive queue), `slow` (the slow path of an in-VM switch), `offload` (checksums and segments for
//! receivers that did not negotiate them), `counters`, `tap`.
//!
//! # Hostile input
//! Rings, headers and frames are read once, into memory of the host, and each service takes a bounded number of
//! frames and bytes. A queue that breaks the protocol is left alone until its driver starts it anew; the port's other
//! queues, and other ports, go on.
//!
//! # Why frames are copied twice
//! A frame that is copied straight from the sender's memory into the receivers' could change between the check of its
//! addresses and the copy.

mod addresses;
mod counters;
mod delivery;
mod offload;
mod port;
mod slow;
mod tap;

use crate::device::{COMMAND_LEN, Device, Event, is_multicast};
use crate::{Manifest, Network};
use addresses::Addresses;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
pub use counters::Counters;
use delivery::{Delivery, Room, TransmittedFrame};
use port::Port;
pub use slow::{Answer, Missed, SlowPath};
use sluice_abi::Gpa;
use sluice_abi::net::{self, Hdr};
use sluice_inside::Dequeue;
use sluice_memory::{PeerSlice, Words};
pub use tap::{PCAP_HEADER, Tap, pcap_record};

/// Largest number of commands that one service carries out.
const COMMANDS: usize = 16;
/// Largest number of frames that one service takes.
const FRAMES: u32 = 64;
/// Number of copied bytes after which a service takes no more frames. The last frame may have any length, and go to
/// every port.
const BYTES: u64 = 64 << 10;

/// A used buffer notification that a driver asked for and that is due now. See: VIRTIO 2.7.7.2 "Device Requirements:
/// Used Buffer Notification Suppression", 2.8.10 "Driver and Device Event Suppression".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// The driver's VM.
    pub vm: u32,
    /// Address of the four bytes that changed when the buffer was used, for a host whose VMs wait for a change of
    /// memory. The driver chose it: the bytes are within the VM's RAM, but need not be aligned.
    pub word: Gpa,
}

/// The result of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// A change that concerns the senders to the VM that was served: its driver gave a command on the control queue.
    pub event: Option<Event>,
    /// Whether there may be more frames to take: the port is to be served again without a notification.
    pub more: bool,
    /// The notifications to send: by [`Network::tell`], and by the host's way to wake the VM.
    pub told: BTreeSet<Told>,
}

/// A switch with a port for each VM.
pub struct Switch {
    ports: Vec<Port>,
    addresses: Addresses,
    room: Room,
}

/// The parts of the host that a service uses.
struct Turn<'t, T> {
    network: &'t Network,
    now: u64,
    tap: &'t mut T,
    told: &'t mut BTreeSet<Told>,
}

impl Switch {
    /// Length in bytes of the memory that a switch needs for itself.
    pub const ROOM_LEN: u64 = Room::LEN;

    /// Returns a switch for the VMs of `manifest`. `rams` is the RAM of each, from guest-physical address 0 on; `room`
    /// has [`Self::ROOM_LEN`] bytes that nobody else uses. Returns `None` if either is too short.
    pub fn new(manifest: &Manifest, rams: &[PeerSlice<'static>], room: PeerSlice<'static>) -> Option<Self> {
        let port = |id: usize| Port::new(*rams.get(id)?, manifest.lan_of(id).collect());
        let ports = (0..manifest.vms.len()).map(port).collect::<Option<_>>()?;
        Some(Self { ports, addresses: Addresses::new(manifest.ageing_ticks), room: Room::new(room)? })
    }

    /// Returns the counters of VM `vm`'s port.
    pub fn counters(&self, vm: u32) -> Counters {
        self.ports.get(vm as usize).map_or_else(Counters::default, |port| port.counters)
    }

    /// Serves the port of VM `vm`, whose driver notified a queue: carries out the commands on the control queue, and
    /// forwards the frames on the transmit queues, up to the limits of one service. `now` is the time in the unit of
    /// the manifest's `ageing_ticks`. `tap` sees each frame that is taken from a VM or forwarded to it; `slow` decides
    /// about those on a slow path.
    pub fn serve(
        &mut self,
        network: &mut Network,
        vm: u32,
        now: u64,
        tap: &mut impl Tap,
        slow: &mut impl SlowPath,
    ) -> Served {
        if vm as usize >= self.ports.len() {
            return Served::default();
        }
        let mut served = self.obey(network, vm);
        let Some(device) = network.device(vm) else { return served };
        let first = self.ports[vm as usize].next_pair(device.pairs());
        let Served { told, more, .. } = &mut served;
        let (mut turn, mut frames, mut bytes) = (Turn { network, now, tap, told }, 0, 0);
        let slow_pair = turn.network.slow_pair(vm);
        for pair in (first..device.pairs()).chain(0..first) {
            let index = net::transmitq(pair);
            while frames < FRAMES
                && bytes < BYTES
                && turn.tap.has_room()
                && let Some((hdr, len)) = self.take(&mut turn, vm as usize, device, index)
            {
                let is_slow = slow_pair == Some(pair);
                let copied = match hdr {
                    Some(hdr) if is_slow => self.missed(&mut turn, vm as usize, (hdr, len), slow),
                    Some(hdr) => self.forward(&mut turn, vm as usize, hdr, len),
                    None => 0,
                };
                (frames, bytes) = (frames + 1, bytes + u64::from(len) + copied);
            }
            *more |= self.ports[vm as usize].is_pending(device, index);
        }
        if slow_pair.is_some() {
            self.decided(&mut turn, vm as usize, slow);
        }
        served
    }

    /// Carries out the commands on the control queue of VM `vm`.
    fn obey(&mut self, network: &mut Network, vm: u32) -> Served {
        let (mut served, port) = (Served::default(), &mut self.ports[vm as usize]);
        let Some(index) = network.device(vm).and_then(Device::controlq) else { return served };
        let mut room = [0; COMMAND_LEN];
        for _ in 0..COMMANDS {
            let queue = network.device(vm).and_then(|device| device.queue(index));
            let Some((ring, regions)) = port.ring(queue) else { return served };
            let word = ring.next_used();
            let responded = ring.respond(regions, &mut room, |bytes| {
                let (answer, event) = network.command(vm, bytes.unwrap_or_default());
                served.event = served.event.or(event);
                answer
            });
            if ring.needs_notification() {
                port.tell(Told { vm, word }, &mut served.told);
            }
            match responded {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => port.blame(index),
            }
        }
        served.more = network.device(vm).is_some_and(|device| port.is_pending(device, index));
        served
    }

    /// Takes a frame from queue `index` of port `from`, if there is one. Returns its header and its length; no header
    /// if the frame is longer than any, and was dropped.
    fn take(
        &mut self,
        turn: &mut Turn<'_, impl Tap>,
        from: usize,
        device: &Device,
        index: u16,
    ) -> Option<(Option<Hdr>, u32)> {
        let port = &mut self.ports[from];
        let (ring, regions) = port.ring(device.queue(index))?;
        let word = ring.next_used();
        let taken = ring.dequeue(regions, self.room.frame, Words);
        // The frame was copied into the room, so the driver gets its buffer back.
        ring.publish();
        if ring.needs_notification() {
            port.tell(Told { vm: from as u32, word }, turn.told);
        }
        match taken {
            Ok(Dequeue::Empty) => return None,
            Ok(Dequeue::Frame { hdr, len }) => {
                port.counters.taken += 1;
                return Some((Some(hdr), len));
            }
            Ok(Dequeue::TooLong) => {
                port.counters.taken += 1;
                port.counters.malformed += 1;
                return Some((None, self.room.frame.len() as u32));
            }
            Err(_) => port.blame(index),
        }
        None
    }

    /// Forwards the frame of `len` bytes that port `from` transmitted. Returns how many bytes went into receive queues.
    fn forward(&mut self, turn: &mut Turn<'_, impl Tap>, from: usize, hdr: Hdr, len: u32) -> u64 {
        let counters = &mut self.ports[from].counters;
        let Some(frame) = self.room.frame(hdr, len) else {
            counters.malformed += 1;
            return 0;
        };
        turn.tap.frame(from as u32, frame.bytes);
        if !turn.network.may_send_from(from as u32, frame.source) {
            counters.source_refused += 1;
            return 0;
        }
        if turn.network.owner_of(frame.source).is_none() && !self.addresses.learn(frame.source, from, turn.now) {
            counters.not_learned += 1;
        }
        let targets = self.targets(turn, from, frame.destination);
        if targets.is_empty() {
            self.ports[from].counters.denied += 1;
        }
        targets.into_iter().map(|to| self.deliver(turn, from, to, &frame)).sum()
    }

    /// Returns the ports to which a frame from port `from` to `destination` goes; none if the manifest permits none of
    /// them to the sender.
    fn targets(&self, turn: &Turn<'_, impl Tap>, from: usize, destination: [u8; 6]) -> Vec<usize> {
        let owner = turn.network.owner_of(destination).map(|vm| vm as usize);
        let known = owner.or_else(|| self.addresses.find(destination, turn.now)).filter(|_| !is_multicast(destination));
        let lan = self.ports[from].lan.iter().copied();
        lan.filter(|&to| known.is_none_or(|port| port == to)).collect()
    }

    /// Puts `frame` into the receive queue of port `to`, in a form that its driver negotiated. Returns how many bytes
    /// went there.
    fn deliver(&mut self, turn: &mut Turn<'_, impl Tap>, from: usize, to: usize, frame: &TransmittedFrame) -> u64 {
        let port = &mut self.ports[to];
        let Some(device) = turn.network.device(to as u32).filter(|device| device.takes(frame.destination)) else {
            port.counters.filtered += 1;
            return 0;
        };
        let queue = turn.network.switched_queue(to as u32);
        let mut delivery = Delivery { vm: to as u32, port, device, queue, tap: turn.tap, told: turn.told, copied: 0 };
        let made = delivery.send(&self.room, frame);
        let copied = delivery.copied;
        if made.is_none() {
            self.ports[from].counters.malformed += 1;
        }
        copied
    }
}
