//! The receiver: checks every frame.

use crate::Error;
use crate::frame::{self, FRAME_LENGTHS};
use crate::tally::Tally;
use sluice::{BURST_SIZE, BufferLen, Mempool, Receive, RingFormat, VirtioNet};
use sluice_runtime::{Machine, println};

/// Buffers: twice the receive queue, so that a full ring can be taken and refilled at once.
const BUFFERS: usize = 2 * sluice::RX_SIZE;

pub fn receive(machine: &mut Machine, ring: RingFormat) -> Result<(), Error> {
    let (_, memory) = machine.connect()?;
    let (queue, buffers) = memory.split_at(VirtioNet::QUEUE_LEN).ok_or(sluice_runtime::Error::NoBuffer)?;
    let mut free = [0; BUFFERS];
    let pool = Mempool::new(buffers, BufferLen::default(), &mut free).map_err(sluice_runtime::Error::Pool)?;
    let mut net = VirtioNet::start(&mut machine.transport(), queue, &pool, ring).map_err(sluice_runtime::Error::Net)?;
    let mut burst = pool.burst();
    let mut tally = Tally::new();
    let mut bytes = [0; *FRAME_LENGTHS.end() as usize];
    let mut patience = machine.patience();
    while !tally.finished() {
        if net.rx_burst(&mut burst, BURST_SIZE).map_err(sluice_runtime::Error::Receive)? == 0 {
            patience.wait(machine)?;
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
        burst.clear();
    }
    println!("{tally}");
    if tally.clean() { Ok(()) } else { Err(Error::Dirty) }
}
