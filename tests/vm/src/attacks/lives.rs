//! G13, A17: a receiver that dies while its sender calls, wherever it is, and is started again; and a sender that goes
//! on.
//!
//! A VM that starts again finds in its RAM what its image does not fill: the ring as it was, and a record of how far it
//! was read. So it can tell whether all frames that were accepted before it died are there, and once.

use super::Error;
use super::cpu;
use super::descriptors;
use super::host;
use super::hostile::Random;
use super::numbered::{self, Seen};
use super::revoke::{Calls, fill, push};
use super::ring::{Idle, Ring, SIZE};
use sluice::{BURST_SIZE, BufferLen, Mempool, PacketMemory, PeerIdx, PeerPort, RingFormat, Status};
use sluice_abi::call::Code;
use sluice_abi::lapic::{FIRST_VECTOR, IA32_TSC_DEADLINE, MODE_TSC_DEADLINE, X2APIC_LVT_TIMER};
use sluice_memory::PeerSlice;
use sluice_vnf::{Vnf, clock, println};
use x86_64::instructions::interrupts;

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[
    ("lives", |machine, how| {
        let (format, times) = super::format_and_number(how)?;
        receiver(machine, format, times)
    }),
    ("again", |machine, how| again(machine, super::number(how)?)),
    ("persist", |machine, _| sender(machine)),
];

/// Ticks that a life has from the start of its device are below this. The sender may hear of the device a quantum
/// later, in `tests/system` after 20,000.
const LONGEST: u64 = 100_000;
/// The number of frames that the last life receives.
const AT_LAST: u64 = 1000;
/// The number of calls in a row that deliver nothing to the peer, after which the peer does not come back.
const GONE: u64 = 20_000;

/// The length of the sender's packets, bytes.
const PACKETS: u32 = 1 << 20;

/// The record that lasts: words behind the ring.
#[derive(Clone, Copy)]
struct Record(PeerSlice<'static>);

#[derive(Clone, Copy)]
enum Word {
    /// The number of lives begun.
    Life,
    /// The number of the next frame.
    Expected,
    /// The number of frames that were wrong.
    Wrong,
    /// The number of the ring's first frame, plus 1; 0 while there is no ring.
    Ring,
    /// See: [`Ring::device_area`].
    DeviceArea,
    /// The number of lives in which frames arrived, and of frames that only the next life took.
    Busy,
    Left,
}

impl Record {
    fn of(memory: PacketMemory) -> Result<Self, Error> {
        memory.memory.sub(0, 4096).map(Self).map_err(|_| Error::Arguments)
    }

    /// Returns the number of this life, from 0.
    fn begin(self) -> u64 {
        self.add(Word::Life, 1);
        self.get(Word::Life) - 1
    }

    fn get(self, word: Word) -> u64 {
        self.0.read(8 * word as u64).unwrap_or(0)
    }

    fn set(self, word: Word, value: u64) {
        // The memory is larger than the record.
        let _ = self.0.write(8 * word as u64, value);
    }

    fn add(self, word: Word, more: u64) {
        self.set(word, self.get(word) + more);
    }

    /// Counts one more frame, which is taken from here on.
    fn see(self, seen: &mut Seen) {
        self.set(Word::Wrong, seen.wrong);
        self.set(Word::Expected, seen.expected);
    }
}

/// Runs one life of `times` + 1. All but the last end where the timer finds them.
fn receiver(machine: &mut Vnf, format: RingFormat, times: u64) -> Result<(), Error> {
    let (_, memory) = machine.connect()?;
    let (ring_memory, rest) = memory.split_at(Ring::MEMORY_LEN).ok_or(Error::Arguments)?;
    let record = Record::of(rest)?;
    let life = record.begin();
    let mut seen = Seen::after(record.get(Word::Expected));
    seen.wrong = record.get(Word::Wrong);
    take_what_is_left(record, ring_memory, format, &mut seen);
    let mut ring = Ring::new(ring_memory, format)?;
    let first = seen.expected;
    record.set(Word::DeviceArea, ring.device_area());
    record.set(Word::Ring, first + 1);
    ring.start(machine);
    if life < times {
        die_in(Random::new(life).next() % LONGEST);
    }
    let mut idle = Idle::default();
    while life < times || seen.expected < first + AT_LAST {
        idle.turn(machine, take(record, &mut ring, &mut seen)?)?;
        if seen.expected == first + 1 {
            record.add(Word::Busy, 1);
        }
    }
    Ring::stop(machine);
    while take(record, &mut ring, &mut seen)? {}
    let [busy, left] = [Word::Busy, Word::Left].map(|word| record.get(word));
    println!("lives {}: frames in {busy}, {left} taken in the next", life + 1);
    seen.report()
}

fn take(record: Record, ring: &mut Ring, seen: &mut Seen) -> Result<bool, Error> {
    ring.take(|frame| {
        seen.see(frame);
        record.see(seen);
    })
}

/// Takes the frames that were accepted before this life and not taken. Then there is no ring.
fn take_what_is_left(record: Record, memory: PacketMemory, format: RingFormat, seen: &mut Seen) {
    if let Some(first) = record.get(Word::Ring).checked_sub(1) {
        let area = record.get(Word::DeviceArea);
        let next = seen.expected.saturating_sub(first);
        for frame in (next..next + u64::from(SIZE)).map_while(|at| Ring::left(memory, format, area, at)) {
            seen.see(frame);
            record.add(Word::Left, 1);
            record.see(seen);
        }
    }
    record.set(Word::Ring, 0);
}

/// Dies in `ticks` ticks: an interrupt comes, there is no gate for it nor for the faults that follow, and the processor
/// shuts down.
fn die_in(ticks: u64) {
    cpu::load_idt(&descriptors::pointer(0, 1));
    cpu::write_msr(X2APIC_LVT_TIMER, MODE_TSC_DEADLINE | FIRST_VECTOR);
    cpu::write_msr(IA32_TSC_DEADLINE, clock::now() + ticks);
    interrupts::enable();
}

/// Sends numbered frames in bursts until the peer is gone for good.
fn sender(machine: &mut Vnf) -> Result<(), Error> {
    let (gate, memory) = machine.connect()?;
    let mut free = [0; 2 * BURST_SIZE];
    let pool = Mempool::new(memory, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
    let (mut port, mut burst) = (PeerPort::new(&gate, PeerIdx(0)), pool.burst());
    let (mut calls, mut next, mut since) = (Calls::default(), 0, 0);
    while since < GONE {
        next = fill(&mut burst, next);
        let before = burst.len();
        calls.call(&mut port, &mut burst)?;
        since = if burst.len() < before { 0 } else { since + 1 };
    }
    let sent = next - burst.len() as u64;
    calls.report(sent);
    Ok(())
}

/// Runs one life of `times` + 1. Each sends a few bursts, ends, and leaves to the next how far it came. The peer sees
/// one sender.
fn again(machine: &mut Vnf, times: u64) -> Result<(), Error> {
    not_registered()?;
    let (gate, memory) = machine.connect()?;
    machine.wait_for_peer(&gate, None)?;
    let (packets, rest) = memory.split_at(PACKETS).ok_or(Error::Arguments)?;
    let record = Record::of(rest)?;
    let life = record.begin();
    let mut free = [0; 2 * BURST_SIZE];
    let pool = Mempool::new(packets, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
    let (mut port, mut burst, mut calls) = (PeerPort::new(&gate, PeerIdx(0)), pool.burst(), Calls::default());
    for _ in 0..=life % 3 {
        record.set(Word::Expected, fill(&mut burst, record.get(Word::Expected)));
        calls.send(&mut port, &mut burst)?;
    }
    if life == times {
        push(&mut burst, numbered::last(record.get(Word::Expected)));
        calls.send(&mut port, &mut burst)?;
        println!("sent {} in {} lives", record.get(Word::Expected), life + 1);
    }
    Ok(())
}

/// Checks that a VM that starts again has to register again: before that its calls are aborted.
fn not_registered() -> Result<(), Error> {
    let status = host::through_stub(0).status;
    if status == Status::new(Code::Aborted) { Ok(()) } else { Err(Error::NotStopped(status.0)) }
}
