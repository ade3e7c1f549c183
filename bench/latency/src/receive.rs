//! The receiver: takes frames, and looks at none.

use crate::Error;
use crate::sender::LAST;
use sluice::{BURST_SIZE, BufferLen, Mempool, Receive, RingFormat, VirtioNet};
use sluice_vnf::Vnf;

/// Buffers: twice the receive queue, so that a full ring can be taken and refilled at once.
const BUFFERS: usize = 2 * sluice::RX_SIZE;

pub fn receive(vnf: &mut Vnf) -> Result<(), Error> {
    let (_, memory) = vnf.connect()?;
    let (queue, buffers) = memory.split_at(VirtioNet::QUEUE_LEN).ok_or(sluice_vnf::Error::NoBuffer)?;
    let mut free = [0; BUFFERS];
    let pool = Mempool::new(buffers, BufferLen::default(), &mut free).map_err(sluice_vnf::Error::Pool)?;
    let mut net = VirtioNet::start(vnf.transport(), queue, &pool, RingFormat::Split).map_err(sluice_vnf::Error::Net)?;
    let mut burst = pool.burst();
    let mut patience = vnf.patience();
    loop {
        if net.rx_burst(&mut burst, BURST_SIZE).map_err(sluice_vnf::Error::Receive)? == 0 {
            patience.wait(vnf)?;
            continue;
        }
        patience.renew();
        if burst.frames().any(|frame| frame.len() == LAST) {
            return Ok(());
        }
        burst.clear();
    }
}
