//! The receiver: writes the file that the sender read.

use crate::Error;
use crate::announce::MAX_LEN;
use crate::assembly::{Assembly, Fault};
use sluice::{Mempool, Port, RX_SIZE, RingFormat, VirtioNet};
use sluice_runtime::Error::{Net, NoBuffer};
use sluice_runtime::{Machine, println};
use spin::Mutex;

/// Bytes of the largest file.
const CAPACITY: usize = 1 << 20;
/// Longest frame that can arrive.
const LONGEST: usize = if MAX_LEN > 2048 { MAX_LEN } else { 2048 };

static FILE: Mutex<[u8; CAPACITY]> = Mutex::new([0; CAPACITY]);

pub fn receive(machine: &mut Machine, file: &'static str) -> Result<(), Error> {
    let (_, memory) = machine.connect()?;
    let (queue, buffers) = memory.split_at(VirtioNet::QUEUE_LEN).ok_or(NoBuffer)?;
    let mut free = [0; 2 * RX_SIZE];
    let pool = Mempool::new(buffers, &mut free);
    let mut net = VirtioNet::start(&mut machine.transport(), queue, &pool, RingFormat::default()).map_err(Net)?;
    let mut burst = pool.burst();
    let mut out = FILE.lock();
    let mut assembly = Assembly::new(&mut *out);
    let mut bytes = [0; LONGEST];
    let mut patience = machine.patience();
    while assembly.file().is_none() {
        if net.rx_burst(&mut burst) == 0 {
            patience.wait(machine)?;
            continue;
        }
        patience.renew();
        for frame in burst.frames() {
            let copy = &mut bytes[..(frame.len() as usize).min(LONGEST)];
            frame.copy_to_slice(0, copy).map_err(|_| Error::Arrived(Fault::Malformed(assembly.frames())))?;
            assembly.take(copy).map_err(Error::Arrived)?;
        }
        burst.clear();
    }
    println!("received {} frames", assembly.frames());
    machine.write_file(file, assembly.file().unwrap_or_default());
    Ok(())
}
