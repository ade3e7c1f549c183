//! The receiver: checks every frame.

use crate::Error;
use crate::frame::{self, FRAME_LENGTHS};
use crate::tally::Tally;
use sluice_vnf::{BURST_SIZE, Options, Receive, RingFormat, Vnf, println};

pub fn receive(vnf: &mut Vnf, ring: RingFormat) -> Result<(), Error> {
    let ports = vnf.open(Options { ring, ..Options::default() })?;
    let mut burst = ports.burst();
    let mut tally = Tally::new();
    let mut bytes = [0; *FRAME_LENGTHS.end() as usize];
    let mut patience = vnf.patience();
    while !tally.finished() {
        if ports.input.rx_burst(&mut burst, BURST_SIZE).map_err(sluice_vnf::Error::Receive)? == 0 {
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
