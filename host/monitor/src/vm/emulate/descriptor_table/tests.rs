//! The instructions, in the rings and modes that they may be executed in (attack A23).

use super::*;
use crate::vm::emulate::walk::tests::Guest;
use sluice_abi::map;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const OPEN: u64 = PRESENT | WRITABLE | USER;
const CODE_64: u64 = 0xa0fb;
const CODE_32: u64 = 0xc0fb;
const RING_0: u64 = 0xc093;
const RING_3: u64 = 0xc0f3;
const ALL_ONES: u64 = u64::MAX;

/// Operand at the displacement, in DS, with 64-bit addresses.
const AT_DISPLACEMENT: u64 = 1 << 22 | 1 << 27 | 3 << 15 | 2 << 7;
const SGDT: u64 = AT_DISPLACEMENT;
const SIDT: u64 = AT_DISPLACEMENT | 1 << 28;
const LGDT: u64 = AT_DISPLACEMENT | 2 << 28;
const SLDT: u64 = AT_DISPLACEMENT;
const STR: u64 = AT_DISPLACEMENT | 1 << 28;
const LLDT: u64 = AT_DISPLACEMENT | 2 << 28;
const LTR: u64 = AT_DISPLACEMENT | 3 << 28;
/// RBX for the operand.
const IN_RBX: u64 = 1 << 10 | 3 << 3;

/// A guest with page 0 open to programs and full of ones, page 1 not, code in page 2, and the rest of its RAM open to
/// its kernel.
fn guest(code: u64, stack: u64) -> Guest {
    let guest = Guest::new();
    for page in 1..Guest::PAGES {
        guest.map(page, page, PRESENT | WRITABLE);
    }
    guest.map(0, 6, OPEN);
    guest.map(2, 7, OPEN);
    (0..512).for_each(|word| guest.set(6 * map::PAGE + 8 * word, ALL_ONES));
    write(Field::GuestCsRights, code);
    write(Field::GuestCsLimit, 0xffff_ffff);
    write(Field::GuestSsRights, stack);
    write(Field::GuestDsRights, stack);
    write(Field::GuestDsLimit, 0xffff_ffff);
    write(Field::GuestCr4, 0);
    guest
}

/// Executes it with the displacement `at`.
fn run(guest: &Guest, tables: bool, info: u64, at: u64) -> Result<(), Fault> {
    write(Field::InstructionInfo, info);
    write(Field::ExitQualification, at);
    execute(&guest.ram, &mut Registers::default(), tables)
}

#[test]
fn sgdt_and_sidt_store_what_their_mode_has() {
    write(Field::GuestGdtrBase, 0x1122_3344_5566_7788);
    write(Field::GuestGdtrLimit, 0x99aa);
    write(Field::GuestIdtrBase, 0x0102_0304_0506_0708);
    write(Field::GuestIdtrLimit, 0x090a);
    for (info, first, second) in [(SGDT, 0x3344_5566_7788_99aa, 0x1122), (SIDT, 0x0304_0506_0708_090a, 0x0102)] {
        let wide = guest(CODE_64, RING_3);
        run(&wide, true, info, 0).unwrap();
        assert_eq!([0, 8].map(|at| wide.get(6 * map::PAGE + at)), [first, ALL_ONES << 16 | second]);
        let narrow = guest(CODE_32, RING_3);
        run(&narrow, true, info, 0).unwrap();
        assert_eq!(narrow.get(6 * map::PAGE), first & 0xffff_ffff_ffff | 0xffff << 48);
    }
}

/// What a program's page tables keep from it, its kernel's SGDT or not (attack A23).
#[test]
fn a_program_stores_where_it_may_and_nowhere_else() {
    let guest = guest(CODE_64, RING_3);
    for (tables, info) in [(true, SGDT), (true, SIDT), (false, SLDT), (false, STR)] {
        assert_eq!(run(&guest, tables, info, map::PAGE), Err(Fault::page(7, map::PAGE)));
        assert_eq!(run(&guest, tables, info, 0x20_0000), Err(Fault::page(6, 0x20_0000)));
        assert_eq!(run(&guest, tables, info, 1 << 63), Err(Fault::PROTECTION));
        assert_eq!(run(&guest, tables, info & !(7 << 15) | 2 << 15, 1 << 63), Err(Fault::STACK));
    }
    assert_eq!(guest.get(map::PAGE), (2 * map::PAGE) | OPEN, "the top-level table");
    assert_eq!(run(&guest, true, SGDT, map::PAGE - 2), Err(Fault::page(7, map::PAGE)));
    assert_eq!(guest.get(7 * map::PAGE - 8), ALL_ONES);
}

/// #GP, whatever the operand is; UMIP keeps the stores from programs, too.
#[test]
fn what_loads_is_the_kernels() {
    let nowhere = 0x20_0000;
    for ring in [0xc0b3, 0xc0d3, RING_3] {
        let guest = guest(CODE_64, ring);
        for (tables, info) in [(true, LGDT), (true, LGDT | 1 << 28), (false, LLDT), (false, LTR)] {
            assert_eq!(run(&guest, tables, info, nowhere), Err(Fault::PROTECTION));
        }
        write(Field::GuestCr4, 1 << 11);
        for (tables, info) in [(true, SGDT), (true, SIDT), (false, SLDT), (false, STR)] {
            assert_eq!(run(&guest, tables, info, nowhere), Err(Fault::PROTECTION));
        }
    }
    let guest = guest(CODE_64, RING_0);
    write(Field::GuestCr4, 1 << 11);
    assert_eq!([SGDT, LGDT].map(|info| run(&guest, true, info, 0x10)), [Ok(()); 2]);
}

/// A register as wide as the operand is, the rest of it as the processor leaves it; two bytes in memory.
#[test]
fn str_and_sldt_store_a_selector() {
    const RIP: u64 = 2 * map::PAGE;
    write(Field::GuestTrSelector, 0x1234);
    let guest = guest(CODE_64, RING_3);
    run(&guest, false, STR, 0x10).unwrap();
    assert_eq!(guest.get(6 * map::PAGE + 0x10), ALL_ONES << 16 | 0x1234);
    write(Field::GuestRip, RIP);
    write(Field::InstructionInfo, IN_RBX | 1 << 28);
    // STR BX, EBX, RBX.
    for (code, wanted) in [(0xcb00_0f66, ALL_ONES << 16 | 0x1234), (0x00cb_000f, 0x1234), (0xcb00_0f48, 0x1234)] {
        guest.set(7 * map::PAGE, code);
        let mut registers = Registers([ALL_ONES; 16]);
        execute(&guest.ram, &mut registers, false).unwrap();
        assert_eq!(registers.0[Registers::RBX], wanted, "{code:#x}");
    }
    write(Field::InstructionInfo, 1 << 10 | 4 << 3 | 1 << 28);
    guest.set(7 * map::PAGE, 0x00cc_000f);
    execute(&guest.ram, &mut Registers::default(), false).unwrap();
    assert_eq!(read(Field::GuestRsp), 0x1234);
}

/// Effective addresses are as wide as the instruction has them.
#[test]
fn an_offset_wraps_as_its_address_size_says() {
    let mut registers = Registers([0; 16]);
    registers.0[Registers::RBX] = 0xffff_ffff_ffff_fff0;
    write(Field::GuestCsRights, CODE_64);
    write(Field::ExitQualification, 0x30);
    // Base RBX, index RBX times 2.
    let both = 3 << 15 | 3 << 18 | 3 << 23 | 1;
    for (size, wanted) in [(0, 0), (1, 0), (2, 0)] {
        let span = operand::in_memory(&registers, both | size << 7, 1, MemoryAccess::read()).unwrap();
        assert_eq!(span.at, wanted);
    }
    registers.0[Registers::RBX] = 0x1_2345_6780;
    for (size, wanted) in [(0, 0x6780 + 0x30), (1, 0x2345_67b0), (2, 0x1_2345_67b0)] {
        let span = operand::in_memory(&registers, (both | 1 << 22) & !3 | size << 7, 1, MemoryAccess::read()).unwrap();
        assert_eq!(span.at, wanted);
    }
}

/// LTR reads the table as a kernel does, marks the descriptor, and faults as the processor does.
#[test]
fn a_task_is_loaded_from_the_guests_own_table() {
    const AT: u64 = 8 * map::PAGE;
    const GOOD: u64 = 0x1200_8934_5678_0067;
    let guest = guest(CODE_64, RING_0);
    write(Field::GuestGdtrBase, AT);
    write(Field::GuestGdtrLimit, 0x2f);
    let load = |selector: u16, low: u64, high: u64| {
        guest.set(AT + 0x10, low);
        guest.set(AT + 0x18, high);
        guest.set(7 * map::PAGE, u64::from(selector));
        run(&guest, false, LTR, 2 * map::PAGE)
    };
    assert_eq!(load(0x10, GOOD, 0x7fff), Ok(()));
    assert_eq!(
        [Field::GuestTrSelector, Field::GuestTrBase, Field::GuestTrLimit].map(read),
        [0x10, 0x7fff_1234_5678, 0x67]
    );
    assert_eq!(guest.get(AT + 0x10), GOOD | 2 << 40, "busy");
    let bad = Err(Fault::selector(0x10));
    assert_eq!(load(0x10, GOOD | 2 << 40, 0), bad, "busy before");
    assert_eq!(load(0x10, GOOD, 0x8000), bad, "not canonical");
    assert_eq!(load(0x10, GOOD, 1 << 40), bad, "a type in the upper half");
    assert_eq!(load(0x10, GOOD & !(1 << 47), 0), Err(Fault::not_present(0x10)));
    assert_eq!(load(3, GOOD, 0), Err(Fault::PROTECTION));
    assert_eq!(load(0x14, GOOD, 0), Err(Fault::selector(0x14)));
    assert_eq!(load(0x28, GOOD, 0), Err(Fault::selector(0x28)), "half of it is in the table");
    guest.map(8, 8, PRESENT);
    assert_eq!(load(0x10, GOOD, 0), Err(Fault::page(3, AT + 0x10)), "it can't be marked");
    guest.map(8, 8, 0);
    assert_eq!(load(0x10, GOOD, 0), Err(Fault::page(0, AT + 0x10)));
    assert_eq!(read(Field::GuestTrBase), 0x7fff_1234_5678);
}

#[test]
fn there_is_no_local_table() {
    let guest = guest(CODE_64, RING_0);
    for (selector, wanted) in
        [(0, Ok(())), (3, Ok(())), (8, Err(Fault::selector(8))), (0xff, Err(Fault::selector(0xff)))]
    {
        guest.set(7 * map::PAGE, selector);
        assert_eq!(run(&guest, false, LLDT, 2 * map::PAGE), wanted);
    }
}

#[test]
fn a_table_is_loaded_as_its_mode_has_it() {
    let guest = guest(CODE_64, RING_0);
    guest.set(7 * map::PAGE, 0x1234_5678_9abc_def0);
    guest.set(7 * map::PAGE + 8, 0);
    run(&guest, true, LGDT, 2 * map::PAGE).unwrap();
    assert_eq!([Field::GuestGdtrBase, Field::GuestGdtrLimit].map(read), [0x1234_5678_9abc, 0xdef0]);
    guest.set(7 * map::PAGE + 8, 0x7fff);
    assert_eq!(run(&guest, true, LGDT, 2 * map::PAGE), Err(Fault::PROTECTION), "not canonical");
    write(Field::GuestCsRights, CODE_32);
    run(&guest, true, LGDT | 1 << 11, 2 * map::PAGE).unwrap();
    assert_eq!(read(Field::GuestGdtrBase), 0x5678_9abc);
    run(&guest, true, LGDT, 2 * map::PAGE).unwrap();
    assert_eq!(read(Field::GuestGdtrBase), 0x78_9abc);
}
