//! Questions about how an instruction uses memory and registers.

use iced_x86::{Instruction, InstructionInfoFactory, OpAccess, Register};

/// Whether an access may read.
pub fn reads(access: OpAccess) -> bool {
    use OpAccess::{CondRead, Read, ReadCondWrite, ReadWrite};
    matches!(access, Read | CondRead | ReadWrite | ReadCondWrite)
}

/// Whether an access may write.
pub fn writes(access: OpAccess) -> bool {
    use OpAccess::{CondWrite, ReadCondWrite, ReadWrite, Write};
    matches!(access, Write | CondWrite | ReadWrite | ReadCondWrite)
}

/// Whether `instruction` writes `register` or a part of it.
pub fn sets(instruction: &Instruction, register: Register, info: &mut InstructionInfoFactory) -> bool {
    let used = info.info(instruction).used_registers();
    used.iter().any(|used| used.register().full_register() == register && writes(used.access()))
}
