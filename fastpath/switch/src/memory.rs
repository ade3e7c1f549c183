//! The flow memory of one in-VM switch: the table that its host writes, and the records that its VM writes.

use crate::table::{Shape, ShapeError};
use sluice_abi::flows::{COUNTERS, COUNTERS_LEN, Header, MAGIC, MAX_PAIRS, PORTS, RECORDS, TABLE, VERSION};
use sluice_abi::map::{FLOW_RECORDS_LEN, FLOWS_LEN};
use sluice_memory::{CacheLine, OutOfRegion, PeerSlice};

/// Lengths of table and records are multiples of this number of bytes: a large page.
const PAGE: u64 = 2 << 20;

/// Reasons for which memory is no flow memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowMemoryError {
    /// The table starts with this number instead of its magic number.
    #[error("no flow table: it starts with {0:#x}")]
    Magic(u64),
    /// This program does not know the version.
    #[error("flow table of version {0}; this program knows {VERSION}")]
    Version(u32),
    /// The table can't have this shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A part of the memory is shorter than its header says, or does not begin at a cache line.
    #[error("the flow memory is cut short, or not aligned")]
    Short,
    /// There is no such queue pair.
    #[error("the slow path is queue pair {0}; 1 to {last} are possible", last = MAX_PAIRS - 1)]
    SlowPair(u16),
    /// There is no such port.
    #[error("port {port} of queue pair {pair}: ports 0 to {last} are possible", last = PORTS - 1)]
    Port {
        /// The queue pair.
        pair: usize,
        /// Its port.
        port: u16,
    },
}

impl From<OutOfRegion> for FlowMemoryError {
    fn from(_: OutOfRegion) -> Self {
        Self::Short
    }
}

/// The flow memory of one VM.
#[derive(Clone, Copy, Debug)]
pub struct FlowMemory<'m> {
    header: Header,
    table: &'m [CacheLine],
    report: &'m CacheLine,
    counters: &'m [CacheLine],
    records: &'m [CacheLine],
}

impl<'m> FlowMemory<'m> {
    /// Returns the length in bytes of the table's memory and of the records, for a table of this shape: multiples of
    /// 2 MiB. `None` if the sluice slot has no room for that.
    pub fn lens(shape: Shape) -> Option<(u64, u64)> {
        let line = size_of::<CacheLine>() as u64;
        let table = (TABLE + shape.lines() as u64 * line).next_multiple_of(PAGE);
        let records = (RECORDS + u64::from(shape.entries) * line).next_multiple_of(PAGE);
        (table <= FLOWS_LEN && records <= FLOW_RECORDS_LEN).then_some((table, records))
    }

    /// Makes the flow memory of a VM, for its host. Both parts are all 0, as long as [`FlowMemory::lens`] says. The
    /// header's lengths are set here.
    ///
    /// # Errors
    /// [`FlowMemoryError`].
    pub fn create(table: PeerSlice<'m>, records: PeerSlice<'m>, header: Header) -> Result<Self, FlowMemoryError> {
        let (table_len, records_len) = (table.len(), records.len());
        table.write(0, Header { table_len, records_len, ..header })?;
        Self::open(table, records)
    }

    /// Opens the flow memory that a host made. The header is read once.
    ///
    /// # Errors
    /// [`FlowMemoryError`].
    pub fn open(table: PeerSlice<'m>, records: PeerSlice<'m>) -> Result<Self, FlowMemoryError> {
        let header: Header = table.read(0)?;
        if header.magic != MAGIC {
            return Err(FlowMemoryError::Magic(header.magic));
        }
        if header.version != VERSION {
            return Err(FlowMemoryError::Version(header.version));
        }
        if !(1..MAX_PAIRS).contains(&header.slow_pair.into()) {
            return Err(FlowMemoryError::SlowPair(header.slow_pair));
        }
        if let Some((pair, &port)) = header.ports.iter().enumerate().find(|(_, port)| **port >= PORTS) {
            return Err(FlowMemoryError::Port { pair, port });
        }
        let shape = shape(&header);
        shape.check()?;
        let lines = |memory: PeerSlice<'m>, at, count: usize| {
            let part = memory.sub(at, count as u64 * size_of::<CacheLine>() as u64)?;
            part.lines().ok_or(FlowMemoryError::Short)
        };
        let counters = (8 * COUNTERS_LEN).div_ceil(size_of::<CacheLine>());
        Ok(Self {
            header,
            table: lines(table, TABLE, shape.lines())?,
            report: lines(records, 0, 1)?.first().ok_or(FlowMemoryError::Short)?,
            counters: lines(records, COUNTERS, counters)?,
            records: lines(records, RECORDS, shape.entries as usize)?,
        })
    }

    /// Returns the header, as it was read.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the shape of the table.
    pub const fn shape(&self) -> Shape {
        shape(&self.header)
    }

    /// Returns the memory of the table, for a [`crate::Reader`] or a [`crate::Writer`].
    pub const fn table(&self) -> &'m [CacheLine] {
        self.table
    }

    /// Returns the line of the report word, for a [`crate::Report`] or a [`crate::Quiescence`].
    pub const fn report(&self) -> &'m CacheLine {
        self.report
    }

    /// Returns the records, for [`crate::Statistics`] or a [`crate::Ledger`].
    pub const fn records(&self) -> &'m [CacheLine] {
        self.records
    }

    /// Returns the lines of the counters, for [`crate::SwitchStats`].
    pub const fn counters(&self) -> &'m [CacheLine] {
        self.counters
    }

    /// Returns the number of queue pairs that the VM uses: those of the host's switch and of its senders, and the slow
    /// path.
    pub const fn pairs(&self) -> u16 {
        self.header.slow_pair + 1
    }

    /// Returns the number of the queue pair that is the slow path.
    pub const fn slow_pair(&self) -> u16 {
        self.header.slow_pair
    }
}

const fn shape(header: &Header) -> Shape {
    Shape { entries: header.entries, lists: header.lists }
}

#[cfg(test)]
mod tests;
