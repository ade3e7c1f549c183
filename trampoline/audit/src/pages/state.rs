//! The facts about the machine on a path that decide about the window.

use crate::access::writes;
use iced_x86::{Code, Instruction, InstructionInfoFactory, OpKind, Register};
use sluice_abi::map;

/// Where slot 2 of the EPTP list is, the window's.
const WINDOW_SLOT: u64 = map::LIST + 16;
/// Bits of an EPT pointer's lowest byte. See: SDM volume 3, "Extended-Page-Table Pointer (EPTP)".
const WRITE_BACK: u8 = 6;
const FOUR_LEVELS: u8 = 3 << 3;
const WALK_AND_TYPE: u8 = 0x3f;

/// The value of RDX, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rdx {
    #[default]
    Unknown,
    Cr3,
    Cr3Page,
}

/// The facts. An unknown value is one that the caller chose, or that the page computed from such a value.
#[derive(Clone, Copy, Debug)]
pub struct State {
    armed: bool,
    /// CR3 was found to be the registered one, since the window was armed.
    checked: bool,
    rdx: Rdx,
    ecx: Option<u32>,
    /// The flags say how CR3 compares with the constant.
    compared: bool,
    /// Memory was read at an address that the caller chose: the list, maybe. Its value is in a register, in the flags
    /// or in x87.
    read: bool,
}

impl Default for State {
    /// From home. There is one way into this view, VMFUNC with 1 in ECX, from wherever it comes.
    fn default() -> Self {
        Self { armed: false, checked: false, rdx: Rdx::Unknown, ecx: Some(1), compared: false, read: false }
    }
}

impl State {
    /// Back from the window.
    pub fn armed() -> Self {
        Self { armed: true, ..Self::default() }
    }

    pub fn is_armed(&self) -> bool {
        self.armed
    }

    pub fn may_enter(&self) -> bool {
        self.armed && self.checked
    }

    /// Which view VMFUNC switches to.
    pub fn index(&self) -> Option<u32> {
        self.ecx
    }

    /// Notes a read of the gate view's memory at an address that the caller chose.
    pub fn read_anything(&mut self) {
        self.read = true;
    }

    /// Whether no value that was read in the gate leaves it.
    pub fn keeps_secrets(&self) -> bool {
        !self.read
    }

    /// VMFUNC went from the gate view to itself.
    pub fn stay(&mut self) {
        self.ecx = Some(1);
    }

    /// A branch on "not equal" was not taken.
    pub fn compared_equal(&mut self) {
        self.checked |= self.armed && self.compared;
    }

    /// `value` is stored in the lowest byte of the window's slot. `false`: it makes a slot that is neither valid nor at
    /// rest.
    pub fn store(&mut self, value: u8) -> bool {
        (self.armed, self.checked, self.compared) = (value & WALK_AND_TYPE == WRITE_BACK | FOUR_LEVELS, false, false);
        self.armed || value & WALK_AND_TYPE == WRITE_BACK
    }

    /// An instruction that does not write memory.
    pub fn run(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        let known = *self;
        for register in info.info(instruction).used_registers().iter().filter(|used| writes(used.access())) {
            match register.register().full_register() {
                Register::RCX => self.ecx = None,
                Register::RDX => self.rdx = Rdx::Unknown,
                _ => {}
            }
        }
        self.compared &= instruction.rflags_modified() == 0;
        match instruction.code() {
            Code::Mov_r64_cr
                if instruction.op0_register() == Register::RDX && instruction.op1_register() == Register::CR3 =>
            {
                self.rdx = Rdx::Cr3;
            }
            Code::Shr_rm64_imm8 if instruction.op0_register() == Register::RDX => {
                let page = known.rdx == Rdx::Cr3 && instruction.immediate8() == 12;
                self.rdx = if page { Rdx::Cr3Page } else { Rdx::Unknown };
            }
            Code::Cmp_r64_rm64 => self.compared = known.rdx == Rdx::Cr3Page && compares_constant(instruction),
            Code::Xor_rm32_r32 | Code::Xor_r32_rm32 if is_zero(instruction, Register::ECX) => self.ecx = Some(0),
            Code::Mov_r8_imm8 if instruction.op0_register() == Register::CL => {
                self.ecx = known.ecx.map(|ecx| ecx & !0xff | u32::from(instruction.immediate8()));
            }
            _ => {}
        }
    }
}

/// Returns the byte that `instruction` stores in the window's slot, if it is such a store.
pub fn list_store(instruction: &Instruction) -> Option<u8> {
    let slot = fixed_address(instruction) == Some(WINDOW_SLOT);
    (slot && instruction.code() == Code::Mov_rm8_imm8).then(|| instruction.immediate8())
}

/// Whether `instruction` reads the constant, or the first bytes of it, and nothing else.
pub fn reads_constant(instruction: &Instruction) -> bool {
    fixed_address(instruction) == Some(map::CONSTANT + map::CONSTANT_WORD) && instruction.memory_size().size() <= 8
}

fn compares_constant(instruction: &Instruction) -> bool {
    instruction.op0_register() == Register::RDX && reads_constant(instruction)
}

/// The address of the memory operand, if no register has a part in it: the bases of FS and GS are the guest's.
fn fixed_address(instruction: &Instruction) -> Option<u64> {
    let others = matches!(instruction.memory_segment(), Register::FS | Register::GS);
    (instruction.memory_base() == Register::RIP && !others).then(|| instruction.ip_rel_memory_address())
}

/// `xor register, register`.
fn is_zero(instruction: &Instruction, register: Register) -> bool {
    instruction.op1_kind() == OpKind::Register
        && (instruction.op0_register(), instruction.op1_register()) == (register, register)
}
