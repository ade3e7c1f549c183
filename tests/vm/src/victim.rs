//! The victim: fills its packet memory with a pattern and sees whether it stays.

use crate::{Error, HEAD_START};
use sluice_runtime::{Machine, println};

/// Turns given away before it looks.
const TURNS: usize = 4 * HEAD_START;

/// What word `index` of the pattern is.
pub const fn pattern(index: u64) -> u64 {
    index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5357_4c49
}

pub fn watch(machine: &mut Machine) -> Result<(), Error> {
    let (_, memory) = machine.connect()?;
    let words = memory.memory.len() / 8;
    for index in 0..words {
        // Inside, as index < words.
        let _ = memory.memory.write(8 * index, pattern(index));
    }
    (0..TURNS).for_each(|_| machine.yield_now());
    let changed = (0..words).filter(|&index| memory.memory.read(8 * index) != Ok(pattern(index))).count();
    println!("victim: {words} words, {changed} changed");
    if changed == 0 { Ok(()) } else { Err(Error::Harmed(changed)) }
}
