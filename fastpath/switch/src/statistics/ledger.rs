//! What the host takes from the records of a reader.

use super::Words;
use crate::table::EntryId;
use alloc::vec::Vec;
use core::array;
use sluice_memory::CacheLine;

/// What was counted for a flow. Numbers stay at their largest value instead of running over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of packets.
    pub packets: u64,
    /// Number of bytes of their frames.
    pub bytes: u64,
    /// Time of the last packet, as the reader said it.
    pub used: u64,
    /// Flags of TCP that were seen.
    pub tcp_flags: u16,
}

impl Counts {
    /// Returns what two readers, or two parts of a flow's life, counted together.
    pub fn and(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
            used: self.used.max(other.used),
            tcp_flags: self.tcp_flags | other.tcp_flags,
        }
    }
}

/// A record whose counts ran backwards. What was taken from it before stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the statistics of entry {entry} run backwards")]
pub struct CountsFault {
    /// Number of the entry.
    pub entry: u32,
}

/// What is known of a record.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The flow, by the serial number of its name; 0 if there was none.
    flow: u64,
    /// The words as they were read last.
    last: Words,
    /// All that was counted, also before the reader started anew.
    sum: Counts,
}

/// The host's account of one reader's [`Statistics`](super::Statistics). It is apart from those of all other readers:
/// who writes rubbish into its records spoils what is known of itself. The counts of a flow are the sum over ledgers.
#[derive(Debug)]
pub struct Ledger<'m> {
    records: &'m [CacheLine],
    known: Vec<Known>,
}

impl<'m> Ledger<'m> {
    /// Returns the account of `records`, one for each entry of the table.
    pub fn new(records: &'m [CacheLine]) -> Self {
        Self { records, known: records.iter().map(|_| Known::default()).collect() }
    }

    /// Takes what the reader counted for a flow since the last time, and returns all that it ever counted for it:
    /// nothing, if a later flow that has the entry was asked for already.
    ///
    /// The counts of a flow that was removed are complete when all readers have reported: for each of
    /// [`Writer::dead`](crate::Writer::dead), and before [`Writer::reclaim`](crate::Writer::reclaim).
    ///
    /// # Errors
    /// [`CountsFault`]: nothing was taken.
    pub fn collect(&mut self, id: EntryId) -> Result<Counts, CountsFault> {
        let (entry, flow) = (id.index(), id.serial());
        let at = entry as usize;
        let (Some(record), Some(known)) = (self.records.get(at), self.known.get_mut(at)) else {
            return Ok(Counts::default());
        };
        if flow < known.flow {
            return Ok(Counts::default());
        }
        if flow > known.flow {
            *known = Known { flow, ..Known::default() };
        }
        if let Some(words) = super::read(&record, id.generation()) {
            known.take(words).ok_or(CountsFault { entry })?;
        }
        Ok(known.sum)
    }

    /// Notes that the reader starts anew. The host has zeroed the records, or a new VM has other ones, and it runs from
    /// now on only. What was taken is kept.
    pub fn restart(&mut self, records: &'m [CacheLine]) {
        self.records = records;
        self.known.iter_mut().for_each(|known| known.last = Words::default());
    }
}

impl Known {
    /// Adds what the words are more than the last ones; `None` if one is less, or a flag is gone.
    fn take(&mut self, words: Words) -> Option<()> {
        let [_, _, used, flags] = words;
        let more: [_; 3] = array::from_fn(|at| words[at].checked_sub(self.last[at]));
        let [Some(packets), Some(bytes), Some(_)] = more else { return None };
        (self.last[3] & !flags == 0).then_some(())?;
        self.sum = self.sum.and(Counts { packets, bytes, used, tcp_flags: flags as u16 });
        self.last = words;
        Some(())
    }
}
