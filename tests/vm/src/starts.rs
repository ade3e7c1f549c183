//! A29: a receiver that starts its device and resets it without end; and its sender, which has better things to do.

use crate::attack::{Error, register};
use crate::crossing;
use crate::ring::Ring;
use sluice::RingFormat;
use sluice_abi::directory::PeerState;
use sluice_runtime::{Machine, println};

/// Turns of the sender's loop after which the receiver must have ended.
const LIMIT: u64 = 1 << 26;

/// Starts the device `times` times. `bad` rings lie outside of the VM's memory.
pub fn receiver(machine: &mut Machine, bad: bool, times: u64) -> Result<(), Error> {
    let (_, memory) = machine.connect()?;
    let ring = Ring::new(memory, RingFormat::Split)?;
    for _ in 0..times {
        if bad {
            Ring::start_nowhere(machine)
        } else {
            ring.start(machine)
        }
        Ring::stop(machine);
    }
    println!("started {times} times");
    Ok(())
}

/// Never exits by itself: it calls as long as the receiver is there.
pub fn sender(machine: &mut Machine) -> Result<(), Error> {
    let armed = register(machine)?;
    crate::attack::ask_one(&armed)?;
    for calls in 0..LIMIT {
        crossing::through_stub(1);
        if armed.gate.peer_state(0) == PeerState::Revoked {
            println!("called: {}", calls > 0);
            return Ok(());
        }
    }
    Err(Error::Endless)
}

/// Prints `times` lines of `len` bytes and their number.
pub fn printer(_: &mut Machine, times: u64, len: usize) -> Result<(), Error> {
    (0..times).for_each(|number| println!("line {number} {:x<len$}", ""));
    Ok(())
}
