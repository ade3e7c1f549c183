//! Transactions (TSX) are off on every processor. See: SDM volume 1, "Programming with Intel Transactional
//! Synchronization Extensions".
//!
//! A transaction that begins in home and aborts in the window continues in home, past the gate's close, with all
//! registers as they were at XBEGIN. Its abort is a way out of the window that no check of the gate sees (attack A28),
//! and its speculative loads leave traces in the caches. Hiding TSX from CPUID does not switch it off: XBEGIN is not
//! privileged, and does not exit.

use crate::platform::cpu::OwnMsr;
use crate::platform::msr;
use core::arch::x86_64::{__cpuid, __cpuid_count};

const IA32_ARCH_CAPABILITIES: u32 = 0x10a;
const IA32_TSX_CTRL: u32 = OwnMsr::TsxControl as u32;
/// Bit of IA32_ARCH_CAPABILITIES: the processor has IA32_TSX_CTRL. Such processors ignore the prefixes of HLE.
const TSX_CTRL: u64 = 1 << 7;
/// Bit of IA32_TSX_CTRL: each XBEGIN aborts at once.
const RTM_DISABLE: u64 = 1 << 0;
/// Bit of IA32_TSX_CTRL: CPUID does not report TSX.
const TSX_CPUID_CLEAR: u64 = 1 << 1;

/// The two registers of CPUID leaf 07H, subleaf 0, that describe transactions. See: SDM volume 2, "CPUID".
#[derive(Clone, Copy, Debug, Default)]
pub struct Leaf7 {
    /// Bit 4: HLE, bit 11: RTM.
    pub ebx: u32,
    /// Bit 11: every XBEGIN aborts at once (RTM_ALWAYS_ABORT), bit 29: the processor has IA32_ARCH_CAPABILITIES.
    pub edx: u32,
}

impl Leaf7 {
    /// Returns the leaf of this processor; all zero if it has no such leaf.
    pub fn own() -> Self {
        if __cpuid(0).eax < 7 {
            return Self::default();
        }
        let leaf = __cpuid_count(7, 0);
        Self { ebx: leaf.ebx, edx: leaf.edx }
    }

    const fn has_transactions(self) -> bool {
        const HLE_OR_RTM: u32 = 1 << 4 | 1 << 11;
        const ALWAYS_ABORTS: u32 = 1 << 11;
        self.ebx & HLE_OR_RTM != 0 && self.edx & ALWAYS_ABORTS == 0
    }

    const fn has_arch_capabilities(self) -> bool {
        self.edx >> 29 & 1 == 1
    }
}

/// Switches transactions off on this processor, whose CPUID reports `leaf`. Returns `false` if it has transactions that
/// can't be switched off.
///
/// IA32_TSX_CTRL is written whatever `leaf` says: firmware may hide transactions and leave them on.
#[must_use]
pub fn switch_off(leaf: Leaf7) -> bool {
    if !leaf.has_arch_capabilities() || msr::read(IA32_ARCH_CAPABILITIES) & TSX_CTRL == 0 {
        return !leaf.has_transactions();
    }
    msr::write(OwnMsr::TsxControl, msr::read(IA32_TSX_CTRL) | RTM_DISABLE | TSX_CPUID_CLEAR);
    msr::read(IA32_TSX_CTRL) & RTM_DISABLE != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HLE: u32 = 1 << 4;
    const RTM: u32 = 1 << 11;
    const ALWAYS_ABORTS: u32 = 1 << 11;
    const ARCH_CAPABILITIES: u32 = 1 << 29;

    #[test]
    fn a_processor_whose_transactions_stay_on_is_refused() {
        for (ebx, edx, off) in [
            (0, 0, true),
            (RTM, 0, false),
            (HLE, 0, false),
            (RTM | HLE, 0, false),
            (RTM | HLE, ALWAYS_ABORTS, true),
            // IA32_ARCH_CAPABILITIES, without the bit that says IA32_TSX_CTRL.
            (0, ARCH_CAPABILITIES, true),
            (RTM, ARCH_CAPABILITIES, false),
            (HLE, ARCH_CAPABILITIES, false),
        ] {
            msr::provide(&[(IA32_ARCH_CAPABILITIES, !TSX_CTRL)]);
            assert_eq!(switch_off(Leaf7 { ebx, edx }), off, "{ebx:#x} {edx:#x}");
            assert_eq!(msr::written(IA32_TSX_CTRL), None, "there is no such register");
        }
    }

    #[test]
    fn transactions_are_switched_off_where_they_can_be() {
        for ebx in [RTM, RTM | HLE, HLE, 0] {
            msr::provide(&[(IA32_ARCH_CAPABILITIES, TSX_CTRL), (IA32_TSX_CTRL, 1 << 5)]);
            assert!(switch_off(Leaf7 { ebx, edx: ARCH_CAPABILITIES }));
            let wanted = RTM_DISABLE | TSX_CPUID_CLEAR | 1 << 5;
            assert_eq!(msr::written(IA32_TSX_CTRL), Some(wanted), "also what firmware hid, and nothing else changes");
        }
    }

    #[test]
    fn a_switch_that_does_not_move_is_seen() {
        msr::provide(&[(IA32_ARCH_CAPABILITIES, TSX_CTRL), (IA32_TSX_CTRL, 0)]);
        msr::fix(IA32_TSX_CTRL);
        assert!(!switch_off(Leaf7 { ebx: RTM, edx: ARCH_CAPABILITIES }));
    }
}
