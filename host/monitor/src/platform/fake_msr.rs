//! Stands for `msr.rs` where there is no VMX: a processor on which every control can be on or off, and on which the
//! other registers are those that a test provides.

use super::cpu::OwnMsr;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

#[derive(Default)]
struct Fake {
    provided: HashMap<u32, u64>,
    written: HashMap<u32, u64>,
    fixed: HashSet<u32>,
}

thread_local! {
    static FAKE: RefCell<Fake> = RefCell::default();
}

/// Stands for RDMSR. See: SDM volume 3, appendix "VMX Capability Reporting Facility".
pub fn read(msr: u32) -> u64 {
    const MAY_BE_1: u64 = 0xffff_ffff << 32;
    let controls = if (0x48b..=0x490).contains(&msr) { MAY_BE_1 } else { 0 };
    FAKE.with_borrow(|fake| fake.provided.get(&msr).copied().unwrap_or(controls))
}

/// Stands for WRMSR: the value is kept where the register was provided, and is not fixed.
pub fn write(msr: OwnMsr, value: u64) {
    let msr = msr as u32;
    FAKE.with_borrow_mut(|fake| {
        fake.written.insert(msr, value);
        let changes = !fake.fixed.contains(&msr);
        fake.provided.entry(msr).and_modify(|held| *held = if changes { value } else { *held });
    });
}

/// Provides `registers` with their values, and forgets all others and all that was written.
pub fn provide(registers: &[(u32, u64)]) {
    let provided = registers.iter().copied().collect();
    FAKE.with_borrow_mut(|fake| *fake = Fake { provided, ..Fake::default() });
}

/// Makes register `msr` keep its value, whatever is written.
pub fn fix(msr: u32) {
    FAKE.with_borrow_mut(|fake| fake.fixed.insert(msr));
}

/// Returns the value that was last written to register `msr`.
pub fn written(msr: u32) -> Option<u64> {
    FAKE.with_borrow(|fake| fake.written.get(&msr).copied())
}
