//! Which exits are events of the machine. They come wherever a VM stands, in home, gate or window, and are handled
//! alike there (rules G9, G14); all other exits are caused by the VM.

use crate::vmx::reason;

/// The cause of an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The processor reports an error of the machine, which ends all VMs.
    MachineCheck,
    /// The processor refused the guest's state, and the VM did not execute.
    Refused,
    /// An NMI, of the monitor or of the machine.
    Nmi,
    /// An interrupt of the machine, INIT or SIPI, or the VM can take interrupts now. The VM goes on; in gate and window
    /// an interrupt for it waits until the call is over (`interrupts.rs`).
    Hosts,
    /// The VMX-preemption timer ran out.
    Timer,
    /// Something that the VM did.
    Vms,
}

/// Vector of #MC.
const MACHINE_CHECK: u64 = 18;
/// Types 2 and 3 of an interruption. See: SDM volume 3, table "Format of the VM-Exit Interruption-Information Field".
const NMI: u64 = 2;
const HARDWARE_EXCEPTION: u64 = 3;
/// Bit 31 of the exit reason. See: SDM volume 3, table "Format of Exit Reason".
const ENTRY_FAILURE: u64 = 1 << 31;

/// Returns the cause of the exit with the reason field `exit`. `interruption` is the interruption-information field,
/// which is valid for exceptions and NMIs.
pub fn of(exit: u64, interruption: u64) -> Event {
    match (exit as u16, interruption >> 8 & 7) {
        (reason::MACHINE_CHECK_AT_ENTRY, _) => Event::MachineCheck,
        _ if exit & ENTRY_FAILURE != 0 => Event::Refused,
        (reason::EXCEPTION_OR_NMI, NMI) => Event::Nmi,
        (reason::EXCEPTION_OR_NMI, HARDWARE_EXCEPTION) if interruption & 0xff == MACHINE_CHECK => Event::MachineCheck,
        (reason::EXTERNAL_INTERRUPT | reason::INIT | reason::SIPI | reason::INTERRUPT_WINDOW, _) => Event::Hosts,
        (reason::PREEMPTION_TIMER, _) => Event::Timer,
        _ => Event::Vms,
    }
}

#[cfg(all(test, not(target_os = "none")))]
mod tests {
    use super::*;

    /// Returns valid interruption information with a type and a vector.
    const fn information(kind: u64, vector: u64) -> u64 {
        1 << 31 | kind << 8 | vector
    }

    /// Reasons by their numbers in SDM volume 3, appendix "VMX Basic Exit Reasons". For other exits the content of the
    /// interruption field is ignored.
    #[test]
    fn each_exit_is_the_machines_or_the_vms() {
        let hosts = [1, 3, 4, 7];
        for exit in 0..80 {
            for interruption in [0, information(2, 2), information(3, 18), information(3, 14)] {
                let wanted = match exit {
                    0 if interruption == information(2, 2) => Event::Nmi,
                    0 if interruption == information(3, 18) => Event::MachineCheck,
                    41 => Event::MachineCheck,
                    52 => Event::Timer,
                    _ if hosts.contains(&exit) => Event::Hosts,
                    _ => Event::Vms,
                };
                assert_eq!(of(exit, interruption), wanted, "{exit} {interruption:#x}");
            }
        }
    }

    /// An exception that the VM raises itself is not the machine's: INT 18 and INT 2 are of type 4.
    #[test]
    fn no_instruction_makes_a_machine_check() {
        for (kind, vector) in [(4, 18), (6, 18), (3, 1), (3, 17), (5, 1), (4, 2)] {
            assert_eq!(of(0, information(kind, vector)), Event::Vms, "{kind} {vector}");
        }
    }

    /// Reasons 33 and 34, and all others, with bit 31 set. See: SDM volume 3, "VM-Entry Failures During or After
    /// Loading Guest State".
    #[test]
    fn an_entry_that_fails_is_refused_or_a_machine_check() {
        for exit in [0, 1, 7, 33, 34, 52] {
            assert_eq!(of(1 << 31 | exit, information(2, 2)), Event::Refused);
        }
        assert_eq!(of(1 << 31 | 41, 0), Event::MachineCheck);
    }
}
