//! The receiver: writes the file that the sender read.

use crate::Error;
use crate::announce::MAX_LEN;
use crate::assembly::{Assembly, Fault};
use sluice::{BUFFER_LEN, Mempool, Port, RX_SIZE, RingFormat, VirtioNet};
use sluice_vnf::Error::{Net, NoBuffer};
use sluice_vnf::{Vnf, println};

/// Longest frame that can arrive.
const LONGEST: usize = BUFFER_LEN as usize;
const _: () = assert!(MAX_LEN <= LONGEST);

pub fn receive(vnf: &mut Vnf, file: &'static str) -> Result<(), Error> {
    let unusable = |error| Error::Unusable(file, error);
    let mut assembly = Assembly::new(vnf.create(file).map_err(unusable)?);
    let (_, memory) = vnf.connect()?;
    let (queue, buffers) = memory.split_at(VirtioNet::QUEUE_LEN).ok_or(NoBuffer)?;
    let mut free = [0; 2 * RX_SIZE];
    let pool = Mempool::new(buffers, &mut free);
    let mut net = VirtioNet::start(&mut vnf.transport(), queue, &pool, RingFormat::default()).map_err(Net)?;
    let mut burst = pool.burst();
    let mut bytes = [0; LONGEST];
    let mut patience = vnf.patience();
    while !assembly.is_finished() {
        if net.rx_burst(&mut burst) == 0 {
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
