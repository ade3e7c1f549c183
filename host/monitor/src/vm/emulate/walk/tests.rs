//! Page tables of a guest's, in the test's own memory, and what the processor would say to each access (attack A23).

use super::*;
use crate::platform::physical;
use crate::vmx::instruction::write;

const READ: MemoryAccess = MemoryAccess::Read { user: true };
const WRITE: MemoryAccess = MemoryAccess::Write { user: true };
const FETCH: MemoryAccess = MemoryAccess::Fetch { user: true };
const KERNEL_READ: MemoryAccess = MemoryAccess::Read { user: false };
const KERNEL_WRITE: MemoryAccess = MemoryAccess::Write { user: false };
const KERNEL_FETCH: MemoryAccess = MemoryAccess::Fetch { user: false };
const ALL: [MemoryAccess; 6] = [READ, WRITE, FETCH, KERNEL_READ, KERNEL_WRITE, KERNEL_FETCH];
const OPEN: u64 = PRESENT | WRITABLE | USER;

/// A guest, one for each test at a time. Pages 1 to 4 of its RAM are tables, from the top-level one down; the rest is
/// memory.
pub struct Guest {
    pub ram: Ram,
}

impl Guest {
    pub const PAGES: u64 = 32;

    pub fn new() -> Self {
        thread_local! {
            static RAM: Ram = {
                physical::init_for_tests();
                Ram { hpa: physical::alloc_contiguous(Guest::PAGES * PAGE, PAGE).unwrap(), len: Guest::PAGES * PAGE }
            };
        }
        let guest = Self { ram: RAM.with(|ram| *ram) };
        (0..Self::PAGES * PAGE / 8).for_each(|word| guest.set(8 * word, 0));
        write(Field::GuestCr3, PAGE);
        for level in 1..4 {
            guest.set(level * PAGE, ((level + 1) * PAGE) | OPEN);
        }
        guest
    }

    pub fn set(&self, at: u64, word: u64) {
        self.ram.slice(Gpa(at), 8).unwrap().write(0, word).unwrap();
    }

    pub fn get(&self, at: u64) -> u64 {
        self.ram.slice(Gpa(at), 8).unwrap().read(0).unwrap()
    }

    /// The linear page `page`, of the first 512, is page `to` of RAM, with the bits `bits`.
    pub fn map(&self, page: u64, to: u64, bits: u64) {
        self.set(4 * PAGE + 8 * page, (to * PAGE) | bits);
    }

    fn entry(&self, page: u64) -> u64 {
        self.get(4 * PAGE + 8 * page)
    }
}

fn at(address: u64, len: usize) -> Span {
    Span { at: address, len, mask: u64::MAX }
}

fn try_all(guest: &Guest, address: u64) -> [Result<(), Fault>; 6] {
    ALL.map(|kind| load(&guest.ram, at(address, 1), kind, &mut [0]))
}

/// Each access, with each of the bits on the page or on a table on the way: the error code of the page fault, if there
/// is one.
#[test]
fn an_access_needs_the_rights_that_the_processor_asks_for() {
    const FINE: Option<u32> = None;
    let rows = [
        (OPEN, [FINE; 6]),
        (PRESENT | USER, [FINE, Some(7), FINE, FINE, Some(3), FINE]),
        (PRESENT | WRITABLE, [Some(5), Some(7), Some(0x15), FINE, FINE, FINE]),
        (OPEN | NO_EXECUTE, [FINE, FINE, Some(0x15), FINE, FINE, Some(0x11)]),
        (OPEN & !PRESENT, [Some(4), Some(6), Some(0x14), Some(0), Some(2), Some(0x10)]),
    ];
    // A processor with 52 bits of address has no bit that must be clear.
    let reserved =
        (1 << 51 & reserved(0, true) != 0).then_some((OPEN | 1 << 51, [0xd, 0xf, 0x1d, 9, 0xb, 0x19].map(Some)));
    for (bits, wanted) in rows.into_iter().chain(reserved) {
        for level in 1..=4 {
            let guest = Guest::new();
            guest.map(0, 6, OPEN);
            guest.set(level * PAGE, guest.get(level * PAGE) & !OPEN | bits);
            let wanted = wanted.map(|error| error.map_or(Ok(()), |error| Err(Fault::page(error, 0x123))));
            assert_eq!(try_all(&guest, 0x123), wanted, "{bits:#x} at level {level}");
        }
    }
}

/// What the processor marks: every table on the way as accessed, a page that is written as dirty; nothing where it
/// faults.
#[test]
fn an_access_is_marked_in_the_tables() {
    let guest = Guest::new();
    let flags = |guest: &Guest| [1, 2, 3, 4].map(|table| guest.get(table * PAGE) & (ACCESSED | DIRTY));
    guest.map(0, 6, PRESENT | USER);
    assert!(store(&guest.ram, at(0, 1), WRITE, &[1]).is_err());
    assert_eq!(flags(&guest), [0; 4]);
    load(&guest.ram, at(0, 1), READ, &mut [0]).unwrap();
    assert_eq!(flags(&guest), [ACCESSED; 4]);
    guest.map(0, 6, OPEN);
    store(&guest.ram, at(0, 1), WRITE, &[1]).unwrap();
    assert_eq!(flags(&guest), [ACCESSED, ACCESSED, ACCESSED, ACCESSED | DIRTY]);
}

/// A store over the end of a page is whole or is not there, and the fault is at the page that forbids it.
#[test]
fn a_store_that_faults_has_stored_nothing() {
    for second in [0, PRESENT | USER, PRESENT | WRITABLE] {
        let guest = Guest::new();
        guest.map(0, 6, OPEN);
        guest.map(1, 8, second);
        let fault = store(&guest.ram, at(PAGE - 2, 10), WRITE, &[0xff; 10]).unwrap_err();
        assert_eq!((fault.vector, fault.address), (14, Some(PAGE)), "{second:#x}");
        assert_eq!((guest.get(7 * PAGE - 8), guest.entry(0)), (0, (6 * PAGE) | OPEN), "{second:#x}");
        guest.map(1, 8, OPEN);
        store(&guest.ram, at(PAGE - 2, 10), WRITE, &[0xff; 10]).unwrap();
        assert_eq!((guest.get(7 * PAGE - 8), guest.get(8 * PAGE)), (0xffff << 48, u64::MAX));
    }
}

/// The byte behind the last address of a mode is its first.
#[test]
fn addresses_wrap_at_the_mask() {
    let guest = Guest::new();
    guest.map(0, 6, OPEN);
    let parts: Vec<_> = Span { at: 0xffff_fffc, len: 6, mask: 0xffff_ffff }.parts().collect();
    assert_eq!(parts, [(0xffff_fffc, 0..4), (0, 4..6)]);
    let parts: Vec<_> = at(PAGE - 4, 4).parts().collect();
    assert_eq!(parts, [(PAGE - 4, 0..4)]);
}

/// Pages of 2 MiB and 1 GiB, with the bits that must be clear there.
#[test]
fn large_pages_are_pages() {
    for level in [2, 3] {
        let guest = Guest::new();
        guest.set(level * PAGE, OPEN | LARGE);
        guest.set(6 * PAGE, 0x1234);
        let mut bytes = [0; 8];
        load(&guest.ram, at(6 * PAGE, 8), READ, &mut bytes).unwrap();
        assert_eq!(u64::from_le_bytes(bytes), 0x1234);
        guest.set(level * PAGE, OPEN | LARGE | 1 << 13);
        assert_eq!(try_all(&guest, 0)[0], Err(Fault::page(0xd, 0)), "level {level}");
        guest.set(level * PAGE, OPEN | LARGE | 1 << 12);
        assert_eq!(try_all(&guest, 0)[0], Ok(()), "PAT");
    }
    let guest = Guest::new();
    guest.set(PAGE, guest.get(PAGE) | LARGE);
    assert_eq!(try_all(&guest, 0)[3], Err(Fault::page(9, 0)));
}

#[test]
fn what_is_no_ram_is_nobodys() {
    let guest = Guest::new();
    guest.map(0, Guest::PAGES, OPEN);
    assert_eq!(try_all(&guest, 0), [Err(Fault::PROTECTION); 6]);
    guest.set(3 * PAGE, (Guest::PAGES * PAGE) | OPEN);
    assert_eq!(try_all(&guest, 0), [Err(Fault::PROTECTION); 6]);
}

/// Ring 3 is a program's; rings 1 and 2 are not, for paging.
#[test]
fn an_instruction_accesses_in_the_name_of_its_ring() {
    for (rights, user) in [(0xc093, false), (0xc0b3, false), (0xc0d3, false), (0xc0f3, true)] {
        write(Field::GuestSsRights, rights);
        assert_eq!(
            [MemoryAccess::read(), MemoryAccess::write(), MemoryAccess::fetch()],
            [MemoryAccess::Read { user }, MemoryAccess::Write { user }, MemoryAccess::Fetch { user }]
        );
    }
}
