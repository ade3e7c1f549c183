//! G13, A16, A17: a receiver that takes its device away while its sender calls, again and again; and a sender that goes
//! on.

use super::Error;
use super::hostile::Random;
use super::numbered::{self, Seen};
use super::ring::{Idle, Ring};
use sluice::{BURST_SIZE, BufferLen, Burst, Gate, Mempool, PeerIdx, PeerPort, RingFormat, Transmit, TxError};
use sluice_abi::directory::PeerState;
use sluice_vnf::{Vnf, clock, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[
    ("revoke", |machine, how| {
        let (format, times) = super::format_and_number(how)?;
        receiver(machine, format, times)
    }),
    ("insist", |machine, how| sender(machine, super::number(how)?)),
    ("both", |machine, how| both(machine, super::number(how)?)),
];

/// The number of frames that are received between two revocations is below this.
const SPREAD: u64 = 100;
/// The number of ticks in which a call that is in the window would end.
const LATE: u64 = 3_000;
/// The number of the sender's calls after the last revocation.
const AFTER: u64 = 1000;

/// Starts the device and takes it away in the middle of the traffic, `times` times. Then it receives to the end.
///
/// The reset returns when no sender is in the window any more. So the ring then holds all frames that were ever
/// accepted there: nothing comes later, and the numbers have no gap, however often that was.
fn receiver(machine: &mut Vnf, format: RingFormat, times: u64) -> Result<(), Error> {
    let (_, memory) = machine.connect()?;
    let (mut seen, mut random, mut slowest) = (Seen::default(), Random::new(1), 0);
    for _ in 0..times {
        let mut ring = Ring::new(memory, format)?;
        ring.start(machine);
        let until = seen.expected + random.next() % SPREAD;
        receive(machine, &mut ring, &mut seen, until)?;
        let before = clock::now();
        Ring::stop(machine);
        let (there, after) = (ring.ready()?, clock::now());
        slowest = slowest.max(after - before);
        for _ in 0..there {
            if !ring.take(|frame| seen.see(frame))? {
                return Err(Error::Harmed(1));
            }
        }
        while clock::now() - after < LATE {}
        if ring.take(|_| ())? {
            return Err(Error::NotStopped(seen.expected));
        }
    }
    println!("revoked {times} times, slowest {slowest} ticks");
    let mut ring = Ring::new(memory, format)?;
    ring.start(machine);
    receive(machine, &mut ring, &mut seen, u64::MAX)?;
    seen.report()
}

/// Receives until frame number `until` is the next, or the last frame came.
fn receive(machine: &Vnf, ring: &mut Ring, seen: &mut Seen, until: u64) -> Result<(), Error> {
    let mut idle = Idle::default();
    while seen.expected < until && !seen.over {
        idle.turn(machine, ring.take(|frame| seen.see(frame))?)?;
    }
    seen.right()
}

/// Sends to a peer that does the same: each takes its device away `times` times while the other calls, or takes its own
/// away.
fn both(machine: &mut Vnf, times: u64) -> Result<(), Error> {
    let (gate, memory) = machine.connect()?;
    let (ring, buffers) = memory.split_at(Ring::MEMORY_LEN).ok_or(Error::Arguments)?;
    let mut free = [0; 2 * BURST_SIZE];
    let pool = Mempool::new(buffers, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
    let (mut port, mut burst) = (PeerPort::new(&gate, PeerIdx(0)), pool.burst());
    for turn in 0..times {
        Ring::new(ring, RingFormat::InOrder)?.start(machine);
        fill(&mut burst, 0);
        for _ in 0..turn % 8 {
            // The peer may be there or not.
            let _ = port.tx_burst(&mut burst, sluice::MAX_BURST);
        }
        Ring::stop(machine);
    }
    println!("taken away {times} times");
    Ok(())
}

/// The counts of how the sender's calls ended.
#[derive(Default)]
pub struct Calls {
    whole: u64,
    full: u64,
    not_ready: u64,
    aborted: u64,
    /// The calls after the last revocation.
    after: u64,
    /// The ticks of the call that took longest.
    slowest: u64,
}

/// Sends numbered frames in bursts, whatever becomes of the peer, until that has been taken away `times` times and for
/// a while after.
fn sender(machine: &mut Vnf, times: u32) -> Result<(), Error> {
    let (gate, memory) = machine.connect()?;
    let mut free = [0; 2 * BURST_SIZE];
    let pool = Mempool::new(memory, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
    let (mut port, mut burst) = (PeerPort::new(&gate, PeerIdx(0)), pool.burst());
    let (mut calls, mut next) = (Calls::default(), 0);
    while calls.after < AFTER {
        next = fill(&mut burst, next);
        calls.call(&mut port, &mut burst)?;
        if gate.peer_state(PeerIdx(0)) == PeerState::Revoked {
            return Err(sluice_vnf::Error::PeerGone.into());
        }
        calls.after += u64::from(starts_of(&gate) > times);
    }
    calls.send(&mut port, &mut burst)?;
    push(&mut burst, numbered::last(next));
    calls.send(&mut port, &mut burst)?;
    calls.report(next);
    Ok(())
}

/// Returns which start of its device the peer's queue is of; 0 while there is no queue.
fn starts_of(gate: &Gate) -> u32 {
    gate.peer(PeerIdx(0)).map_or(0, |peer| peer.queues[0].start)
}

/// Adds frames from number `next` on, up to a whole burst, and returns the number behind them.
pub fn fill(burst: &mut Burst<'_>, mut next: u64) -> u64 {
    while burst.len() < BURST_SIZE && push(burst, numbered::frame(next)) {
        next += 1;
    }
    next
}

pub fn push(burst: &mut Burst<'_>, words: numbered::Frame) -> bool {
    burst.push_bytes(words.map(u64::to_ne_bytes).as_flattened()).is_ok()
}

impl Calls {
    /// Prints the counts; `sent` frames were accepted.
    pub fn report(self, sent: u64) {
        let Self { whole, full, not_ready, aborted, after, slowest } = self;
        println!("calls: {whole} whole, {full} full, {not_ready} not ready, {aborted} aborted, {after} after the last");
        println!("sent {sent}, slowest {slowest} ticks");
    }

    /// Calls until all of `burst` was accepted.
    pub fn send(&mut self, port: &mut PeerPort<'_>, burst: &mut Burst<'_>) -> Result<(), Error> {
        while !burst.is_empty() {
            self.call(port, burst)?;
        }
        Ok(())
    }

    /// Makes one call, which must end as a call may.
    pub fn call(&mut self, port: &mut PeerPort<'_>, burst: &mut Burst<'_>) -> Result<(), Error> {
        let before = clock::now();
        let sent = port.tx_burst(burst, sluice::MAX_BURST);
        self.slowest = self.slowest.max(clock::now() - before);
        match sent {
            Ok(_) if burst.is_empty() => self.whole += 1,
            Ok(_) => self.full += 1,
            Err(TxError::PeerNotReady { .. }) => self.not_ready += 1,
            Err(TxError::Aborted) => self.aborted += 1,
            Err(error) => return Err(sluice_vnf::Error::Send(error).into()),
        }
        Ok(())
    }
}
