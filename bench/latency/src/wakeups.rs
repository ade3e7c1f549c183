//! How long a frame waits for a VNF that had nothing to do, and how much of a processor that VNF takes meanwhile.

use crate::Error;
use crate::options::{Pings, Rest};
use crate::sender::LAST;
use crate::spread::Spread;
use sluice_vnf::clock::{self, Counter};
use sluice_vnf::{BURST_SIZE, Options, Receive, Vnf, println};

/// Bytes of a frame with a time, and where in the frame the time is.
const LEN: u16 = 64;
const TIME: usize = 14;

/// Notes for each frame how long ago the frame was sent, until the last one.
pub fn receive(vnf: &mut Vnf, rest: Rest) -> Result<(), Error> {
    let mut ports = vnf.open(Options::default())?;
    let (mut burst, mut waits, mut last) = (ports.burst(), Spread::new(), false);
    let (mut start, mut busy) = (clock::now(), sluice_clock::busy());
    while !last {
        let received = ports.input.rx_burst(&mut burst, BURST_SIZE).map_err(sluice_vnf::Error::Receive)?;
        let now = clock::now();
        for frame in burst.frames() {
            last |= frame.len() == LAST;
            if let Some(time) = frame.head(TIME).filter(|_| frame.len() == LEN) {
                waits.note(now.saturating_sub(u64::from_le_bytes(time)));
            }
        }
        if waits.count() == 0 {
            (start, busy) = (now, sluice_clock::busy());
        }
        burst.clear();
        if rest == Rest::Sleep {
            ports.idle(vnf, received);
        }
    }
    let (ticks, unit) = (clock::now() - start, clock::counter().unit());
    let share = sluice_clock::busy().zip(busy).map(|(now, then)| share(now - then, ticks)).unwrap_or(f64::NAN);
    println!(
        r#"wakeups {{"rest":"{}","frames":{},"unit":"{unit}","min":{},"mean":{:.0},"max":{},"busy_percent":{share:.1}}}"#,
        rest.name(),
        waits.count(),
        waits.least(),
        waits.mean(),
        waits.greatest(),
    );
    Ok(())
}

/// How much of `ticks` so many busy nanoseconds are, in percent.
fn share(nanoseconds: u64, ticks: u64) -> f64 {
    match clock::counter() {
        Counter::Cycles(Some(rate)) => nanoseconds as f64 * rate as f64 / 1e7 / ticks as f64,
        Counter::Cycles(None) | Counter::Instructions => f64::NAN,
    }
}

/// Sends frames with the time in them, far enough apart for the receiver to have nothing to do in between.
pub fn send(vnf: &mut Vnf, pings: Pings) -> Result<(), Error> {
    let mut ports = vnf.open(Options::default())?;
    let peer = ports.wait_for(None)?;
    let mut burst = ports.burst();
    for number in 0..=pings.count {
        let due = clock::now() + pings.gap;
        while clock::now() < due {
            sluice_clock::sleep();
        }
        let mut frame = burst.push(if number == pings.count { LAST } else { LEN }).map_err(sluice_vnf::Error::Frame)?;
        frame.set(TIME, &clock::now().to_le_bytes()).map_err(sluice_vnf::Error::Frame)?;
        while ports.send(peer, &mut burst)? == 0 {
            vnf.yield_now();
        }
    }
    Ok(())
}
