//! The receiver writes the file that the sender read.

use crate::Error;
use crate::announce::MAX_LEN;
use crate::assembly::{Assembly, Fault};
use sluice_vnf::Error::Receive as Failed;
use sluice_vnf::{BURST_SIZE, BufferLen, Options, Receive, Vnf, println};

/// The length of the longest frame that can arrive, bytes.
const LONGEST: usize = BufferLen::KiB2.bytes() as usize;
const _: () = assert!(MAX_LEN <= LONGEST);

pub fn receive(vnf: &mut Vnf, file: &'static str) -> Result<(), Error> {
    let unusable = |error| Error::Unusable(file, error);
    let mut assembly = Assembly::new(vnf.create(file).map_err(unusable)?);
    let ports = vnf.open(Options::default())?;
    let mut burst = ports.burst();
    let mut bytes = [0; LONGEST];
    let mut patience = vnf.patience();
    while !assembly.is_finished() {
        if ports.input.rx_burst(&mut burst, BURST_SIZE).map_err(Failed)? == 0 {
            patience.wait(vnf)?;
            continue;
        }
        patience.renew();
        for frame in burst.frames() {
            let copy = &mut bytes[..(frame.len() as usize).min(LONGEST)];
            let unreadable = |_| Error::Arrived(file, Fault::Unreadable(assembly.records()));
            frame.copy_to_slice(0, copy).map_err(unreadable)?;
            assembly.take(copy).map_err(|fault| Error::Arrived(file, fault))?;
        }
        burst.clear();
    }
    let records = assembly.records();
    assembly.into_output().finish().map_err(unusable)?;
    println!("received {records} frames");
    Ok(())
}
