//! DR6 and DR7, by their bits in the SDM.

use super::*;

const RESET: u64 = 0xffff_0ff0;

/// Breakpoints are replaced, BD (13) and BS (14) are added, RTM (16) is clear in a transaction alone.
#[test]
fn the_status_has_what_the_exception_is_for() {
    assert_eq!(status(RESET, 1 << 14), RESET | 1 << 14);
    assert_eq!(status(RESET | 1 << 14 | 0b1001, 0b0100), RESET | 1 << 14 | 0b0100);
    assert_eq!(status(RESET | 1 << 14, 1 << 13), RESET | 1 << 14 | 1 << 13);
    assert_eq!(status(RESET, 1 << 16 | 1), RESET & !(1 << 16) | 1);
    assert_eq!(status(RESET & !(1 << 16), 1), RESET | 1);
    assert_eq!(status(RESET, 0xf << 17 | 1 << 12 | 1 << 4), RESET, "bits that say nothing");
}

#[test]
fn the_handler_may_use_the_debug_registers() {
    assert_eq!(control(0x2455), 0x455);
}
