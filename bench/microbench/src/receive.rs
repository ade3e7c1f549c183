//! The receiver: checks every frame.

use crate::Error;
use crate::frame::{self, FRAME_LENGTHS};
use crate::options::Arrivals;
use crate::tally::Tally;
use sluice_clock::{Json, Row};
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

/// Returns the result of `work`, and the ticks that it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = clock::now();
    let result = work();
    (result, clock::now() - before)
}

/// Bursts whose median is the row: the last ones.
const BURSTS: usize = 1024;

/// The cost of taking whole bursts of frames of one length, giving the device new buffers, and freeing the frames.
struct Cost {
    /// Ticks that a measurement of nothing takes.
    empty: u64,
    /// Bytes of a frame of the first burst: others are not counted.
    len: Option<u16>,
    /// Ticks of the last bursts, and number of all.
    ticks: [u32; BURSTS],
    bursts: usize,
}

impl Cost {
    fn new() -> Self {
        let empty = (0..16).map(|_| timed(|| ()).1).min().unwrap_or(0);
        Self { empty, len: None, ticks: [0; BURSTS], bursts: 0 }
    }

    /// Notes that a burst of frames of `len` bytes took `ticks`, in two measurements.
    fn note(&mut self, len: u16, ticks: u64) {
        if *self.len.get_or_insert(len) == len {
            let ticks = u32::try_from(ticks.saturating_sub(2 * self.empty)).unwrap_or(u32::MAX);
            self.ticks[self.bursts % BURSTS] = ticks;
            self.bursts += 1;
        }
    }

    /// The median of the bursts: one that an interrupt or another program's turn fell into counts as any other, and no
    /// more.
    fn row(&mut self) -> Row {
        let kept = self.bursts.min(BURSTS);
        self.ticks[..kept].sort_unstable();
        let packets = (self.bursts * BURST_SIZE) as u64;
        Row {
            gate: "rx_burst",
            burst: BURST_SIZE as u16,
            frame: self.len.unwrap_or(0),
            packets: packets.max(1),
            counter: clock::counter(),
            ticks: u64::from(self.ticks[kept / 2 % BURSTS]) * self.bursts as u64,
            exits: 0,
        }
    }
}
