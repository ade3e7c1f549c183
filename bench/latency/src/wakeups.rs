//! Measures the time that a frame waits for an idle VNF, and the share of a processor that the VNF takes meanwhile.
//!
//! Frames come by a window, or by the host's switch. In the second case each is answered the same way before the next
//! is sent: a wake-up that were lost would stop both sides for as long as the receiver sleeps.

use crate::Error;
use crate::options::{Pings, Rest, Via, Wakeups};
use crate::sender::LAST;
use crate::spread::Spread;
use core::time::Duration;
use sluice_clock::Expiries;
use sluice_vnf::clock::{self, Counter};
use sluice_vnf::{BURST_SIZE, Burst, Frame, Idle, Options, Ports, Receive, Transmit, Vnf, println};

/// Bytes of a frame that is not the last, and where in it its number and the time are, behind the Ethernet header.
const LEN: u16 = 64;
const NUMBER: usize = 14;
const TIME: usize = 22;
/// The number of a frame that is no ping: it asks whether the other side is there.
const HELLO: u64 = u64::MAX;
/// Ticks after which it is sent again.
const PATIENCE: u64 = 1_000_000;
/// A sender that has to wait for longer sleeps meanwhile.
const SHORT: u64 = 10_000_000;
/// The EtherType of local experiments. See: IEEE 802 clause 9.2.3.
const TYPE: [u8; 2] = [0x88, 0xb5];

/// The times that frames waited, in buckets.
static BUCKETS: Expiries = Expiries::new();

/// The notes of a receiver.
struct Notes {
    waits: Spread,
    /// When it received the first ping, what it was busy for until then, and how long it has slept since.
    start: u64,
    busy: Option<u64>,
    asleep: u64,
    sleeps: u64,
}

/// Notes for each frame how long ago the frame was sent, until the last one.
pub fn receive(vnf: &mut Vnf, options: Wakeups) -> Result<(), Error> {
    let longest = options.longest.map(Duration::from_millis);
    let idle = longest.map_or_else(Idle::default, |time| Idle { first: time, longest: time });
    let mut ports = vnf.open(Options { idle, ..Options::default() })?;
    let (mut burst, mut answer) = (ports.burst(), ports.burst());
    let mut notes = Notes { waits: Spread::new(), start: 0, busy: None, asleep: 0, sleeps: 0 };
    let (mut last, mut random) = (false, clock::now() | 1);
    while !last {
        let received = ports.input.rx_burst(&mut burst, BURST_SIZE).map_err(sluice_vnf::Error::Receive)?;
        let now = clock::now();
        for frame in burst.frames() {
            last |= frame.len() == LAST;
            notes.frame(&frame, now);
            if let Some(number) = frame.head(NUMBER).filter(|_| options.via == Via::Switch) {
                push(&mut answer, ports.input.mac(), frame.len(), u64::from_le_bytes(number))?;
            }
        }
        burst.clear();
        transmit(vnf, &mut ports, &mut answer)?;
        if received > 0 {
            let due = clock::now() + below(&mut random, options.jitter);
            while clock::now() < due {
                core::hint::spin_loop();
            }
        }
        if options.rest == Rest::Sleep && ports.idle(vnf, received) {
            (notes.sleeps, notes.asleep) = (notes.sleeps + 1, notes.asleep + (clock::now() - now));
        }
    }
    notes.print(options);
    Ok(())
}

impl Notes {
    fn frame(&mut self, frame: &Frame<'_>, now: u64) {
        let number = frame.head(NUMBER).map_or(HELLO, u64::from_le_bytes);
        let Some(time) = frame.head(TIME).filter(|_| frame.len() == LEN && number != HELLO) else { return };
        let waited = now.saturating_sub(u64::from_le_bytes(time));
        if self.waits.count() == 0 {
            (self.start, self.busy, self.asleep, self.sleeps) = (now, sluice_clock::busy(), 0, 0);
        }
        self.waits.note(waited);
        BUCKETS.note(waited);
    }

    fn print(&self, options: Wakeups) {
        let (ticks, unit) = ((clock::now() - self.start).max(1), clock::counter().unit());
        let busy = sluice_clock::busy().zip(self.busy).and_then(|(now, then)| share(now - then, ticks));
        let awake = 100.0 - self.asleep as f64 * 100.0 / ticks as f64;
        println!(
            concat!(
                r#"wakeups {{"rest":"{}","via":"{}","frames":{},"unit":"{}","min":{},"median":{},"#,
                r#""mean":{:.0},"max":{},"sleeps":{},"busy_percent":{:.1}}}"#
            ),
            options.rest.name(),
            options.via.name(),
            self.waits.count(),
            unit,
            self.waits.least(),
            median(),
            self.waits.mean(),
            self.waits.greatest(),
            self.sleeps,
            busy.unwrap_or(awake),
        );
    }
}

/// The least value of the bucket that the median is in: a sixteenth of a power of two, at most.
fn median() -> u64 {
    let mut seen = 0;
    let half = BUCKETS.count().div_ceil(2);
    let mut at_half = BUCKETS.buckets().skip_while(|(_, count)| {
        seen += count;
        seen < half
    });
    at_half.next().map_or(0, |(floor, _)| floor)
}

/// Returns the share of `ticks` that `nanoseconds` are, in percent.
fn share(nanoseconds: u64, ticks: u64) -> Option<f64> {
    match clock::counter() {
        Counter::Cycles(Some(rate)) => Some(nanoseconds as f64 * rate as f64 / 1e7 / ticks as f64),
        Counter::Cycles(None) | Counter::Instructions => None,
    }
}

/// Sends frames with the time in them, as far apart as `pings` says.
pub fn send(vnf: &mut Vnf, pings: Pings) -> Result<(), Error> {
    let mut ports = vnf.open(Options::default())?;
    let mut burst = ports.burst();
    let (mac, mut random) = (ports.input.mac(), clock::now() | 1);
    let peer = match pings.via {
        Via::Window => Some(ports.wait_for(None)?),
        Via::Switch => None,
    };
    if peer.is_none() {
        while !is_answered(vnf, &mut ports, HELLO, PATIENCE)? {
            push(&mut burst, mac, LEN, HELLO)?;
            transmit(vnf, &mut ports, &mut burst)?;
        }
    }
    for number in 0..=pings.count {
        wait(vnf, pings.gap + below(&mut random, pings.jitter));
        let len = if number == pings.count { LAST } else { LEN };
        push(&mut burst, mac, len, number)?;
        match peer {
            Some(peer) => {
                while ports.send(peer, &mut burst)? == 0 {
                    vnf.yield_now();
                }
            }
            None => {
                transmit(vnf, &mut ports, &mut burst)?;
                let _ = len == LAST || is_answered(vnf, &mut ports, number, u64::MAX)?;
            }
        }
    }
    Ok(())
}

/// A random number below `limit`; 0 if there is none. See: Marsaglia, "Xorshift RNGs", 2003.
fn below(random: &mut u64, limit: u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random % limit.max(1)
}

fn wait(vnf: &Vnf, ticks: u64) {
    let due = clock::now() + ticks;
    while clock::now() < due {
        if ticks < SHORT {
            vnf.yield_now();
        } else {
            sluice_clock::sleep();
        }
    }
}

/// Puts a frame of `len` bytes into `burst`, for everybody, with `number` and the time in it.
fn push(burst: &mut Burst<'_>, mac: [u8; 6], len: u16, number: u64) -> Result<(), Error> {
    let mut frame = burst.push(len).map_err(sluice_vnf::Error::Frame)?;
    for (at, bytes) in [(0, &[0xff; 6][..]), (6, &mac), (12, &TYPE), (NUMBER, &number.to_le_bytes())] {
        frame.set(at, bytes).map_err(sluice_vnf::Error::Frame)?;
    }
    frame.set(TIME, &clock::now().to_le_bytes()).map_err(sluice_vnf::Error::Frame)?;
    Ok(())
}

/// Transmits `burst` by the slow path, all of it.
fn transmit(vnf: &Vnf, ports: &mut Ports, burst: &mut Burst<'static>) -> Result<(), Error> {
    while !burst.is_empty() {
        if ports.input.tx_burst(burst, BURST_SIZE).map_err(sluice_vnf::Error::Send)? == 0 {
            vnf.yield_now();
        }
    }
    Ok(())
}

/// Waits at most `ticks` for the answer to frame `number`, and returns whether it came.
fn is_answered(vnf: &Vnf, ports: &mut Ports, number: u64, ticks: u64) -> Result<bool, Error> {
    let (start, mut burst) = (clock::now(), ports.burst());
    while clock::now() - start < ticks {
        ports.input.rx_burst(&mut burst, BURST_SIZE).map_err(sluice_vnf::Error::Receive)?;
        if burst.frames().any(|frame| frame.head(NUMBER).map(u64::from_le_bytes) == Some(number)) {
            return Ok(true);
        }
        burst.clear();
        vnf.yield_now();
    }
    Ok(false)
}
