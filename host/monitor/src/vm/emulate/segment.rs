//! From offsets in a guest's segments to linear addresses, with the checks of the processor.
//! See: SDM volume 3, "Limit Checking", "Type Checking"; volume 1, "Canonical Addressing".

use super::fault::Fault;
use super::walk::{MemoryAccess, Span};
use crate::vmx::field::Field;
use crate::vmx::guest;
use crate::vmx::instruction::read;

/// A segment register, by its number in the VM-exit instruction information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment(usize);

struct Fields {
    base: Field,
    limit: Field,
    rights: Field,
}

/// The fields of ES, CS, SS, DS, FS and GS.
const FIELDS: [Fields; 6] = [
    Fields { base: Field::GuestEsBase, limit: Field::GuestEsLimit, rights: Field::GuestEsRights },
    Fields { base: Field::GuestCsBase, limit: Field::GuestCsLimit, rights: Field::GuestCsRights },
    Fields { base: Field::GuestSsBase, limit: Field::GuestSsLimit, rights: Field::GuestSsRights },
    Fields { base: Field::GuestDsBase, limit: Field::GuestDsLimit, rights: Field::GuestDsRights },
    Fields { base: Field::GuestFsBase, limit: Field::GuestFsLimit, rights: Field::GuestFsRights },
    Fields { base: Field::GuestGsBase, limit: Field::GuestGsLimit, rights: Field::GuestGsRights },
];

/// Bits of the access rights. See: SDM volume 3, table "Format of Access Rights", "Code- and Data-Segment Types".
mod rights {
    /// A data segment can be written; a code segment can be read.
    pub const WRITE_OR_READ: u64 = 1 << 1;
    /// A data segment grows downwards.
    pub const DOWN: u64 = 1 << 2;
    /// The segment is a code segment.
    pub const CODE: u64 = 1 << 3;
    /// The segment is of 32 bits.
    pub const BIG: u64 = 1 << 14;
    /// The segment can't be used.
    pub const UNUSABLE: u64 = 1 << 16;
}

impl Segment {
    /// The segment register CS.
    pub const CODE: Self = Self(1);
    const STACK: Self = Self(2);

    /// Returns segment register `number` modulo 8; `None` for 6 and 7.
    pub fn new(number: u64) -> Option<Self> {
        let number = (number & 7) as usize;
        (number < FIELDS.len()).then_some(Self(number))
    }

    /// Returns where the `len` bytes at `offset` are, if the segment allows `access` there.
    pub fn span(self, offset: u64, len: usize, access: MemoryAccess) -> Result<Span, Fault> {
        let span = if guest::is_64_bit() { self.flat(offset, len) } else { self.bounded(offset, len as u64, access) };
        span.ok_or(if self == Self::STACK { Fault::STACK } else { Fault::PROTECTION })
    }

    /// Returns the span in 64-bit mode, where only FS and GS have bases, and no segment has a limit.
    fn flat(self, offset: u64, len: usize) -> Option<Span> {
        let base = if self.0 >= 4 { read(FIELDS[self.0].base) } else { 0 };
        let at = offset.wrapping_add(base);
        let last = at.wrapping_add(len as u64 - 1);
        (is_canonical(at) && is_canonical(last)).then_some(Span { at, len, mask: u64::MAX })
    }

    /// Returns the span in compatibility mode.
    fn bounded(self, offset: u64, len: u64, access: MemoryAccess) -> Option<Span> {
        let Fields { base, limit, rights } = &FIELDS[self.0];
        let (rights, limit) = (read(*rights), read(*limit));
        let code = rights & rights::CODE != 0;
        let allowed = match access {
            MemoryAccess::Write { .. } => !code && rights & rights::WRITE_OR_READ != 0,
            MemoryAccess::Read { .. } => !code || rights & rights::WRITE_OR_READ != 0,
            MemoryAccess::Fetch { .. } => true,
        };
        let (first, last) = match !code && rights & rights::DOWN != 0 {
            true => (limit + 1, if rights & rights::BIG != 0 { 0xffff_ffff } else { 0xffff }),
            false => (0, limit),
        };
        let inside = offset >= first && offset + (len - 1) <= last;
        let at = read(*base).wrapping_add(offset) & 0xffff_ffff;
        (rights & rights::UNUSABLE == 0 && allowed && inside).then_some(Span {
            at,
            len: len as usize,
            mask: 0xffff_ffff,
        })
    }
}

/// Returns whether bits 63:47 of `address` are the same.
pub const fn is_canonical(address: u64) -> bool {
    let sign = (address as i64) >> 47;
    sign == 0 || sign == -1
}

#[cfg(all(test, not(target_os = "none")))]
mod tests;
