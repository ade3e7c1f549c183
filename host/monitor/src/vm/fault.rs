//! Exceptions that an instruction of the guest's raises, where the monitor executes it in the processor's place.

const INVALID_OPCODE: u8 = 6;
const NOT_PRESENT: u8 = 11;
const STACK: u8 = 12;
const GENERAL_PROTECTION: u8 = 13;
const PAGE: u8 = 14;

/// A fault: the instruction has done nothing, and RIP is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its vector.
    pub vector: u8,
    /// What is pushed with it, for the vectors that have one.
    pub error: Option<u32>,
    /// What CR2 holds then, if it is a page fault.
    pub address: Option<u64>,
}

impl Fault {
    /// #UD
    pub const OPCODE: Self = Self { vector: INVALID_OPCODE, error: None, address: None };
    /// #GP(0)
    pub const PROTECTION: Self = Self::with_error(GENERAL_PROTECTION, 0);
    /// #SS(0)
    pub const STACK: Self = Self::with_error(STACK, 0);

    /// #GP with a selector. See: SDM volume 3, "Error Code".
    pub const fn selector(selector: u16) -> Self {
        Self::with_error(GENERAL_PROTECTION, selector as u32 & !3)
    }

    /// #NP with a selector.
    pub const fn not_present(selector: u16) -> Self {
        Self::with_error(NOT_PRESENT, selector as u32 & !3)
    }

    /// #PF at linear address `address`. See: SDM volume 3, "Page-Fault Exceptions" for the error code.
    pub const fn page(error: u32, address: u64) -> Self {
        Self { address: Some(address), ..Self::with_error(PAGE, error) }
    }

    const fn with_error(vector: u8, error: u32) -> Self {
        Self { vector, error: Some(error), address: None }
    }
}
