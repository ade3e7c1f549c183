//! Stands for `instruction.rs` where there is no VMX: a processor that notes which mappings it was told to drop.

use std::cell::RefCell;

/// What was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// All that was derived from the EPT with this pointer.
    Ept(u64),
    /// All linear mappings of this VPID.
    Vpid(u16),
}

thread_local! {
    static NOTES: RefCell<Vec<Dropped>> = const { RefCell::new(Vec::new()) };
}

fn note(dropped: Dropped) {
    NOTES.with_borrow_mut(|notes| notes.push(dropped));
}

/// As INVEPT of one context.
pub fn invept(eptp: u64) {
    note(Dropped::Ept(eptp));
}

/// As INVVPID of one context.
pub fn invvpid(vpid: u16) {
    note(Dropped::Vpid(vpid));
}

/// What was dropped since this was last asked.
pub fn dropped() -> Vec<Dropped> {
    NOTES.take()
}
