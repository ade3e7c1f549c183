//! The receiver: takes frames, and looks at none.

use crate::Error;
use crate::sender::LAST;
use sluice::{Mempool, Port, RingFormat, VirtioNet};
use sluice_vnf::Vnf;

/// Buffers: twice the receive queue, so that a full ring can be taken and refilled at once.
const BUFFERS: usize = 2 * sluice::RX_SIZE;

pub fn receive(vnf: &mut Vnf) -> Result<(), Error> {
    let (_, memory) = vnf.connect()?;
    let (queue, buffers) = memory.split_at(VirtioNet::QUEUE_LEN).ok_or(sluice_vnf::Error::NoBuffer)?;
    let mut free = [0; BUFFERS];
    let pool = Mempool::new(buffers, &mut free);
    let mut net =
        VirtioNet::start(&mut vnf.transport(), queue, &pool, RingFormat::Split).map_err(sluice_vnf::Error::Net)?;
    let mut burst = pool.burst();
    let mut patience = vnf.patience();
    loop {
        if net.rx_burst(&mut burst) == 0 {
            patience.wait(vnf)?;
            continue;
        }
        patience.renew();
        if burst.frame(burst.len() - 1).is_some_and(|frame| frame.len() == u64::from(LAST)) {
            return Ok(());
        }
        burst.clear();
    }
}
