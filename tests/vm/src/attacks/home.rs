//! A1: attacks from home, by plain code. Each should end the VM, or tell it so.
#![allow(unsafe_code, reason = "attacks are what safe code can't do")]

use super::{Error, prepare};
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
pub fn peer_word(own: PacketMemory) -> *mut u64 {
    (map::SLOT_VA + map::peer_base(PeerIdx(0)) + own.gpa.0) as *mut u64
}

/// Reads peer memory in home.
fn read(machine: &mut Vnf) -> Result<(), Error> {
    let (_, own) = prepare(machine)?;
    // SAFETY: nothing is mapped there, or memory that nobody here refers to.
    let word = unsafe { peer_word(own).read_volatile() };
    Err(Error::NotStopped(word))
}

/// Writes peer memory in home.
fn write(machine: &mut Vnf) -> Result<(), Error> {
    let (_, own) = prepare(machine)?;
    // SAFETY: as in `read`.
    unsafe { peer_word(own).write_volatile(0) };
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

/// Switches to view `view`, with the registers and the stack that the stub would have, so that an aborted call comes
/// back.
fn forge(view: u32) -> Status {
    let status: u64;
    // SAFETY: the frame is the one that the stub makes, and the stub's abort path takes it down.
    unsafe {
        core::arch::asm!(
            "lea rax, [rip + 2f]",
            "push rax",
            "push rbx",
            "push rbp",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "pushfq",
            "xor eax, eax",
            "vmfunc",
            "ud2",
            "2:",
            out("rax") status,
            inout("ecx") view => _,
            clobber_abi("sysv64"),
        );
    }
    Status(status)
}
