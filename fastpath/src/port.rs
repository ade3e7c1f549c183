//! The two directions of a port, which a VNF calls.

use crate::{Burst, RxError, RxStats, TxError, TxStats};

/// A port that frames come from, in bursts. No call waits.
pub trait Receive {
    /// Adds at most `most` frames that arrived to the end of `into`, as many as there are and `into` has room for.
    /// Returns the number of frames that were added.
    ///
    /// # Errors
    /// [`RxError`], with which nothing was received. Frames that arrived before an error are returned first.
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError>;

    /// Counters since the port was made.
    fn rx_stats(&self) -> RxStats;
}

/// A port that frames go to, in bursts. No call waits.
pub trait Transmit {
    /// Sends at most the first `most` frames of `burst`. Returns the number of frames that were delivered, and are no
    /// longer in `burst`. Frames that stay are the caller's, in order: they found a full ring, or are behind the first
    /// `most`.
    ///
    /// # Errors
    /// [`TxError`] tells what else went wrong, and with which frame. Frames that were delivered in spite of the error
    /// are no longer in `burst`, either.
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError>;

    /// Counters since the port was made.
    fn tx_stats(&self) -> TxStats;
}

impl<P: Receive + ?Sized> Receive for &mut P {
    #[inline]
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        (**self).rx_burst(into, most)
    }

    fn rx_stats(&self) -> RxStats {
        (**self).rx_stats()
    }
}

impl<P: Transmit + ?Sized> Transmit for &mut P {
    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        (**self).tx_burst(burst, most)
    }

    fn tx_stats(&self) -> TxStats {
        (**self).tx_stats()
    }
}
