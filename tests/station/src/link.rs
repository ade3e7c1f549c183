//! The network device, by queues of `guest-driver`: a receive queue, a transmit queue and the control queue, of pair 0.

use crate::frame::{Frame, LEN};
use core::fmt;
use sluice::PacketMemory;
use sluice_abi::Gpa;
use sluice_abi::net::{F, HDR_LEN, Hdr, LinkStatus, receiveq, transmitq};
use sluice_driver::{
    Arrival, ControlError, ControlQueue, DeviceFault, DriverQueue, Part, QueueError, Receiver, Registers, SendError,
    Sender, Setup, StartError, Started, Transport, Wanted, link_status,
};
use sluice_memory::PeerSlice;
use sluice_vnf::{Vnf, println};

/// Entries of the queues, and buffers of each.
const N: usize = 16;
/// Bytes of a receive buffer, and between buffers.
const BUFFER: u32 = 2048;
const QUEUE_LEN: u64 = DriverQueue::<N>::MEMORY_LEN.next_multiple_of(4096);
const CONTROL_LEN: u64 = ControlQueue::MEMORY_LEN.next_multiple_of(4096);

const FEATURES: F = F::IN_ORDER.union(F::CTRL_VQ).union(F::CTRL_RX).union(F::GUEST_ANNOUNCE);

/// Why frames can't be sent or received.
pub enum LinkError {
    /// The RAM is too small.
    Memory,
    Start(StartError),
    Queue(QueueError),
    Control(ControlError),
    Fault(DeviceFault),
    Send(SendError),
    /// The device asks for no announcement, though the driver agreed to make one.
    NotAsked(LinkStatus),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => write!(f, "no memory for queues"),
            Self::Start(error) => error.fmt(f),
            Self::Queue(error) => error.fmt(f),
            Self::Control(error) => error.fmt(f),
            Self::Fault(error) => error.fmt(f),
            Self::Send(error) => write!(f, "a frame can't be sent: {error:?}"),
            Self::NotAsked(status) => write!(f, "link status {status:?} right after the start"),
        }
    }
}

/// A started device.
pub struct Link {
    started: Started,
    receive: DriverQueue<N>,
    transmit: DriverQueue<N>,
    receiver: Receiver,
    sender: Sender,
    /// Receive buffers, then those to send from.
    buffers: PacketMemory,
    /// The next of those.
    next: u32,
}

impl Link {
    /// Starts the device in `memory`, and says over the control queue that this station is there.
    pub fn start(vnf: &Vnf, memory: PacketMemory) -> Result<Self, LinkError> {
        let mut transport = vnf.transport();
        let mut setup =
            Setup::new(&mut transport, Wanted { features: FEATURES, pairs: 1 }).map_err(LinkError::Start)?;
        let agreed = *setup.agreed();
        let queue = |at: u64| {
            let part = memory.memory.sub(at, QUEUE_LEN).map_err(|_| LinkError::Memory)?;
            DriverQueue::new(Gpa(memory.gpa.0 + at), part, N as u16, agreed.features).map_err(LinkError::Queue)
        };
        let (receive, transmit) = (queue(0)?, queue(QUEUE_LEN)?);
        let at = 2 * QUEUE_LEN;
        let part = memory.memory.sub(at, CONTROL_LEN).map_err(|_| LinkError::Memory)?;
        let control = ControlQueue::new(Gpa(memory.gpa.0 + at), part, agreed.features).map_err(LinkError::Queue)?;
        setup.set_queue(receiveq(0), &receive).map_err(LinkError::Start)?;
        setup.set_queue(transmitq(0), &transmit).map_err(LinkError::Start)?;
        setup.set_queue(ControlQueue::index(&agreed), control.queue()).map_err(LinkError::Start)?;
        let (_, buffers) = memory.split_at((at + CONTROL_LEN) as u32).ok_or(LinkError::Memory)?;
        let started = setup.start();
        let (receiver, sender) = (Receiver::new(agreed.features), Sender::new(agreed.features, agreed.mtu));
        let mut link = Self { started, receive, transmit, receiver, sender, buffers, next: 0 };
        (0..N as u32).for_each(|token| link.give(token));
        link.receive.publish();
        link.announce(vnf, &mut transport, control)?;
        Ok(link)
    }

    /// The device asks for an announcement at its start, and the driver says that it is made.
    fn announce(&self, vnf: &Vnf, transport: &mut impl Transport, mut control: ControlQueue) -> Result<(), LinkError> {
        let asked = link_status(transport, &self.started);
        let wait = || {
            vnf.yield_now();
            true
        };
        control.announce_ack(transport, &self.started, wait).map_err(LinkError::Control)?;
        let done = link_status(transport, &self.started);
        println!("link {asked:?}, then {done:?}");
        let right = asked == LinkStatus::LINK_UP | LinkStatus::ANNOUNCE && done == LinkStatus::LINK_UP;
        if right { Ok(()) } else { Err(LinkError::NotAsked(asked)) }
    }

    pub const fn mac(&self) -> [u8; 6] {
        self.started.mac
    }

    fn buffer(&self, index: u32) -> (Gpa, Option<PeerSlice<'static>>) {
        let at = u64::from(index * BUFFER);
        (Gpa(self.buffers.gpa.0 + at), self.buffers.memory.sub(at, BUFFER.into()).ok())
    }

    fn give(&mut self, token: u32) {
        // There is room for each buffer that came back.
        let _ = self.receive.give(self.buffer(token).0, BUFFER, token);
    }

    /// Sends `frame`, once there is room for it.
    pub fn send(&mut self, vnf: &Vnf, frame: &Frame) -> Result<(), LinkError> {
        let (at, memory) = self.buffer(N as u32 + self.next);
        let memory = memory.ok_or(LinkError::Memory)?;
        let hdr = self.sender.header(Hdr::default(), LEN as u32).map_err(LinkError::Send)?;
        debug_assert_eq!(hdr, Hdr::default(), "12 bytes of 0");
        memory.copy_from_slice(0, &[0; HDR_LEN as usize]).map_err(|_| LinkError::Memory)?;
        memory.copy_from_slice(HDR_LEN.into(), &frame.0).map_err(|_| LinkError::Memory)?;
        while !self.transmit.send(&[(at, HDR_LEN + LEN as u32)], 0) {
            self.take_back()?;
            vnf.yield_now();
        }
        self.next = (self.next + 1) % N as u32;
        self.transmit.publish();
        if self.transmit.needs_notification() {
            vnf.transport().write(sluice_abi::mmio::reg::QUEUE_NOTIFY, transmitq(0).into());
        }
        self.take_back()
    }

    /// Takes the buffers that were sent.
    fn take_back(&mut self) -> Result<(), LinkError> {
        while self.transmit.ready().map_err(LinkError::Fault)? > 0 {
            self.transmit.take().map_err(LinkError::Fault)?;
        }
        Ok(())
    }

    /// The next frame, if there is one; one that is shorter than those of stations is filled up with 0.
    pub fn receive(&mut self) -> Result<Option<Frame>, LinkError> {
        let (mut part, buffers) = ([Part::default()], self.buffers.memory);
        let memory = |token: u32| buffers.sub(u64::from(token * BUFFER), BUFFER.into()).ok();
        let arrival = self.receiver.take(&mut self.receive, memory, &mut part).map_err(LinkError::Fault)?;
        let [Part { token, start, len }] = part;
        if arrival == Arrival::Nothing {
            return Ok(None);
        }
        let mut frame = [0; LEN];
        let len = (len as usize).min(LEN);
        let read = memory(token).is_some_and(|buffer| buffer.copy_to_slice(start.into(), &mut frame[..len]).is_ok());
        self.give(token);
        self.receive.publish();
        Ok((matches!(arrival, Arrival::Frame(_)) && read).then_some(Frame(frame)))
    }
}
