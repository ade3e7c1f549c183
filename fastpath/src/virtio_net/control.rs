//! Commands to the device over its control queue.

use sluice_driver::{Cause, Command, ControlError, ControlQueue, Started, Transport};

/// Commands to the device over its control queue. Each call waits for the device's answer.
///
/// # Errors
/// All functions return [`ControlError`] if the device does not offer the command, refused it, did not answer, or broke
/// the protocol. Nothing changed then.
pub struct Control<'n, T, W> {
    pub(super) transport: &'n mut T,
    pub(super) queue: Option<&'n mut ControlQueue>,
    pub(super) started: &'n mut Started,
    pub(super) wait: W,
}

impl<T: Transport, W: FnMut() -> bool> Control<'_, T, W> {
    /// Gives the device the address `mac`, which [`super::VirtioNet::mac`] tells from now on.
    /// See: VIRTIO 5.1.6.5.2 "Setting MAC Address Filtering".
    pub fn set_mac(&mut self, mac: [u8; 6]) -> Result<(), ControlError> {
        self.ask(Command::MacAddrSet, |queue, transport, agreed, wait| queue.set_mac(transport, agreed, mac, wait))?;
        self.started.mac = mac;
        Ok(())
    }

    /// Turns the receive filter off (`true`) or on. See: VIRTIO 5.1.6.5.1 "Packet Receive Filtering".
    pub fn set_promiscuous(&mut self, on: bool) -> Result<(), ControlError> {
        self.ask(Command::Promiscuous, |queue, transport, agreed, wait| {
            queue.set_promiscuous(transport, agreed, on, wait)
        })
    }

    /// Turns the receive filter for multicast frames off (`true`) or on. See: VIRTIO 5.1.6.5.1 "Packet Receive
    /// Filtering".
    pub fn set_allmulticast(&mut self, on: bool) -> Result<(), ControlError> {
        self.ask(Command::AllMulticast, |queue, transport, agreed, wait| {
            queue.set_all_multicast(transport, agreed, on, wait)
        })
    }

    /// Sets the addresses whose frames are received, beside the device's own address and broadcasts. Together the
    /// tables have at most 32 addresses. See: VIRTIO 5.1.6.5.2 "Setting MAC Address Filtering".
    pub fn set_filter(&mut self, unicast: &[[u8; 6]], multicast: &[[u8; 6]]) -> Result<(), ControlError> {
        self.ask(Command::MacTableSet, |queue, transport, agreed, wait| {
            queue.set_filter(transport, agreed, [unicast, multicast], wait)
        })
    }

    /// Tells the device that the gratuitous packets that [`super::VirtioNet::link`] asked for were sent.
    /// See: VIRTIO 5.1.6.5.4 "Gratuitous Packet Sending".
    pub fn announced(&mut self) -> Result<(), ControlError> {
        self.ask(Command::AnnounceAck, |queue, transport, agreed, wait| queue.announce_ack(transport, agreed, wait))
    }

    /// Lets the device use `pairs` queue pairs, as [`super::VirtioNet::start`] does with all that were agreed on.
    pub(super) fn enable_pairs(&mut self, pairs: u16) -> Result<(), ControlError> {
        self.ask(Command::VqPairsSet, |queue, transport, agreed, wait| queue.set_pairs(transport, agreed, pairs, wait))
    }

    fn ask(
        &mut self,
        command: Command,
        ask: impl FnOnce(&mut ControlQueue, &mut T, &Started, &mut W) -> Result<(), ControlError>,
    ) -> Result<(), ControlError> {
        let queue = self.queue.as_deref_mut().ok_or(ControlError { command, cause: Cause::NotOffered })?;
        ask(queue, self.transport, self.started, &mut self.wait)
    }
}
