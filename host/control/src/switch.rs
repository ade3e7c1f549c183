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
//! Reading order: [`Switch::serve`] (a port's turn), `rings` (what it needs of queues), `ram` (those of VMs whose RAM
//! stays), `port`, `addresses` (where each address was seen), `delivery` (into a receive queue), `slow` (the slow path
//! of an in-VM switch), `offload` (checksums and segments for receivers that did not negotiate them), `limit`,
//! `counters`, `tap`.
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
mod limit;
mod offload;
mod port;
mod ram;
mod rings;
mod slow;
mod tap;

use crate::device::{COMMAND_LEN, Device, Event, is_multicast};
use crate::{Manifest, Network};
use addresses::Addresses;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
pub use counters::Counters;
use delivery::{Delivery, Room, TransmittedFrame};
pub use limit::Limit;
use port::Port;
pub use port::PortConfig;
pub use ram::RamRings;
pub use rings::{Ring, Rings};
pub use slow::{Answer, Missed, SlowPath};
use sluice_abi::Gpa;
use sluice_abi::directory::Queue;
use sluice_abi::net::{self, Hdr};
use sluice_inside::Dequeue;
use sluice_memory::PeerSlice;
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
    /// Number of the queue with the buffer.
    pub queue: u16,
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
pub struct Switch<R = RamRings> {
    ports: Vec<Port>,
    rings: R,
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
        let port = |id: usize| PortConfig { lan: manifest.lan_of(id).collect(), ..PortConfig::default() };
        let rings = RamRings::new(rams.get(..manifest.vms.len())?)?;
        Self::with_rings((0..manifest.vms.len()).map(port), rings, manifest.ageing_ticks, room)
    }
}

impl<R: Rings> Switch<R> {
    /// Returns a switch with `ports` over `rings`, which forgets an address after `ageing`, in the unit of time that
    /// services have. `room` is as for [`Switch::new`].
    pub fn with_rings(
        ports: impl IntoIterator<Item = PortConfig>,
        rings: R,
        ageing: u64,
        room: PeerSlice<'static>,
    ) -> Option<Self> {
        let ports = ports.into_iter().map(Port::new).collect();
        Some(Self { ports, rings, addresses: Addresses::new(ageing), room: Room::new(room)? })
    }

    /// Gives the switch other ports. Each comes with the number that it had before, if it was there: it keeps its
    /// counters, its addresses, and its place in a limit that stays the same.
    pub fn change(&mut self, ports: impl IntoIterator<Item = (PortConfig, Option<usize>)>, ageing: u64) {
        let mut old: Vec<_> = core::mem::take(&mut self.ports).into_iter().map(Some).collect();
        let mut moved = alloc::vec![None; old.len()];
        for (new, (config, before)) in ports.into_iter().enumerate() {
            if let Some(moved) = before.and_then(|before| moved.get_mut(before)) {
                *moved = Some(new);
            }
            let port = before.and_then(|before| old.get_mut(before)?.take());
            self.ports.push(port.map_or_else(|| Port::new(config.clone()), |port| port.changed(config.clone())));
        }
        self.addresses.change(|port| moved.get(port).copied().flatten(), ageing);
    }

    /// Returns the rings.
    pub const fn rings(&mut self) -> &mut R {
        &mut self.rings
    }

    /// Returns the counters of VM `vm`'s port.
    pub fn counters(&self, vm: u32) -> Counters {
        let port = self.ports.get(vm as usize);
        port.map_or_else(Counters::default, |port| Counters { broken: self.rings.broken(vm), ..port.counters })
    }

    /// Returns the number of bytes of the frames that VM `vm` transmitted, and of those in its receive queue, that
    /// [`Counters`] has as `taken` and `forwarded`.
    pub fn bytes(&self, vm: u32) -> [u64; 2] {
        self.ports.get(vm as usize).map_or([0; 2], |port| port.bytes)
    }

    /// Serves the port of VM `vm`, whose driver notified a queue, as [`Switch::poll`] does, and asks its driver to
    /// notify the host of more.
    pub fn serve(
        &mut self,
        network: &mut Network,
        vm: u32,
        now: u64,
        tap: &mut impl Tap,
        slow: &mut impl SlowPath,
    ) -> Served {
        let mut served = self.poll(network, vm, now, tap, slow);
        served.more = self.ask_for_notifications(network, vm, true);
        served
    }

    /// Serves the port of VM `vm`: carries out the commands on the control queue, and forwards the frames on the
    /// transmit queues, up to the limits of one service. `now` is the time in the unit of the manifest's
    /// `ageing_ticks`; a [`Limit`] needs nanoseconds. `tap` sees each frame that is taken from a VM or forwarded to it;
    /// `slow` decides about those on a slow path. There may be more to take if anything was taken.
    pub fn poll(
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
        }
        *more |= frames > 0;
        if slow_pair.is_some() {
            self.decided(&mut turn, vm as usize, slow);
        }
        served
    }

    /// Asks the driver of VM `vm` to notify the host of the next buffer on each queue that the host serves, or not to.
    /// Returns whether there is one already.
    pub fn ask_for_notifications(&mut self, network: &Network, vm: u32, on: bool) -> bool {
        let Some(device) = network.device(vm) else { return false };
        let served = (0..device.pairs()).map(net::transmitq).chain(device.controlq());
        served.map(|index| self.is_pending(vm, device.queue(index), on)).fold(false, |any, one| any | one)
    }

    /// Asks for notifications of the next buffer on `queue`, or asks for none. Returns whether there is one already.
    fn is_pending(&mut self, vm: u32, queue: Option<Queue>, on: bool) -> bool {
        let Some(queue) = queue else { return false };
        let Some(mut ring) = self.rings.ring(vm, &queue) else { return false };
        ring.ask_for_notifications(on);
        let available = ring.available();
        drop(ring);
        available.map_or_else(
            |clause| {
                self.rings.blame(vm, queue.index, clause);
                false
            },
            |available| available > 0,
        )
    }

    /// Carries out the commands on the control queue of VM `vm`.
    fn obey(&mut self, network: &mut Network, vm: u32) -> Served {
        let (mut served, port) = (Served::default(), &mut self.ports[vm as usize]);
        let Some(index) = network.device(vm).and_then(Device::controlq) else { return served };
        let mut room = [0; COMMAND_LEN];
        for _ in 0..COMMANDS {
            let Some(queue) = network.device(vm).and_then(|device| device.queue(index)) else { return served };
            let Some(mut ring) = self.rings.ring(vm, &queue) else { return served };
            let word = ring.next_used();
            let responded = ring.respond(&mut room, |bytes| {
                let (answer, event) = network.command(vm, bytes.unwrap_or_default());
                served.event = served.event.or(event);
                answer
            });
            if ring.needs_notification() {
                port.tell(Told { vm, queue: index, word }, &mut served.told);
            }
            drop(ring);
            match responded {
                Ok(true) => served.more = true,
                Ok(false) => break,
                Err(clause) => self.rings.blame(vm, index, clause),
            }
        }
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
        let (queue, port) = (device.queue(index)?, &mut self.ports[from]);
        let mut ring = self.rings.ring(from as u32, &queue)?;
        let word = ring.next_used();
        let taken = ring.dequeue(self.room.frame);
        // The frame was copied into the room, so the driver gets its buffer back.
        ring.publish();
        if ring.needs_notification() {
            port.tell(Told { vm: from as u32, queue: index, word }, turn.told);
        }
        drop(ring);
        match taken {
            Ok(Dequeue::Empty) => return None,
            Ok(Dequeue::Frame { hdr, len }) => {
                port.counters.taken += 1;
                port.bytes[0] += u64::from(len);
                return Some((Some(hdr), len));
            }
            Ok(Dequeue::TooLong) => {
                port.counters.taken += 1;
                port.counters.malformed += 1;
                return Some((None, self.room.frame.len() as u32));
            }
            Err(clause) => self.rings.blame(from as u32, index, clause),
        }
        None
    }

    /// Forwards the frame of `len` bytes that port `from` transmitted. Returns how many bytes went into receive queues.
    fn forward(&mut self, turn: &mut Turn<'_, impl Tap>, from: usize, hdr: Hdr, len: u32) -> u64 {
        let Some(frame) = self.room.frame(hdr, len) else {
            self.ports[from].counters.malformed += 1;
            return 0;
        };
        turn.tap.frame(from as u32, frame.bytes);
        if !self.ports[from].limiter.admits(u64::from(len), turn.now) {
            self.ports[from].counters.limited += 1;
            return 0;
        }
        if !turn.network.may_send_from(from as u32, frame.source) {
            self.ports[from].counters.source_refused += 1;
            return 0;
        }
        if let Some(to) = self.ports[from].uplink {
            let queue = turn.network.window_queue(to as u32, from as u32);
            return self.deliver(turn, from, (to, queue), &frame);
        }
        let port = (from, self.ports[from].is_network);
        if turn.network.owner_of(frame.source).is_none() && !self.addresses.learn(frame.source, port, turn.now) {
            self.ports[from].counters.not_learned += 1;
        }
        let targets = self.targets(turn, from, frame.destination);
        if targets.is_empty() {
            self.ports[from].counters.denied += 1;
        }
        targets.into_iter().map(|to| self.switch_to(turn, from, to, &frame)).sum()
    }

    /// Returns the ports to which a frame from port `from` to `destination` goes; none if the manifest permits none of
    /// them to the sender.
    fn targets(&self, turn: &Turn<'_, impl Tap>, from: usize, destination: [u8; 6]) -> Vec<usize> {
        let owner = turn.network.owner_of(destination).map(|vm| vm as usize);
        let known = owner.or_else(|| self.addresses.find(destination, turn.now)).filter(|_| !is_multicast(destination));
        let lan = self.ports[from].lan.iter().copied();
        lan.filter(|&to| known.is_none_or(|port| port == to)).collect()
    }

    /// Puts `frame` into the queue of port `to` that the switch fills, if its driver wants it. Returns how many bytes
    /// went there.
    fn switch_to(&mut self, turn: &mut Turn<'_, impl Tap>, from: usize, to: usize, frame: &TransmittedFrame) -> u64 {
        if !turn.network.device(to as u32).is_some_and(|device| device.takes(frame.destination)) {
            self.ports[to].counters.filtered += 1;
            return 0;
        }
        self.deliver(turn, from, (to, turn.network.switched_queue(to as u32)), frame)
    }

    /// Puts `frame` into `queue` of port `to`, in a form that its driver negotiated. Returns how many bytes went there.
    fn deliver(
        &mut self,
        turn: &mut Turn<'_, impl Tap>,
        from: usize,
        (to, queue): (usize, Option<Queue>),
        frame: &TransmittedFrame,
    ) -> u64 {
        let (Some(device), Some(port)) = (turn.network.device(to as u32), self.ports.get_mut(to)) else { return 0 };
        let (vm, rings, tap) = (to as u32, &mut self.rings, &mut *turn.tap);
        let mut delivery = Delivery { vm, port, rings, device, queue, tap, told: turn.told, copied: 0 };
        let made = delivery.send(&self.room, frame);
        let copied = delivery.copied;
        if made.is_none() {
            self.ports[from].counters.malformed += 1;
        }
        copied
    }
}
