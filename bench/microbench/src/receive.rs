//! The receiver: checks every frame.

use crate::Error;
use crate::frame::{self, FRAME_LENGTHS};
use crate::tally::Tally;
use sluice::{BURST_SIZE, BufferLen, Mempool, Receive, RingFormat, VirtioNet};
use sluice_vnf::{Vnf, println};

/// Buffers: twice the receive queue, so that a full ring can be taken and refilled at once.
const BUFFERS: usize = 2 * sluice::RX_SIZE;

pub fn receive(vnf: &mut Vnf, ring: RingFormat) -> Result<(), Error> {
    let (_, memory) = vnf.connect()?;
    let (queue, buffers) = memory.split_at(VirtioNet::QUEUE_LEN).ok_or(sluice_vnf::Error::NoBuffer)?;
    let mut free = [0; BUFFERS];
    let pool = Mempool::new(buffers, BufferLen::default(), &mut free).map_err(sluice_vnf::Error::Pool)?;
    let mut net = VirtioNet::start(vnf.transport(), queue, &pool, ring).map_err(sluice_vnf::Error::Net)?;
    let mut burst = pool.burst();
    let mut tally = Tally::new();
    let mut bytes = [0; *FRAME_LENGTHS.end() as usize];
    let mut patience = vnf.patience();
    while !tally.finished() {
        if net.rx_burst(&mut burst, BURST_SIZE).map_err(sluice_vnf::Error::Receive)? == 0 {
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
        burst.clear();
    }
    println!("{tally}");
    if tally.clean() { Ok(()) } else { Err(Error::Dirty) }
}
