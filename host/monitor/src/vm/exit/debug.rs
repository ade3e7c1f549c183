//! Debug exceptions: the changes to DR6 and DR7 that the processor leaves to the monitor when one exits.

/// B0 to B3 of DR6.
const BREAKPOINTS: u64 = 0xf;
/// BD and BS of DR6.
const CAUSES: u64 = 0b11 << 13;
/// RTM of DR6, which is clear after a debug exception in a transaction.
const TRANSACTION: u64 = 1 << 16;
const GENERAL_DETECT: u64 = 1 << 13;

/// Returns DR6 as the handler finds it, if it was `before`. B0 to B3 are those of this exception; BD and BS stay until
/// the guest clears them.
/// See: SDM volume 3, table "Exit Qualification for Debug Exceptions", "Debug Status Register (DR6)".
pub const fn status(before: u64, qualification: u64) -> u64 {
    let kept = before & !BREAKPOINTS | TRANSACTION;
    (kept | qualification & (BREAKPOINTS | CAUSES)) & !(qualification & TRANSACTION)
}

/// Returns DR7 as the handler finds it: GD is clear, so that it may use the registers. See: SDM volume 3, "Debug
/// Control Register (DR7)".
pub const fn control(before: u64) -> u64 {
    before & !GENERAL_DETECT
}

#[cfg(all(test, not(target_os = "none")))]
mod tests;
