//! A1: attacks from home, by plain code. Each should end the VM, or tell it so.

use super::alias::INT3;
use super::leap::{self, FLAGS, RAX, RCX, State};
use super::page::Page;
use super::{Error, cpu, descriptors, prepare};
use sluice::{BufferLen, Mempool, PacketMemory, PeerIdx, PeerPort, Status, Transmit};
use sluice_abi::map;
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[
    ("read", |machine, _| read(machine)),
    ("write", |machine, _| write(machine)),
    ("overflow", |machine, _| overflow(machine)),
    ("view", |machine, how| vmfunc(machine, super::number(how)?)),
];

/// Returns the address at which the window maps the first word of the first peer's pattern.
fn peer_word(own: PacketMemory) -> u64 {
    map::SLOT_VA + map::peer_base(PeerIdx(0)) + own.gpa.0
}

/// Reads peer memory in home.
fn read(machine: &mut Vnf) -> Result<(), Error> {
    let (_, own) = prepare(machine)?;
    Err(Error::NotStopped(cpu::peek(peer_word(own))))
}

/// Writes peer memory in home.
fn write(machine: &mut Vnf) -> Result<(), Error> {
    let (_, own) = prepare(machine)?;
    cpu::poke(peer_word(own), 0);
    Err(Error::NotStopped(0))
}

/// Grows the stack beyond its end.
fn overflow(machine: &mut Vnf) -> Result<(), Error> {
    prepare(machine)?;
    Err(Error::NotStopped(deeper(1)))
}

fn deeper(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    if depth == u64::MAX { depth } else { deeper(depth + 1).wrapping_add(frame[0]) }
}

/// Executes VMFUNC to view `view` from a page of the VM's own. Then makes a proper call: does the gate still work?
fn vmfunc(machine: &mut Vnf, view: u32) -> Result<(), Error> {
    let (gate, own) = prepare(machine)?;
    descriptors::install();
    println!("told: {:?}", forge(view));
    let mut free = [0; 1];
    let pool = Mempool::new(own, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
    let mut burst = pool.burst();
    let pushed = burst.push(64).is_ok();
    println!("proper call: {pushed} {:?}", PeerPort::new(&gate, PeerIdx(0)).tx_burst(&mut burst, sluice::MAX_BURST));
    Ok(())
}

/// Switches to view `view`, which has to end the VM.
pub fn switch_to(view: u32) -> Result<(), Error> {
    Err(Error::NotStopped(forge(view).0))
}

/// The code of [`forge`], and a stack.
static FORGED: Page = Page::new();

/// Switches to view `view`, with the registers and the stack that the stub would have, so that an aborted call comes
/// back: the stub's abort path takes the frame down and returns to an INT3.
fn forge(view: u32) -> Status {
    const VMFUNC_UD2: u64 = u64::from_le_bytes([0x0f, 0x01, 0xd4, 0x0f, 0x0b, 0xcc, 0xcc, 0xcc]);
    /// The words of the frame: RFLAGS, six registers, which may have any value, and the address to return to.
    const FRAME: usize = 8;
    FORGED.fill(INT3);
    FORGED.set(0, VMFUNC_UD2);
    FORGED.set(Page::WORDS - FRAME, FLAGS);
    FORGED.set(Page::WORDS - 1, FORGED.gpa() + 8);
    let mut state = State { rsp: FORGED.end() - 8 * FRAME as u64, ..State::at(FORGED.gpa()) };
    state.general[RCX] = view.into();
    Status(leap::leap(&state).general[RAX])
}
