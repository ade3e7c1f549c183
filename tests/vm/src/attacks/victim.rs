//! The victim fills its packet memory with a pattern, waits for the attacker's end, and checks that the pattern is
//! still there.

use super::Error;
use sluice_abi::PeerIdx;
use sluice_abi::directory::PeerState;
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("victim", |machine, _| watch(machine))];

/// The number of turns that are given away for the attacker's end to come.
const TURNS: usize = 1 << 20;

/// Returns word `index` of the pattern.
pub const fn pattern(index: u64) -> u64 {
    index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5357_4c49
}

/// Watches the memory. The attacker is the victim's peer, so that the directory tells when it is gone.
fn watch(machine: &mut Vnf) -> Result<(), Error> {
    let (gate, memory) = machine.connect()?;
    let words = memory.memory.len() / 8;
    for index in 0..words {
        // The write is inside, as index < words.
        let _ = memory.memory.write(8 * index, pattern(index));
    }
    let over = (0..TURNS).any(|_| {
        machine.yield_now();
        gate.peer_state(PeerIdx(0)) == PeerState::Revoked
    });
    if !over {
        return Err(Error::Endless);
    }
    let changed = (0..words).filter(|&index| memory.memory.read(8 * index) != Ok(pattern(index))).count();
    println!("victim: {words} words, {changed} changed");
    if changed == 0 { Ok(()) } else { Err(Error::Harmed(changed)) }
}
