//! A5, A6, A10: proper calls, but for the stack pointer, the flags or the segment bases.

use crate::attack::{Error, arm, ask_one};
use crate::leap::{self, AC, DF, FLAGS, IF, NT, RF, TF};
use crate::{crossing, segments};
use sluice_abi::map;
use sluice_runtime::{Machine, println};

/// Stack pointers aimed at what the window maps, and at what nobody does.
const STACKS: [(&str, u64); 6] = [
    ("peer", map::SLOT_VA + map::peer_base(0) + (3 << 20)),
    ("list", map::SLOT_VA + map::LIST + 24),
    ("state", map::SLOT_VA + map::STATE + 64),
    ("stack", map::SLOT_VA + map::STACK + map::STACK_LEN),
    ("nothing", map::SLOT_VA + map::STACK),
    ("non-canonical", 1 << 63),
];

/// A call with each of the stack pointers. It comes back with the call.
pub fn stacks(machine: &mut Machine) -> Result<(), Error> {
    ask_one(&arm(machine)?)?;
    for (name, rsp) in STACKS {
        let landing = crossing::checked(leap::State { rsp, ..crossing::proper(1) })?;
        println!("rsp {name}: {}, {}", landing.end(), if landing.rsp == rsp { "the same" } else { "changed" });
    }
    Ok(())
}

/// Flags that mean something to a gate.
const NAMES: [(&str, u64); 6] = [("if", IF), ("df", DF), ("rf", RF), ("nt", NT), ("ac", AC), ("tf", TF)];

/// A call with each of the flags.
pub fn flags(machine: &mut Machine) -> Result<(), Error> {
    ask_one(&arm(machine)?)?;
    for (name, flag) in NAMES {
        let landing = crossing::checked(leap::State { rflags: FLAGS | flag, ..crossing::proper(1) })?;
        println!("flag {name}: {}", landing.end());
    }
    Ok(())
}

/// Calls with FS and GS on peer memory, and on the list.
pub fn bases(machine: &mut Machine) -> Result<(), Error> {
    ask_one(&arm(machine)?)?;
    for (name, base) in [("peer", STACKS[0].1), ("list", STACKS[1].1)] {
        segments::set_bases(base);
        println!("bases {name}: {}", crossing::checked(crossing::proper(1))?.end());
    }
    segments::set_bases(0);
    Ok(())
}
