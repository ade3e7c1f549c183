//! The receiver: checks every frame.

use crate::Error;
use crate::frame::{self, FRAME_LENGTHS};
use crate::options::Arrivals;
use crate::row::{Json, Row};
use crate::tally::Tally;
use sluice_vnf::{BURST_SIZE, Options, Receive, Vnf, clock, println};

/// Checks what arrives, and measures `rx_burst` if that is asked for.
pub fn receive(vnf: &mut Vnf, arrivals: Arrivals) -> Result<(), Error> {
    let ports = vnf.open(Options { ring: arrivals.ring, ..Options::default() })?;
    let mut burst = ports.burst();
    let mut tally = Tally::new();
    let mut bytes = [0; *FRAME_LENGTHS.end() as usize];
    let mut patience = vnf.patience();
    let mut cost = Cost::new();
    while !tally.finished() {
        let (count, taking) = timed(|| ports.input.rx_burst(&mut burst, BURST_SIZE));
        if count.map_err(sluice_vnf::Error::Receive)? == 0 {
            patience.wait(vnf)?;
            continue;
        }
        patience.renew();
        for frame in burst.frames() {
            let copy = &mut bytes[..(frame.len() as usize).min(usize::from(*FRAME_LENGTHS.end()))];
            tally.note(match frame.copy_to_slice(0, copy) {
                Ok(()) => frame::check(copy),
                Err(_) => Err(frame::Torn::Length),
            });
        }
        let same = burst.frames().next().map(|frame| frame.len());
        let alike = burst.len() == BURST_SIZE && burst.frames().all(|frame| Some(frame.len()) == same);
        let ((), giving_back) = timed(|| burst.clear());
        if let Some(len) = same.filter(|_| alike) {
            cost.note(len, taking + giving_back);
        }
    }
    if arrivals.measure {
        println!("row {}", Json(&cost.row()));
    }
    println!("{tally}");
    if tally.clean() { Ok(()) } else { Err(Error::Dirty) }
}

/// What `work` returns, and the ticks that it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = clock::now();
    let result = work();
    (result, clock::now() - before)
}

/// What it cost to take whole bursts of frames of one length, to give the device new buffers, and to free the frames.
struct Cost {
    /// Ticks that a measurement of nothing takes.
    empty: u64,
    /// Bytes of a frame of the first burst: others are not counted.
    len: Option<u16>,
    packets: u64,
    ticks: u64,
}

impl Cost {
    fn new() -> Self {
        let empty = (0..16).map(|_| timed(|| ()).1).min().unwrap_or(0);
        Self { empty, len: None, packets: 0, ticks: 0 }
    }

    /// A burst of frames of `len` bytes took so many ticks, in two measurements.
    fn note(&mut self, len: u16, ticks: u64) {
        if *self.len.get_or_insert(len) == len {
            self.packets += BURST_SIZE as u64;
            self.ticks += ticks.saturating_sub(2 * self.empty);
        }
    }

    fn row(&self) -> Row {
        Row {
            gate: "rx_burst",
            burst: BURST_SIZE as u16,
            frame: self.len.unwrap_or(0),
            packets: self.packets.max(1),
            counter: clock::counter(),
            ticks: self.ticks,
            exits: 0,
        }
    }
}
