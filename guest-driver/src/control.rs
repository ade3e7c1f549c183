//! The control queue: commands that the device answers. See: VIRTIO 5.1.6.5 "Control Virtqueue".

use crate::{DeviceFault, DriverQueue, QueueError, Started, Transport};
use core::fmt;
use sluice_abi::Gpa;
use sluice_abi::net::{self, F, ctrl};
use sluice_memory::PeerSlice;

/// Number of entries of the queue: one command is under way at a time.
const SIZE: usize = 4;
/// Largest number of addresses of both tables of a filter.
const MAX_ADDRESSES: usize = 32;
/// Length of the longest command in bytes: class, command, and two tables with a number before each.
const COMMAND_LEN: u64 = (2 + TABLES_LEN as u64).next_multiple_of(8);
const TABLES_LEN: usize = 2 * 4 + 6 * MAX_ADDRESSES;
/// An answer that no device gives.
const NO_ANSWER: u8 = 0xff;
/// Number of times that the driver looks for an answer.
const LOOKS: usize = 1 << 24;

/// The commands of a driver. See: VIRTIO 5.1.6.5 "Control Virtqueue".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `VIRTIO_NET_CTRL_RX_PROMISC`
    Promiscuous,
    /// `VIRTIO_NET_CTRL_RX_ALLMULTI`
    AllMulticast,
    /// `VIRTIO_NET_CTRL_MAC_TABLE_SET`
    MacTableSet,
    /// `VIRTIO_NET_CTRL_MAC_ADDR_SET`
    MacAddrSet,
    /// `VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET`
    VqPairsSet,
    /// `VIRTIO_NET_CTRL_ANNOUNCE_ACK`
    AnnounceAck,
}

/// Reasons for which a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The feature of the command was not negotiated, or the device does not have such a value.
    NotOffered,
    /// A queue of the command is not set up.
    NotSetUp,
    /// The command has no room for that number of addresses.
    TooMany,
    /// The device refused the command.
    Refused,
    /// The device did not answer. This control queue takes no more commands.
    Silent,
    /// The device broke a rule.
    Fault(DeviceFault),
}

/// A command that was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlError {
    /// The command.
    pub command: Command,
    /// The reason.
    pub cause: Cause,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = match self.command {
            Command::Promiscuous => "VIRTIO_NET_CTRL_RX_PROMISC",
            Command::AllMulticast => "VIRTIO_NET_CTRL_RX_ALLMULTI",
            Command::MacTableSet => "VIRTIO_NET_CTRL_MAC_TABLE_SET",
            Command::MacAddrSet => "VIRTIO_NET_CTRL_MAC_ADDR_SET",
            Command::VqPairsSet => "VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET",
            Command::AnnounceAck => "VIRTIO_NET_CTRL_ANNOUNCE_ACK",
        };
        match self.cause {
            Cause::NotOffered => write!(f, "{command}: not offered"),
            Cause::NotSetUp => write!(f, "{command}: a queue is not set up"),
            Cause::TooMany => write!(f, "{command}: more than {MAX_ADDRESSES} addresses"),
            Cause::Refused => write!(f, "{command}: refused"),
            Cause::Silent => write!(f, "{command}: no answer"),
            Cause::Fault(fault) => write!(f, "{command}: {fault}"),
        }
    }
}

impl core::error::Error for ControlError {}

/// The driver side of a control queue.
pub struct ControlQueue {
    queue: DriverQueue<SIZE>,
    /// The command, and the answer byte behind it.
    memory: PeerSlice<'static>,
    gpa: Gpa,
    silent: bool,
}

const QUEUE_LEN: u64 = DriverQueue::<SIZE>::MEMORY_LEN;

impl ControlQueue {
    /// Length in bytes of the memory of a control queue.
    pub const MEMORY_LEN: u64 = QUEUE_LEN + COMMAND_LEN + 8;

    /// Returns a control queue in `memory`, which lies at `gpa`. Both are aligned to 16 bytes. `features` were agreed
    /// on with the device.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn new(gpa: Gpa, memory: PeerSlice<'static>, features: F) -> Result<Self, QueueError> {
        let part = |at, len| memory.sub(at, len).map_err(|_| QueueError::Memory);
        let queue = DriverQueue::new(gpa, part(0, QUEUE_LEN)?, SIZE as u16, features - F::INDIRECT_DESC)?;
        let commands = part(QUEUE_LEN, COMMAND_LEN + 8)?;
        Ok(Self { queue, memory: commands, gpa: Gpa(gpa.0 + QUEUE_LEN), silent: false })
    }

    /// Returns the queue, for [`crate::Setup::set_queue`]. Its number is [`ControlQueue::index`].
    pub const fn queue(&self) -> &DriverQueue<SIZE> {
        &self.queue
    }

    /// Returns the number of the control queue. See: VIRTIO 5.1.2 "Virtqueues".
    pub const fn index(agreed: &Started) -> u16 {
        net::controlq(agreed.max_pairs)
    }

    /// Turns promiscuous mode on or off. See: VIRTIO 5.1.6.5.1 "Packet Receive Filtering".
    pub fn set_promiscuous(
        &mut self,
        transport: &mut impl Transport,
        agreed: &Started,
        on: bool,
        wait: impl FnMut() -> bool,
    ) -> Result<(), ControlError> {
        let offered = agreed.features.contains(F::CTRL_RX);
        self.command(transport, agreed, (Command::Promiscuous, offered, ctrl::RX_PROMISC), &[on.into()], wait)
    }

    /// Turns the reception of all multicast frames on or off. See: VIRTIO 5.1.6.5.1 "Packet Receive Filtering".
    pub fn set_all_multicast(
        &mut self,
        transport: &mut impl Transport,
        agreed: &Started,
        on: bool,
        wait: impl FnMut() -> bool,
    ) -> Result<(), ControlError> {
        let offered = agreed.features.contains(F::CTRL_RX);
        self.command(transport, agreed, (Command::AllMulticast, offered, ctrl::RX_ALLMULTI), &[on.into()], wait)
    }

    /// Sets the addresses whose frames are received, beside the device's own address and broadcasts.
    /// See: VIRTIO 5.1.6.5.2 "Setting MAC Address Filtering".
    pub fn set_filter(
        &mut self,
        transport: &mut impl Transport,
        agreed: &Started,
        [unicast, multicast]: [&[[u8; 6]]; 2],
        wait: impl FnMut() -> bool,
    ) -> Result<(), ControlError> {
        let mut data = [0; TABLES_LEN];
        let len = 2 * 4 + 6 * (unicast.len() + multicast.len());
        let Some(tables) = data.get_mut(..len) else {
            return Err(ControlError { command: Command::MacTableSet, cause: Cause::TooMany });
        };
        let (first, second) = tables.split_at_mut(4 + 6 * unicast.len());
        for (table, addresses) in [(first, unicast), (second, multicast)] {
            let (count, entries) = table.split_at_mut(4);
            count.copy_from_slice(&(addresses.len() as u32).to_le_bytes());
            entries.copy_from_slice(addresses.as_flattened());
        }
        let offered = agreed.features.contains(F::CTRL_RX);
        self.command(transport, agreed, (Command::MacTableSet, offered, ctrl::MAC_TABLE_SET), &data[..len], wait)
    }

    /// Sets the device's MAC address. See: VIRTIO 5.1.6.5.2 "Setting MAC Address Filtering": the driver asks for
    /// neither filter nor address unless both features are negotiated.
    pub fn set_mac(
        &mut self,
        transport: &mut impl Transport,
        agreed: &Started,
        mac: [u8; 6],
        wait: impl FnMut() -> bool,
    ) -> Result<(), ControlError> {
        let offered = agreed.features.contains(F::CTRL_MAC_ADDR | F::CTRL_RX);
        self.command(transport, agreed, (Command::MacAddrSet, offered, ctrl::MAC_ADDR_SET), &mac, wait)
    }

    /// Lets the device use `pairs` queue pairs, both queues of which must be set up. See: VIRTIO 5.1.6.5.6.1 "Driver
    /// Requirements: Automatic receive steering in multiqueue mode".
    pub fn set_pairs(
        &mut self,
        transport: &mut impl Transport,
        agreed: &Started,
        pairs: u16,
        wait: impl FnMut() -> bool,
    ) -> Result<(), ControlError> {
        let offered = agreed.features.contains(F::MQ) && (1..=agreed.max_pairs).contains(&pairs);
        let what = (Command::VqPairsSet, offered, ctrl::MQ_VQ_PAIRS_SET);
        let mut ready =
            |pair| transport.queue_ready(net::receiveq(pair)) && transport.queue_ready(net::transmitq(pair));
        if offered && !(0..pairs).all(&mut ready) {
            return Err(ControlError { command: Command::VqPairsSet, cause: Cause::NotSetUp });
        }
        self.command(transport, agreed, what, &pairs.to_le_bytes(), wait)
    }

    /// Tells the device that the gratuitous packets were sent. See: VIRTIO 5.1.6.5.4 "Gratuitous Packet Sending".
    pub fn announce_ack(
        &mut self,
        transport: &mut impl Transport,
        agreed: &Started,
        wait: impl FnMut() -> bool,
    ) -> Result<(), ControlError> {
        let offered = agreed.features.contains(F::GUEST_ANNOUNCE);
        self.command(transport, agreed, (Command::AnnounceAck, offered, ctrl::ANNOUNCE_ACK), &[], wait)
    }

    /// Carries out a command. `wait` is called between looks for the answer: it may let others run, and ends the wait
    /// by `false`.
    fn command(
        &mut self,
        transport: &mut impl Transport,
        agreed: &Started,
        (command, offered, code): (Command, bool, [u8; 2]),
        data: &[u8],
        wait: impl FnMut() -> bool,
    ) -> Result<(), ControlError> {
        let failed = |cause| ControlError { command, cause };
        if !offered || !agreed.features.contains(F::CTRL_VQ) {
            return Err(failed(Cause::NotOffered));
        }
        if self.silent || !self.ask(code, data) {
            return Err(failed(Cause::Silent));
        }
        if self.queue.needs_notification() {
            transport.notify(Self::index(agreed));
        }
        self.answer(wait).map_err(failed)
    }

    /// Gives the device a command. Returns `false` if the queue has no room for it.
    fn ask(&mut self, code: [u8; 2], data: &[u8]) -> bool {
        let written = self.memory.copy_from_slice(0, &code).is_ok()
            && self.memory.copy_from_slice(2, data).is_ok()
            && self.memory.write(COMMAND_LEN, NO_ANSWER).is_ok();
        let command = [(self.gpa, 2 + data.len() as u32)];
        let answer = [(Gpa(self.gpa.0 + COMMAND_LEN), 1)];
        let given = written && self.queue.request(&command, &answer, 0);
        self.queue.publish();
        given
    }

    fn answer(&mut self, mut wait: impl FnMut() -> bool) -> Result<(), Cause> {
        for _ in 0..LOOKS {
            if self.queue.ready().map_err(Cause::Fault)? > 0 {
                // A device that wrote no byte did not answer. See: VIRTIO 2.7.8.3 "Driver Requirements: The Virtqueue
                // Used Ring".
                let answered = self.queue.take().map_err(Cause::Fault)?.len > 0;
                let done = answered && self.memory.read(COMMAND_LEN) == Ok(ctrl::OK);
                return if done { Ok(()) } else { Err(Cause::Refused) };
            }
            if !wait() {
                break;
            }
            core::hint::spin_loop();
        }
        self.silent = true;
        Err(Cause::Silent)
    }
}

#[cfg(test)]
mod tests;
