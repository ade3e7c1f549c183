//! From a guest's linear address to its physical one, by the guest's own tables.

use super::ram::Ram;
use sluice_abi::{Gpa, Gva};
use sluice_memory::SharedMemory;

const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Translates `at` with the tables at `cr3`; `None` where they don't map it or leave RAM.
/// See: SDM volume 3, "4-Level Paging and 5-Level Paging".
pub fn translate(ram: &Ram, cr3: u64, at: Gva) -> Option<Gpa> {
    let mut table = cr3 & ADDRESS;
    for level in (0..4).rev() {
        let shift = 12 + 9 * level;
        let word: u64 = ram.slice(Gpa(table), 4096).ok()?.read((at.0 >> shift & 511) * 8).ok()?;
        if word & PRESENT == 0 {
            return None;
        }
        if level == 0 || (word & LARGE != 0 && level < 3) {
            let inside = (1 << shift) - 1;
            return Some(Gpa(word & ADDRESS & !inside | at.0 & inside));
        }
        table = word & ADDRESS;
    }
    None
}

/// Copies the bytes at linear address `at` into `bytes`; how many could be read.
pub fn read(ram: &Ram, cr3: u64, at: Gva, bytes: &mut [u8]) -> usize {
    for (index, byte) in bytes.iter_mut().enumerate() {
        let value = at
            .checked_add(index as u64)
            .and_then(|at| translate(ram, cr3, at))
            .and_then(|gpa| ram.slice(gpa, 1).ok()?.read::<u8>(0).ok());
        match value {
            Some(value) => *byte = value,
            None => return index,
        }
    }
    bytes.len()
}

/// Copies `bytes` to linear address `at`; whether all could be written.
pub fn write(ram: &Ram, cr3: u64, at: Gva, bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(index, byte)| {
        at.checked_add(index as u64)
            .and_then(|at| translate(ram, cr3, at))
            .and_then(|gpa| ram.slice(gpa, 1).ok()?.write(0, *byte).ok())
            .is_some()
    })
}
