//! Frames that are counted: each one is lost, doubled, reordered, torn, or came back as it was sent.

use crate::pattern::{Kind, Pattern};
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// One end of rings whose other end sends every frame back.
pub trait Port {
    /// Puts `frame` on the ring, and returns whether there was room. The peer finds the frame after [`Port::flush`].
    fn send(&mut self, pair: u16, frame: &[u8]) -> Result<bool>;
    /// Publishes to the peer all that was sent and taken.
    fn flush(&mut self, pair: u16) -> Result<()>;
    /// Takes a frame into the front of `into`, and returns its length.
    fn receive(&mut self, pair: u16, into: &mut [u8]) -> Result<Option<usize>>;
    /// Handles the control messages that have come.
    fn serve(&mut self) -> Result<()>;
}

/// The longest frame that is sent, bytes.
pub const LONGEST: usize = 5_000;
/// The least bytes of a frame that a receive buffer of either side holds.
const BUFFER: usize = 2_000;
/// The length of a probe, bytes.
const PROBE: usize = 64;
/// The number of frames that are sent, or taken, at a time.
const BURST: usize = 32;
/// Frames are lost if none has come back for this long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The number of queue pairs.
    pub pairs: u16,
    /// The number of frames of all pairs together.
    pub packets: u64,
    /// Whether frames may be longer than a receive buffer.
    pub long_frames: bool,
    /// The largest number of buffers that frames on their way take on a pair. No peer has to drop a frame if each of
    /// its rings holds as many.
    pub window: usize,
}

/// What became of the frames, as counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames that were sent.
    pub packets: u64,
    /// Frames that never came back.
    pub lost: u64,
    /// Frames that came back a second time.
    pub doubled: u64,
    /// Frames that came back after one that was sent later.
    pub reordered: u64,
    /// Frames that came back with another length, header or payload than they were sent with.
    pub torn: u64,
}

impl Tally {
    /// Returns whether every frame came back once, whole and in order.
    pub fn is_clean(&self) -> bool {
        *self == Self { packets: self.packets, ..Self::default() }
    }
}

/// The frames of one queue pair.
#[derive(Default)]
struct Pair {
    sent: u64,
    /// The largest number that came back, plus 1.
    next: u64,
    /// The smaller numbers that have not come back.
    missing: BTreeSet<u64>,
    /// The number of buffers that frames on their way take.
    in_flight: usize,
    tally: Tally,
}

impl Pair {
    fn came_back(&mut self, number: u64) {
        if number >= self.sent {
            self.tally.torn += 1;
        } else if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
        } else if self.missing.remove(&number) {
            self.tally.reordered += 1;
        } else {
            self.tally.doubled += 1;
        }
    }

    fn tally(&self) -> Tally {
        let lost = self.sent - self.next + self.missing.len() as u64;
        // A torn frame is missing too, and is counted as torn alone.
        Tally { packets: self.sent, lost: lost.saturating_sub(self.tally.torn), ..self.tally }
    }
}

/// Frames on their way through a port, a round at a time.
pub struct Flow {
    plan: Plan,
    pattern: Pattern,
    pairs: Vec<Pair>,
    frame: Vec<u8>,
    progress: Instant,
}

impl Flow {
    /// Returns a flow of which no frame is sent yet.
    pub fn new(plan: Plan) -> Self {
        let pairs = (0..plan.pairs).map(|_| Pair::default()).collect();
        Self { plan, pattern: Pattern::new(), pairs, frame: vec![0; LONGEST], progress: Instant::now() }
    }

    /// Sends probes until one has come back on each pair and no more come. From then on the peer forwards.
    pub fn warm_up(&mut self, port: &mut impl Port, patience: Duration) -> Result<()> {
        let (start, mut number) = (Instant::now(), 0);
        let mut last_of = vec![None::<Instant>; self.pairs.len()];
        let quiet = Duration::from_millis(20);
        while !last_of.iter().all(|last| last.is_some_and(|last| last.elapsed() > quiet)) {
            if start.elapsed() > patience {
                let silent = last_of.iter().position(Option::is_none);
                bail!("no probe came back within {patience:?} (queue pair {})", silent.unwrap_or(0));
            }
            for (pair, last) in (0..).zip(&mut last_of) {
                if last.is_none() {
                    self.pattern.write(Kind::Probe, pair, number, &mut self.frame[..PROBE]);
                    port.send(pair, &self.frame[..PROBE])?;
                }
                port.flush(pair)?;
            }
            number += 1;
            self.take_probes(port, &mut last_of)?;
        }
        self.progress = Instant::now();
        Ok(())
    }

    fn take_probes(&mut self, port: &mut impl Port, last_of: &mut [Option<Instant>]) -> Result<()> {
        let until = Instant::now() + Duration::from_millis(2);
        while Instant::now() < until {
            port.serve()?;
            for (pair, last) in (0..).zip(&mut *last_of) {
                while let Some(len) = port.receive(pair, &mut self.frame)? {
                    let Some(_) = self.pattern.read(Kind::Probe, pair, |_| PROBE, &self.frame[..len]) else {
                        bail!("queue pair {pair}: {len} bytes that nobody sent");
                    };
                    *last = Some(Instant::now());
                }
                port.flush(pair)?;
            }
        }
        Ok(())
    }

    /// Sends and takes a burst on each pair. Returns whether frames are left to send or take, and came in time.
    pub fn round(&mut self, port: &mut impl Port) -> Result<bool> {
        port.serve()?;
        let mut moved = false;
        for pair in 0..self.plan.pairs {
            moved |= self.send(port, pair)? > 0;
            port.flush(pair)?;
            moved |= self.take(port, pair)? > 0;
        }
        if moved {
            self.progress = Instant::now();
        } else {
            std::thread::yield_now();
        }
        Ok(!self.is_done() && self.progress.elapsed() < PATIENCE)
    }

    fn send(&mut self, port: &mut impl Port, pair: u16) -> Result<usize> {
        let quota = self.quota(pair);
        let Self { plan, pattern, pairs, frame, .. } = self;
        let state = &mut pairs[usize::from(pair)];
        for sent in 0..BURST {
            let len = Pattern::len(state.sent, plan.long_frames);
            let frame = &mut frame[..len];
            if state.sent == quota || state.in_flight + buffers(len) > plan.window {
                return Ok(sent);
            }
            pattern.write(Kind::Counted, pair, state.sent, frame);
            if !port.send(pair, frame)? {
                return Ok(sent);
            }
            state.sent += 1;
            state.in_flight += buffers(len);
        }
        Ok(BURST)
    }

    fn take(&mut self, port: &mut impl Port, pair: u16) -> Result<usize> {
        let Self { plan, pattern, pairs, frame, .. } = self;
        let state = &mut pairs[usize::from(pair)];
        for taken in 0..BURST {
            let Some(len) = port.receive(pair, frame)? else { return Ok(taken) };
            let (frame, len_of) = (&frame[..len], |number| Pattern::len(number, plan.long_frames));
            let number = pattern.read(Kind::Counted, pair, len_of, frame);
            // A probe that comes late is not counted.
            if number.is_none() && pattern.read(Kind::Probe, pair, |_| PROBE, frame).is_some() {
                continue;
            }
            state.in_flight = state.in_flight.saturating_sub(buffers(len));
            match number {
                Some(number) => state.came_back(number),
                None => state.tally.torn += 1,
            }
        }
        Ok(BURST)
    }

    /// Returns the number of frames for `pair`.
    fn quota(&self, pair: u16) -> u64 {
        let pairs = u64::from(self.plan.pairs);
        self.plan.packets / pairs + u64::from(u64::from(pair) < self.plan.packets % pairs)
    }

    fn is_done(&self) -> bool {
        (0..).zip(&self.pairs).all(|(pair, state)| state.next == self.quota(pair) && state.missing.is_empty())
    }

    /// Returns what became of all frames sent so far. Those on their way count as lost.
    pub fn tally(&self) -> Tally {
        self.pairs.iter().map(Pair::tally).fold(Tally::default(), |sum, tally| Tally {
            packets: sum.packets + tally.packets,
            lost: sum.lost + tally.lost,
            doubled: sum.doubled + tally.doubled,
            reordered: sum.reordered + tally.reordered,
            torn: sum.torn + tally.torn,
        })
    }
}

/// Returns the most slots of a ring that a frame of `len` bytes takes: its buffers, and one for the header.
fn buffers(len: usize) -> usize {
    len.div_ceil(BUFFER) + 1
}

#[cfg(test)]
#[path = "traffic_tests.rs"]
mod tests;
