//! A receiver whose rings break the protocol, and one whose rings are invalid. Each time its driver then starts anew,
//! as it should. And the sender, which reads what its directory and its gate say of the receiver.

use super::Error;
use super::ring::{Idle, Ring, SIZE};
use sluice::{BufferLen, Clause, Gate, Mempool, PacketMemory, PeerIdx, PeerPort, RingFormat, Transmit, TxError};
use sluice_abi::Gpa;
use sluice_abi::directory::PeerState;
use sluice_abi::mmio::Status;
use sluice_abi::net::{F, receiveq};
use sluice_abi::virtq::QueueAddresses;
use sluice_driver::Transport;
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] =
    &[("misbehave", |machine, how| receiver(machine, super::format(how)?)), ("forgive", |machine, _| sender(machine))];

/// How often each fault is committed.
const ROUNDS: u32 = 4;
/// The number of turns that the receiver gives away, so that the sender can read the state.
const TURNS: usize = 16;
/// The length of a frame, bytes.
const LEN: u16 = 64;
/// The length of a descriptor, which begins with its address, bytes.
const DESC_LEN: u64 = 16;

/// Runs the receiver.
fn receiver(machine: &mut Vnf, format: RingFormat) -> Result<(), Error> {
    let (_, memory) = machine.connect()?;
    let mut frames = 0;
    for _ in 0..ROUNDS {
        frames += lawful(machine, memory, format)?;
        // Every buffer is outside this VM's memory now.
        for index in 0..u64::from(SIZE) {
            memory.memory.write(DESC_LEN * index, u64::MAX).map_err(|_| Error::Arguments)?;
        }
        give_turns(machine);
        Ring::stop(machine);
        give_turns(machine);
        start_without_rings(machine);
        give_turns(machine);
        Ring::stop(machine);
    }
    frames += lawful(machine, memory, format)?;
    println!("quarantine: {frames} frames");
    Ok(())
}

fn give_turns(machine: &Vnf) {
    (0..TURNS).for_each(|_| machine.yield_now());
}

/// Starts the device and waits for frames. Returns how many came at once.
fn lawful(machine: &Vnf, memory: PacketMemory, format: RingFormat) -> Result<u32, Error> {
    let mut ring = Ring::new(memory, format)?;
    ring.start(machine);
    let (mut idle, mut frames) = (Idle::default(), 0);
    while ring.ready()? == 0 {
        idle.turn(machine, false)?;
    }
    while ring.take(|_| {})? {
        frames += 1;
    }
    Ok(frames)
}

/// Starts the device with a queue that lies nowhere.
fn start_without_rings(machine: &Vnf) {
    let nowhere = Gpa(1 << 40);
    let mut transport = machine.transport();
    transport.set_status(Status::ACKNOWLEDGE | Status::DRIVER);
    transport.set_driver_features(F::VERSION_1);
    transport.set_status(Status::ACKNOWLEDGE | Status::DRIVER | Status::FEATURES_OK);
    transport.enable_queue(receiveq(0), SIZE, QueueAddresses { desc: nowhere, driver: nowhere, device: nowhere });
    Ring::go(machine);
}

/// Runs the sender. One frame arrives, the next finds a fault, and the state says so with no call between. Then the
/// state says so of rings that nobody sent to.
fn sender(machine: &mut Vnf) -> Result<(), Error> {
    let (gate, memory) = machine.connect()?;
    let mut free = [0; 8];
    let pool = Mempool::new(memory, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
    let (mut port, mut burst) = (PeerPort::new(&gate, PeerIdx(0)), pool.burst());
    let (mut sent, mut faults) = (0, 0);
    for round in 0..=ROUNDS {
        until(machine, &gate, PeerState::Ready)?;
        burst.push(LEN).map_err(|_| Error::Arguments)?;
        sent += port.tx_burst(&mut burst, sluice::MAX_BURST).map_err(|_| Error::NotStopped(0))?;
        if round == ROUNDS {
            break;
        }
        while faults == round {
            machine.yield_now();
            let _ = burst.push(LEN);
            match port.tx_burst(&mut burst, sluice::MAX_BURST) {
                Ok(more) => sent += more,
                Err(TxError::PeerFault { peer: PeerIdx(0), clause: Some(Clause::Region), .. }) => faults += 1,
                Err(_) => return Err(Error::NotStopped(1)),
            }
        }
        is_quarantined(&gate, &mut port, &mut burst)?;
        until(machine, &gate, PeerState::Absent)?;
        until(machine, &gate, PeerState::Quarantined)?;
        is_quarantined(&gate, &mut port, &mut burst)?;
        burst.clear();
    }
    println!("quarantine: {faults} faults, {sent} sent");
    Ok(())
}

/// Checks that the state says so before and after a call in vain.
fn is_quarantined(gate: &Gate, port: &mut PeerPort<'_>, burst: &mut sluice::Burst<'_>) -> Result<(), Error> {
    for _ in 0..2 {
        if gate.peer_state(PeerIdx(0)) != PeerState::Quarantined {
            return Err(Error::NotStopped(2));
        }
        if !matches!(port.tx_burst(burst, sluice::MAX_BURST), Err(TxError::PeerNotReady { peer: PeerIdx(0), .. })) {
            return Err(Error::NotStopped(3));
        }
    }
    Ok(())
}

fn until(machine: &Vnf, gate: &Gate, state: PeerState) -> Result<(), Error> {
    let mut idle = Idle::default();
    while gate.peer_state(PeerIdx(0)) != state {
        idle.turn(machine, false)?;
    }
    Ok(())
}
