//! From the expiry of a timer to its handler.

use crate::Error;
use crate::options::{Expiries as Options, Load};
use crate::sender::{LAST, PeerSender, with_sender};
use core::fmt;
use sluice_clock::{Expiries, Ticker};
use sluice_vnf::{Vnf, clock, println};

pub fn expiries(vnf: &mut Vnf, options: &Options) -> Result<(), Error> {
    let ticker = Ticker { period: options.period, count: options.count };
    with_sender(vnf, |sender| {
        let sends = matches!(options.load, Load::Sends(..) | Load::Each);
        if !sends {
            // Alone on the processor.
            sender.finish()?;
        }
        let exit = exit();
        let expiries = match options.load {
            Load::Idle => sluice_clock::tick(ticker, || done(sluice_clock::sleep)),
            Load::Busy => sluice_clock::tick(ticker, || done(core::hint::spin_loop)),
            Load::Each => {
                let mut instruction = 0..;
                sluice_clock::tick(ticker, || expire_in_call(sender, instruction.next().unwrap_or(0)))
            }
            Load::Sends(burst, frame) => sluice_clock::tick(ticker, || sender.call(burst, frame).map(drop)),
        };
        let expiries = expiries?.ok_or(Error::NoTimer)?;
        let (unit, aborted) = (sluice_clock::tick_unit(), sender.aborted);
        println!("latency {}", Row { load: options.load, period: options.period, unit, exit, aborted, expiries });
        if sends { sender.finish() } else { Ok(()) }
    })
}

/// One call, and an expiry `at` ticks after it was asked for.
fn expire_in_call(sender: &mut PeerSender<'_>, at: u64) -> Result<(), Error> {
    sender.make_room(1);
    if !sluice_clock::expire_in(at) {
        return Err(Error::NoTimer);
    }
    sender.call(1, LAST + 1)?;
    // It expires before anything else happens.
    let asked = clock::now();
    while clock::now() < asked + at {}
    Ok(())
}

/// `work`, which can't fail.
fn done(work: impl FnOnce()) -> Result<(), Error> {
    work();
    Ok(())
}

/// Returns the time of an exit to the host and back, that of a hypercall without effect; 0 where nothing exits.
fn exit() -> u64 {
    let ask = |_| {
        let before = clock::now();
        let exits = sluice_clock::exits();
        let ticks = clock::now() - before;
        if exits > 0 { ticks } else { 0 }
    };
    (0..4).map(ask).max().unwrap_or(0)
}

struct Row {
    load: Load,
    period: u64,
    unit: &'static str,
    exit: u64,
    aborted: u64,
    expiries: &'static Expiries,
}

/// As JSON.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { load, period, unit, exit, aborted, expiries } = self;
        let (count, missed) = (expiries.count(), expiries.missed());
        write!(f, r#"{{"load":"{load}","unit":"{unit}","period":{period},"expiries":{count},"missed":{missed},"#)?;
        let (least, greatest) = (expiries.least(), expiries.greatest());
        write!(
            f,
            r#""min":{least},"mean":{:.1},"max":{greatest},"exit":{exit},"aborted":{aborted},"histogram":["#,
            expiries.mean()
        )?;
        for (place, (floor, count)) in expiries.buckets().enumerate() {
            write!(f, "{}[{floor},{count}]", if place == 0 { "" } else { "," })?;
        }
        write!(f, "]}}")
    }
}
