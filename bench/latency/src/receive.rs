//! The receiver: takes frames, and looks at none.

use crate::Error;
use crate::sender::LAST;
use sluice_vnf::{BURST_SIZE, Options, Receive, RingFormat, Vnf};

pub fn receive(vnf: &mut Vnf) -> Result<(), Error> {
    let ports = vnf.open(Options { ring: RingFormat::Split, ..Options::default() })?;
    let mut burst = ports.burst();
    let mut patience = vnf.patience();
    loop {
        if ports.input.rx_burst(&mut burst, BURST_SIZE).map_err(sluice_vnf::Error::Receive)? == 0 {
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
