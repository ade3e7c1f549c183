//! What the processor would refuse, and what it would tell.

use super::*;

const CODE_64: u64 = 0xa09b;
const CODE_32: u64 = 0xc09b;

/// Skips two bytes at `rip`: where the guest goes on.
fn skipped(code: u64, rip: u64) -> u64 {
    write(Field::GuestCsRights, code);
    write(Field::GuestRip, rip);
    advance(2);
    read(Field::GuestRip)
}

/// RIP has 32 bits in compatibility mode, and the processor refuses any more (attack A24). There is no wrap at 16 bits:
/// what lies behind the limit is a fault of the next fetch.
#[test]
fn rip_wraps_where_the_mode_has_it_wrap() {
    assert_eq!([0xffff_fffe, 0xffff_ffff, 0xffff_fffd].map(|rip| skipped(CODE_32, rip)), [0, 1, 0xffff_ffff]);
    assert_eq!(skipped(CODE_32 & !(1 << 14), 0xfffe), 0x1_0000);
    assert_eq!(skipped(CODE_64, 0xffff_fffe), 0x1_0000_0000);
    assert_eq!(skipped(CODE_64, u64::MAX - 1), 0);
}

/// A single step is told behind what the monitor executed, too, and nothing holds it back (attack A26).
#[test]
fn a_single_step_over_what_exits_is_told() {
    write(Field::GuestInterruptibility, 0b1010);
    skipped(CODE_64, 0);
    assert_eq!((read(Field::GuestPendingDebug), read(Field::GuestInterruptibility)), (0, 0b1000));
    write(Field::GuestRflags, flags::FIXED | flags::TRAP);
    write(Field::GuestPendingDebug, 1 << 12 | 1);
    skipped(CODE_64, 0);
    assert_eq!(read(Field::GuestPendingDebug), 1 << 14 | 1 << 12 | 1);
}

/// An interrupt that is injected before a debug exception was told is that exception's end.
#[test]
fn interrupts_wait_for_what_comes_first() {
    write(Field::GuestRflags, flags::FIXED);
    assert!(!takes_interrupts());
    write(Field::GuestRflags, flags::FIXED | flags::INTERRUPT);
    assert!(takes_interrupts());
    for (field, value) in
        [(Field::GuestInterruptibility, 1), (Field::GuestInterruptibility, 2), (Field::GuestPendingDebug, 1 << 14)]
    {
        write(field, value);
        assert!(!takes_interrupts(), "{field:?} {value:#x}");
        write(field, 0);
    }
}

#[test]
fn only_ring_0_in_64_bit_mode_can_call() {
    for (code, stack, can) in
        [(CODE_64, 0xc093, true), (CODE_32, 0xc093, false), (CODE_64, 0xc0f3, false), (CODE_64, 0xc0b3, false)]
    {
        write(Field::GuestCsRights, code);
        write(Field::GuestSsRights, stack);
        assert_eq!(can_call(), can, "{code:#x} {stack:#x}");
    }
}

/// MOV SS or STI before the instruction that faults hold back interrupts and debug exceptions alone.
#[test]
fn an_exception_is_held_back_by_nothing() {
    const BLOCKING_BY_NMI: u64 = 1 << 3;
    const PROTECTION: u64 = 0x8000_0b0d;
    for blocking in [0b01, 0b10] {
        write(Field::GuestInterruptibility, blocking | BLOCKING_BY_NMI);
        inject(PROTECTION);
        assert_eq!([read(Field::GuestInterruptibility), read(Field::EntryInterruption)], [BLOCKING_BY_NMI, PROTECTION]);
    }
}
