//! What a VNF calls.

use crate::{Burst, TxError};

/// Something that frames come from, or go to, in bursts. It polls: no call waits.
pub trait Port {
    /// Adds frames that arrived to `burst`, as many as there are and it has room for; how many.
    fn rx_burst(&mut self, burst: &mut Burst<'_>) -> usize;

    /// Sends the frames of `burst`; how many were delivered and are gone from it. What stays is the caller's, in order, and found a full ring:
    /// try later. `Err` tells what else went wrong, and with which frame; what was delivered in spite of it is gone from `burst`, too.
    fn tx_burst(&mut self, burst: &mut Burst<'_>) -> Result<usize, TxError>;

    /// Counters since the port was made.
    fn stats(&self) -> PortStats;
}

/// Counters of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes of them, without virtio-net headers.
    pub rx_bytes: u64,
    /// Frames that arrived damaged and were dropped: empty, shorter than their header, or with one that does not fit them.
    pub rx_errors: u64,
    /// Times that a buffer to receive into was missing.
    pub rx_no_mbuf: u64,
    /// Frames delivered.
    pub tx_packets: u64,
    /// Bytes of them.
    pub tx_bytes: u64,
    /// Calls that did not take the whole burst.
    pub tx_partial: u64,
    /// Calls that ended with an error.
    pub tx_errors: u64,
    /// Those of them that ended with [`TxError::TooLong`]: as many frames, where each is dropped then.
    pub tx_too_long: u64,
}
