//! Packet memory that comes and goes while peers send, and memory that was never registered.

use super::numbered::{self, Frame, Seen};
use super::page::Page;
use super::revoke;
use super::ring::{Idle, Ring, SIZE};
use super::{Error, host, register};
use sluice::{
    BURST_SIZE, BufferLen, Clause, Gate, Mempool, PacketMemory, PeerIdx, PeerPort, RingFormat, Transmit, TxError,
};
use sluice_abi::call::Packet;
use sluice_abi::directory::PeerState;
use sluice_abi::run::Run;
use sluice_abi::{Gpa, map};
use sluice_memory::PeerSlice;
use sluice_vnf::{Vnf, clock, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[
    ("stray", |machine, how| stray(machine, super::format(how)?)),
    ("meet", |machine, _| meet(machine)),
    ("move", |machine, how| {
        let (format, times) = super::format_and_number(how)?;
        receiver(machine, format, times)
    }),
    ("pull", |machine, how| {
        let (format, times) = super::format_and_number(how)?;
        pulled(machine, format, times)
    }),
    ("bear", |machine, how| bear(machine, super::number(how)?)),
    ("hop", |machine, how| sender(machine, super::number(how)?)),
    ("refused", |machine, _| refused(machine)),
];

/// The length of a run that comes and goes, bytes.
const RUN_LEN: u64 = 2 << 20;
/// The length of a descriptor, which begins with its address, bytes.
const DESC_LEN: u64 = 16;
/// The number of turns that are given away.
const TURNS: usize = 16;
/// The number of ticks in which a call that is in the window would end.
const LATE: u64 = 3_000;
/// The value in memory that nobody may write.
const MARK: u64 = 0x5357_4c49_5055_5421;

/// A page of this image's data, which is neither ring nor run.
static PAGE: Page = Page::new();

fn mark(memory: PeerSlice<'static>) {
    // The write is inside, as at < len.
    (0..memory.len() / 8).for_each(|word| memory.write(8 * word, MARK).unwrap_or(()));
}

fn changed(memory: PeerSlice<'static>) -> usize {
    (0..memory.len() / 8).filter(|&word| memory.read(8 * word) != Ok(MARK)).count()
}

/// Receives with buffers that are first a page of this VM's RAM that is neither ring nor run, and then lie in a run.
fn stray(vnf: &mut Vnf, format: RingFormat) -> Result<(), Error> {
    let (_, memory) = vnf.connect()?;
    PAGE.fill(MARK);
    let mut ring = Ring::new(memory, format)?;
    for index in 0..u64::from(SIZE) {
        memory.memory.write(DESC_LEN * index, PAGE.gpa()).map_err(|_| Error::Arguments)?;
    }
    ring.start(vnf);
    // The wait is long enough for the sender's call.
    (0..TURNS).for_each(|_| vnf.yield_now());
    println!("stray: {} words changed", PAGE.others(MARK));
    Ring::stop(vnf);
    (0..TURNS).for_each(|_| vnf.yield_now());
    ring = Ring::new(memory, format)?;
    ring.start(vnf);
    let mut idle = Idle::default();
    while !ring.take(|_| ())? {
        idle.turn(vnf, false)?;
    }
    if PAGE.others(MARK) == 0 { Ok(()) } else { Err(Error::Harmed(PAGE.others(MARK))) }
}

/// Sends to that receiver, and checks what the sender is told, and that the next start of the device is a proper one.
fn meet(vnf: &mut Vnf) -> Result<(), Error> {
    let (gate, memory) = vnf.connect()?;
    let mut free = [0; 1];
    let pool = Mempool::new(memory, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
    let (mut port, mut burst) = (PeerPort::new(&gate, PeerIdx(0)), pool.burst());
    burst.push(64).map_err(|_| Error::Arguments)?;
    let mut idle = Idle::default();
    while !burst.is_empty() {
        match port.tx_burst(&mut burst, sluice::MAX_BURST) {
            Err(error @ TxError::PeerFault { .. }) => println!("told: {error:?}"),
            Ok(_) | Err(TxError::PeerNotReady { .. }) => {}
            Err(error) => return Err(sluice_vnf::Error::Send(error).into()),
        }
        idle.turn(vnf, false)?;
    }
    Ok(())
}

/// Receives numbered frames. All buffers move to a new run `times` times, and the run where they were is removed. No
/// frame is lost, and nobody writes to a run that was removed.
fn receiver(vnf: &mut Vnf, format: RingFormat, times: u64) -> Result<(), Error> {
    let (gate, memory) = vnf.connect()?;
    let mut run = vnf.add_run(&gate, RUN_LEN).map_err(sluice_vnf::Error::Setup)?;
    let mut ring = Ring::with_buffers(memory, run, format)?;
    ring.start(vnf);
    let (mut seen, mut idle, mut moved) = (Seen::default(), Idle::default(), 0);
    while !seen.over && moved < times {
        let next = vnf.add_run(&gate, RUN_LEN).map_err(sluice_vnf::Error::Setup)?;
        ring.move_to(next);
        while ring.moved() < usize::from(SIZE) && !seen.over {
            idle.turn(vnf, ring.take(|frame| seen.see(frame))?)?;
        }
        if !seen.over {
            remove(vnf, &gate, run)?;
            (run, moved) = (next, moved + 1);
        }
    }
    println!("moved {moved} times");
    while !seen.over {
        idle.turn(vnf, ring.take(|frame| seen.see(frame))?)?;
    }
    seen.report()
}

/// Removes `run`, and checks that nobody writes there any more.
fn remove(vnf: &mut Vnf, gate: &Gate, run: PacketMemory) -> Result<(), Error> {
    let memory = run.memory.sub(0, map::PAGE).map_err(|_| Error::Arguments)?;
    vnf.remove_run(gate, run).map_err(sluice_vnf::Error::Setup)?;
    mark(memory);
    let before = clock::now();
    while clock::now() - before < LATE {}
    if changed(memory) == 0 { Ok(()) } else { Err(Error::Harmed(changed(memory))) }
}

/// Receives numbered frames. The run that all buffers lie in is removed `times` times while the sender calls, and comes
/// again. The accepted frames are there when the removal returns, and nothing is written after it.
fn pulled(vnf: &mut Vnf, format: RingFormat, times: u64) -> Result<(), Error> {
    let (gate, memory) = vnf.connect()?;
    let mut run = vnf.add_run(&gate, RUN_LEN).map_err(sluice_vnf::Error::Setup)?;
    let mut ring = Ring::with_buffers(memory, run, format)?;
    ring.start(vnf);
    let (mut seen, mut idle, mut pulled) = (Seen::default(), Idle::default(), 0);
    while pulled < times && !seen.over {
        let until = seen.expected + 16 + pulled % 64;
        while seen.expected < until && !seen.over {
            idle.turn(vnf, ring.take(|frame| seen.see(frame))?)?;
        }
        vnf.remove_run(&gate, run).map_err(sluice_vnf::Error::Setup)?;
        for _ in 0..ring.ready()? {
            ring.take(|frame| seen.see(frame))?;
        }
        let buffers = run.memory.sub(0, Ring::BUFFERS_LEN).map_err(|_| Error::Arguments)?;
        mark(buffers);
        if ring.take(|_| ())? || changed(buffers) != 0 {
            return Err(Error::Harmed(changed(buffers)));
        }
        // The run comes to the same place, which is the first gap.
        run = vnf.add_run(&gate, RUN_LEN).map_err(sluice_vnf::Error::Setup)?;
        pulled += 1;
    }
    println!("pulled {pulled} times");
    while !seen.over {
        idle.turn(vnf, ring.take(|frame| seen.see(frame))?)?;
    }
    seen.report()
}

/// Sends `count` numbered frames to that receiver. The sender may be told of buffers in no region, and of no other
/// fault.
fn bear(vnf: &mut Vnf, count: u64) -> Result<(), Error> {
    let (gate, memory) = vnf.connect()?;
    let mut free = [0; 2 * BURST_SIZE];
    let pool = Mempool::new(memory, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
    let (mut port, mut burst) = (PeerPort::new(&gate, PeerIdx(0)), pool.burst());
    let (mut next, mut faults, mut ended) = (0, 0, false);
    while !ended || !burst.is_empty() {
        if next < count {
            next = revoke::fill(&mut burst, next);
        } else if !ended {
            ended = revoke::push(&mut burst, numbered::last(next));
        }
        match port.tx_burst(&mut burst, sluice::MAX_BURST) {
            Ok(_) | Err(TxError::PeerNotReady { .. }) => {}
            Err(TxError::PeerFault { clause: Some(Clause::Region), .. }) => faults += 1,
            Err(error) => return Err(sluice_vnf::Error::Send(error).into()),
        }
    }
    println!("sent {next}, {faults} faults");
    Ok(())
}

/// Sends numbered frames from `times` runs that come and go, of which none follows the first, until its peer has
/// received all.
fn sender(vnf: &mut Vnf, times: u64) -> Result<(), Error> {
    let (gate, _) = vnf.connect()?;
    let mut calls = revoke::Calls::default();
    let mut next = 0;
    for _ in 0..times {
        let [gap, run] = [(); 2].map(|()| vnf.add_run(&gate, RUN_LEN).map_err(sluice_vnf::Error::Setup));
        let (gap, run) = (gap?, run?);
        vnf.remove_run(&gate, gap).map_err(sluice_vnf::Error::Setup)?;
        let mut free = [0; 2 * BURST_SIZE];
        let pool = Mempool::new(run, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
        let (mut port, mut burst) = (PeerPort::new(&gate, PeerIdx(0)), pool.burst());
        for _ in 0..8 {
            next = revoke::fill(&mut burst, next);
            calls.send(&mut port, &mut burst)?;
        }
        vnf.remove_run(&gate, run).map_err(sluice_vnf::Error::Setup)?;
        told(&mut port, &pool)?;
    }
    let run = vnf.add_run(&gate, RUN_LEN).map_err(sluice_vnf::Error::Setup)?;
    let mut free = [0; 1];
    let pool = Mempool::new(run, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
    let mut burst = pool.burst();
    revoke::push(&mut burst, numbered::last(next));
    calls.send(&mut PeerPort::new(&gate, PeerIdx(0)), &mut burst)?;
    calls.report(next);
    Ok(())
}

/// Checks that a packet of a run that was removed is the sender's mistake, and named, whatever the peer's ring.
fn told(port: &mut PeerPort<'_>, pool: &Mempool<'_>) -> Result<(), Error> {
    let mut burst = pool.burst();
    revoke::push(&mut burst, [0; size_of::<Frame>() / 8]);
    loop {
        match port.tx_burst(&mut burst, sluice::MAX_BURST) {
            Err(TxError::BadFrame { index: 0, .. }) => return Ok(()),
            Ok(0) | Err(TxError::PeerNotReady { .. }) => {}
            _ => return Err(Error::NotStopped(1)),
        }
    }
}

/// Tries to add invalid runs, each with what the host says of it. Then makes a call with packets in and out of the
/// valid ones.
fn refused(vnf: &mut Vnf) -> Result<(), Error> {
    let armed = register(vnf)?;
    let (gpa, len) = (armed.own.gpa.0, armed.own.memory.len());
    for (gpa, len, offset) in [
        (gpa + 4096, RUN_LEN, len),
        (gpa, RUN_LEN, 1 << 26),
        (1 << 30, RUN_LEN, 1 << 26),
        (0, 2 * RUN_LEN, map::PACKETS_LEN - RUN_LEN),
        (0, 0, 1 << 26),
    ] {
        let status = host::add_run(Run { gpa: Gpa(gpa), len, offset });
        println!("told: {:?}", status.refusal());
    }
    println!("told: {:?}", host::remove_run(0, len / 2).refusal());
    let mut idle = Idle::default();
    while armed.gate.peer_state(PeerIdx(0)) != PeerState::Ready {
        idle.turn(vnf, false)?;
    }
    for (offset, words) in [(64, numbered::frame(0)), (len - 64, numbered::last(1))] {
        (0..)
            .zip(words)
            .try_for_each(|(at, word)| armed.own.memory.write(offset + 8 * at, word))
            .map_err(|_| Error::Arguments)?;
    }
    for (index, offset) in (0..).zip([64, len as u32 - 64, len as u32 - 63, 64]) {
        armed.request.write(8 * index, Packet::new(offset, 64, PeerIdx(0))).map_err(|_| Error::Arguments)?;
    }
    let outcome = host::through_stub(4);
    println!("call: {:?}, {} accepted", outcome.status, outcome.accepted.count());
    Ok(())
}
