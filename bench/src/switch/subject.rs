//! Who is measured, and at what.

use anyhow::Result;
use serde::Serialize;

/// What the clock runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Copying the frames' first bytes out of packet memory
    Load,
    /// From these bytes to keys
    Parse,
    /// From keys to entries
    Lookup,
    /// The same in an epoch that is known, without lease and time
    Bare,
    /// The same with them, and with the report behind the burst
    Consistent,
    /// The entries' actions: new MAC addresses, time to live and checksum, written back
    Act,
    /// The flows' packets, bytes, last use and flags of TCP; and the report behind the burst
    Count,
    /// All of these
    All,
}

/// Code that is measured.
pub trait Subject {
    /// Does `work` for a burst of 32 packets, and returns the ticks that it took.
    ///
    /// # Errors
    /// A packet did not get its entry, or was not sent.
    fn burst(&mut self, work: Work) -> Result<u64>;

    /// Returns how many changes of its table there were in a second, so far.
    fn changes(&self) -> Option<f64> {
        None
    }
}
