//! A16: a receiver that changes its rings while the sender's window reads them, on another processor; and that sender.

use super::Error;
use super::hostile::Random;
use sluice::{BufferLen, Mempool, PacketMemory, PeerIdx, PeerPort, RingFormat, Transmit, TxError, VirtioNet};
use sluice_abi::directory::PeerState;
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] =
    &[("scribble", |machine, how| receiver(machine, super::format(how)?)), ("send", |machine, _| sender(machine))];

/// How often the device is started anew, with which quarantine ends.
const STARTS: u64 = 60;
/// The number of words written in between.
const WRITES: u64 = 100;

/// Starts the device again and again, and writes random values to random places of descriptors and rings.
fn receiver(machine: &mut Vnf, format: RingFormat) -> Result<(), Error> {
    let (_, memory) = machine.connect()?;
    let (queue, buffers) = memory.split_at(VirtioNet::QUEUE_LEN).ok_or(Error::Arguments)?;
    let mut random = Random::new(1);
    for _ in 0..STARTS {
        let mut free = [0; sluice::RX_SIZE];
        let pool =
            Mempool::new(buffers, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
        let net = VirtioNet::start(machine.transport(), queue, &pool, format);
        net.map_err(|error| Error::Machine(error.into()))?;
        (0..WRITES).for_each(|_| write(queue, &mut random));
    }
    println!("scribbled: {} words", STARTS * WRITES);
    Ok(())
}

/// Returns what to write. One write in two changes one bit, so that the word is nearly right. The others are small
/// numbers, or random.
fn write(queue: PacketMemory, random: &mut Random) {
    let at = random.next() % (queue.memory.len() / 2) * 2;
    let before = queue.memory.read::<u16>(at).unwrap_or(0);
    let value = match random.next() % 4 {
        0 | 1 => before ^ 1 << (random.next() % 16),
        2 => (random.next() % 300) as u16,
        _ => random.next() as u16,
    };
    // The write is inside, as `at` is.
    let _ = queue.memory.write(at, value);
}

/// Sends to the first peer until it is gone, whatever it does.
fn sender(machine: &mut Vnf) -> Result<(), Error> {
    let (gate, memory) = machine.connect()?;
    let mut free = [0; 64];
    let pool = Mempool::new(memory, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
    let mut port = PeerPort::new(&gate, PeerIdx(0));
    let mut burst = pool.burst();
    let (mut calls, mut faults) = (0u64, 0u64);
    while gate.peer_state(PeerIdx(0)) != PeerState::Revoked {
        while burst.len() < sluice::BURST_SIZE && burst.push(64).is_ok() {}
        calls += 1;
        faults += u64::from(
            port.tx_burst(&mut burst, sluice::MAX_BURST).is_err_and(|error| matches!(error, TxError::PeerFault { .. })),
        );
    }
    println!("sender: {calls} calls, {faults} faults, {} sent", port.tx_stats().packets);
    Ok(())
}
