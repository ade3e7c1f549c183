//! A29: a receiver that starts its device and resets it without end; and its sender, which has other work to do.

use super::host;
use super::ring::Ring;
use super::{Error, ask_one, register};
use sluice::RingFormat;
use sluice_vnf::{Vnf, clock, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[
    ("good", |machine, how| receiver(machine, false, super::number(how)?, 0)),
    ("bad", |machine, how| receiver(machine, true, super::number(how)?, 0)),
    ("worse", |machine, how| receiver(machine, true, super::number(how)?, SEEN)),
    ("call", |machine, how| sender(machine, super::number(how)?)),
    ("print", |machine, how| {
        let (times, len) = how.split_once(' ').ok_or(Error::Arguments)?;
        printer(machine, super::number(times)?, super::number(len)?)
    }),
];

/// The number of ticks in which a sender that never exits is told of a device, where a quantum has 20,000.
pub const SEEN: u64 = 60_000;

/// Starts the device `times` times, and leaves it for `pause` ticks each time. `bad` rings lie outside of the VM's
/// memory.
fn receiver(machine: &mut Vnf, bad: bool, times: u64, pause: u64) -> Result<(), Error> {
    let (_, memory) = machine.connect()?;
    let ring = Ring::new(memory, RingFormat::Split)?;
    for _ in 0..times {
        if bad {
            Ring::start_nowhere(machine)
        } else {
            ring.start(machine)
        }
        let started = clock::now();
        while clock::now() - started < pause {}
        Ring::stop(machine);
    }
    println!("started {times} times");
    Ok(())
}

/// Calls `times` times, and never exits by itself meanwhile.
fn sender(machine: &mut Vnf, times: u64) -> Result<(), Error> {
    ask_one(&register(machine)?)?;
    for _ in 0..times {
        host::through_stub(1);
    }
    println!("called {times} times");
    Ok(())
}

/// Prints `times` lines of `len` bytes and their number.
fn printer(_: &mut Vnf, times: u64, len: usize) -> Result<(), Error> {
    (0..times).for_each(|number| println!("line {number} {:x<len$}", ""));
    Ok(())
}
