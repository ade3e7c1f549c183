//! Frames to the device.

use super::TX_SIZE;
use crate::frame::Note;
use crate::{Burst, Mempool, Transmit, TxError, TxStats};
use sluice_abi::Gpa;
use sluice_abi::call::Packet;
use sluice_abi::flows::SLOW_HEADER;
use sluice_abi::net::{HDR_LEN, Hdr, HdrF, VLAN_TAG, transmitq};
use sluice_driver::{DeviceFault, DriverQueue, SendError, Sender, Started, Transport};
use sluice_inside::tags;
use zerocopy::IntoBytes;

/// Bytes by which a frame on a slow path may be longer than the device's MTU says: its header, and two VLAN tags that
/// are not looked for behind it.
const SLOW: u16 = SLOW_HEADER + 2 * VLAN_TAG;

/// The transmit queue that is used, and the transport to the device.
pub(super) struct TransmitHalf<'p, T> {
    pub transport: T,
    /// The pair of the queue. Any but the first is a slow path.
    pair: u16,
    /// The queue. The token of a buffer is the offset at which its frame starts.
    queue: DriverQueue<TX_SIZE>,
    sender: Sender,
    pool: &'p Mempool<'p>,
    stats: TxStats,
}

/// A transmit queue that was set up, and its pair.
pub(super) struct TransmitParts {
    pub queue: DriverQueue<TX_SIZE>,
    pub pair: u16,
}

impl<'p, T: Transport> TransmitHalf<'p, T> {
    pub fn new(transport: T, parts: TransmitParts, pool: &'p Mempool<'p>, started: &Started) -> Self {
        let (TransmitParts { queue, pair }, sender) = (parts, Sender::new(started.features, started.mtu));
        Self { transport, pair, queue, sender, pool, stats: TxStats::NONE }
    }

    /// Continues with a queue of the device that was started anew.
    pub fn renew(&mut self, parts: TransmitParts, started: &Started) {
        (self.queue, self.pair) = (parts.queue, parts.pair);
        self.sender = Sender::new(started.features, started.mtu);
    }

    pub fn fault(&self) -> Option<DeviceFault> {
        self.queue.fault()
    }

    /// Returns whether the device has frames that it has not sent.
    #[inline(always)]
    pub fn is_busy(&self) -> bool {
        self.queue.room() < self.queue.size().into()
    }

    /// Takes back the buffers that the device has used. The next call that sends returns a fault.
    pub fn take_back(&mut self) {
        let _ = self.reap();
    }

    fn reap(&mut self) -> Result<(), DeviceFault> {
        while self.queue.ready()? > 0 {
            self.pool.give_back(self.queue.take()?.token);
        }
        Ok(())
    }

    /// Takes back all buffers of a device that was reset.
    pub fn reclaim(&mut self) {
        self.take_back();
        while let Some(offset) = self.queue.reclaim() {
            self.pool.give_back(offset);
            self.stats.unsent += 1;
        }
    }

    /// Gives the device a frame of the burst, with its header right before it. Returns `None` if the queue is full.
    fn give(&mut self, packet: Packet, note: &Note) -> Option<Result<(), SendError>> {
        if self.queue.room() == 0 {
            return None;
        }
        let asked =
            if note.needs_header() { Hdr { flags: HdrF::NEEDS_CSUM.bits(), ..note.hdr } } else { Hdr::default() };
        let len = u32::from(packet.len);
        let tags = match self.pair {
            _ if len <= self.sender.longest() => 0,
            0 => tags(self.pool.slice(packet.offset, len)),
            _ => SLOW,
        };
        let hdr = match self.sender.header_of_tagged(asked, len, tags) {
            Ok(hdr) => hdr,
            Err(error) => return Some(Err(error)),
        };
        let memory = self.pool.memory();
        let start = packet.offset - HDR_LEN;
        let at = Gpa(memory.gpa.0 + u64::from(start - memory.offset));
        let given = self.pool.slice(start, HDR_LEN).copy_from_slice(0, hdr.as_bytes()).is_ok()
            && self.queue.send(&[(at, HDR_LEN + len)], packet.offset);
        given.then_some(Ok(()))
    }

    /// Publishes the frames that the device was given, and notifies the device if it asked for that.
    fn publish(&mut self) {
        self.queue.publish();
        if self.queue.needs_notification() {
            self.transport.notify(transmitq(self.pair));
        }
    }

    /// Returns what is wrong with the first frame that stays.
    fn refused(&mut self, error: SendError, len: u16) -> TxError {
        match error {
            SendError::TooLong => {
                self.stats.too_long += 1;
                TxError::DeviceTooLong { index: 0, len, longest: self.sender.longest() }
            }
            SendError::Header | SendError::Empty => {
                self.stats.not_negotiated += 1;
                TxError::DeviceOffload { index: 0 }
            }
        }
    }
}

impl<T: Transport> Transmit for TransmitHalf<'_, T> {
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        if !self.pool.is(burst.pool()) {
            return Err(TxError::ForeignPool);
        }
        self.reap().map_err(TxError::Device)?;
        let (offered, mut sent, mut bytes, mut refused) = (most.min(burst.len()), 0, 0, None);
        for (packet, note) in burst.first(offered) {
            match self.give(packet, note) {
                Some(Ok(())) => (sent, bytes) = (sent + 1, bytes + u64::from(packet.len)),
                Some(Err(error)) => {
                    refused = Some((error, packet.len));
                    break;
                }
                None => {
                    self.stats.full += (offered - sent) as u64;
                    break;
                }
            }
        }
        burst.given_away(sent);
        self.publish();
        self.stats.packets += sent as u64;
        self.stats.bytes += bytes;
        refused.map_or(Ok(sent), |(error, len)| Err(self.refused(error, len)))
    }

    fn tx_stats(&self) -> TxStats {
        self.stats
    }
}
