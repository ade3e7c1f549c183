//! What host and switch share: one file, mapped by both.
//!
//! ```text
//! directory | RAM of b | RAM of c | flow table | records | a page: the words of `word`
//! ```

use crate::world::RECEIVERS;
use rustix::fd::OwnedFd;
use rustix::time::{ClockId, clock_gettime};
use sluice_abi::flows::Header;
use sluice_abi::map::DIRECTORY_LEN;
use sluice_memory::{CacheLine, PeerSlice};
use sluice_switch::{FlowMemory, Shape};
use sluice_test_memory::{map, shared};

/// The queue pairs of b, by which all frames come in, and of the slow path.
pub const B: u32 = 1;
pub const SLOW: u16 = 3;

const MIB: u64 = 1 << 20;
const SLOT_LEN: u64 = RECEIVERS as u64 * 4 * MIB;
const PAGE: u64 = 4096;
const SHAPE: Shape = Shape { entries: 64, lists: 64 };

/// Words that host and switch share, by number. The host writes them.
pub mod word {
    /// Number of frames that the receivers took in the switch's present life.
    pub const TAKEN: usize = 0;
    /// The [`super::Pace`].
    pub const PACE: usize = 1;
}

/// How fast the switch gets frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the receivers take them: no ring is ever full.
    Window,
    /// As fast as it asks for them: rings are full, and frames wait.
    Flood,
}

/// The parts of the memory.
#[derive(Clone, Copy)]
pub struct Shared {
    pub directory: PeerSlice<'static>,
    pub slot: PeerSlice<'static>,
    pub table: PeerSlice<'static>,
    pub records: PeerSlice<'static>,
    pub words: &'static CacheLine,
}

fn lens() -> [u64; 5] {
    let (table, records) = FlowMemory::lens(SHAPE).expect("room in the slot");
    [DIRECTORY_LEN, SLOT_LEN, table, records, PAGE]
}

impl Shared {
    /// Returns new memory, and its file.
    pub fn new() -> (Self, OwnedFd) {
        let (all, file) = shared(lens().iter().sum());
        (Self::of(all), file.into())
    }

    /// Returns the memory in `file`.
    pub fn open(file: &OwnedFd) -> Self {
        Self::of(map(file, lens().iter().sum()))
    }

    fn of(all: PeerSlice<'static>) -> Self {
        let mut from = 0;
        let [directory, slot, table, records, words] = lens().map(|len| {
            from += len;
            all.sub(from - len, len).expect("inside")
        });
        let words = words.lines().and_then(<[_]>::first).expect("a line");
        Self { directory, slot, table, records, words }
    }

    /// Makes the flow memory of a switch that b sends to.
    pub fn create_flows(&self) -> FlowMemory<'static> {
        let Shape { entries, lists } = SHAPE;
        let header = Header { slow_pair: SLOW, entries, lists, seed: [3, 4], ..Header::default() };
        FlowMemory::create(self.table, self.records, header).expect("flow memory")
    }
}

/// Returns the time in nanoseconds: host and switch have the same clock.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
