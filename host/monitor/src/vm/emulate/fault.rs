//! Exceptions that a guest's instruction raises when the monitor executes it in the processor's place.

const INVALID_OPCODE: u8 = 6;
const NOT_PRESENT: u8 = 11;
const STACK: u8 = 12;
const GENERAL_PROTECTION: u8 = 13;
const PAGE: u8 = 14;

/// A fault: the instruction has had no effect, and RIP still points to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Vector of the exception.
    pub vector: u8,
    /// Error code, for the vectors that push one.
    pub error: Option<u32>,
    /// Value of CR2, for a page fault.
    pub address: Option<u64>,
}

impl Fault {
    /// The exception #UD.
    pub const OPCODE: Self = Self { vector: INVALID_OPCODE, error: None, address: None };
    /// The exception #GP(0).
    pub const PROTECTION: Self = Self::with_error(GENERAL_PROTECTION, 0);
    /// The exception #SS(0).
    pub const STACK: Self = Self::with_error(STACK, 0);

    /// Returns #GP with a selector. See: SDM volume 3, "Error Code".
    pub const fn selector(selector: u16) -> Self {
        Self::with_error(GENERAL_PROTECTION, selector as u32 & !3)
    }

    /// Returns #NP with a selector.
    pub const fn not_present(selector: u16) -> Self {
        Self::with_error(NOT_PRESENT, selector as u32 & !3)
    }

    /// Returns #PF at linear address `address`. See: SDM volume 3, "Page-Fault Exceptions" for the error code.
    pub const fn page(error: u32, address: u64) -> Self {
        Self { address: Some(address), ..Self::with_error(PAGE, error) }
    }

    const fn with_error(vector: u8, error: u32) -> Self {
        Self { vector, error: Some(error), address: None }
    }
}
