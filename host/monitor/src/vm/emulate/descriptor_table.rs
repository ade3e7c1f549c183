//! LGDT, LIDT, LLDT, LTR and their stores: bases that reach the sluice slot are refused (`bases.rs`).
//!
//! The stores need no privilege, so a program may execute them. They write only where the program itself could, and
//! fault elsewhere. See: SDM volume 2, the instructions' pages.

use super::fault::Fault;
use super::segment::is_canonical;
use super::walk::{MemoryAccess, Span};
use super::{fetch, operand, walk};
use crate::vm::bases::reaches_slot;
use crate::vm::ram::Ram;
use crate::vmx::field::Field;
use crate::vmx::guest;
use crate::vmx::instruction::{read, write};
use crate::vmx::registers::Registers;
use x86_64::registers::control::Cr4Flags;

/// Executes the instruction that exited: on GDTR or IDTR if `tables`, else on LDTR or TR.
pub fn execute(ram: &Ram, registers: &mut Registers, tables: bool) -> Result<(), Fault> {
    Executed { ram, registers, info: read(Field::InstructionInfo) }.run(tables)
}

/// The instruction that exited.
struct Executed<'a> {
    ram: &'a Ram,
    registers: &'a mut Registers,
    info: u64,
}

impl Executed<'_> {
    fn run(&mut self, tables: bool) -> Result<(), Fault> {
        let which = self.info >> 28 & 3;
        let loads = which & 2 != 0;
        let prevented = read(Field::GuestCr4) & Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION.bits() != 0;
        if !guest::in_kernel() && (loads || prevented) {
            return Err(Fault::PROTECTION);
        }
        match (tables, which) {
            (true, 0) => self.store_table(Field::GuestGdtrBase, Field::GuestGdtrLimit),
            (true, 1) => self.store_table(Field::GuestIdtrBase, Field::GuestIdtrLimit),
            (true, 2) => self.load_table(Field::GuestGdtrBase, Field::GuestGdtrLimit),
            (true, _) => self.load_table(Field::GuestIdtrBase, Field::GuestIdtrLimit),
            (false, 0) => self.store_selector(Field::GuestLdtrSelector),
            (false, 1) => self.store_selector(Field::GuestTrSelector),
            (false, 2) => self.selector().and_then(load_local),
            (false, _) => self.selector().and_then(|selector| load_task(self.ram, selector)),
        }
    }

    /// Returns the length in bytes of a limit and a base in memory.
    fn pointer_len() -> usize {
        if guest::is_64_bit() { 10 } else { 6 }
    }

    fn store_table(&self, base: Field, limit: Field) -> Result<(), Fault> {
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&(read(limit) as u16).to_le_bytes());
        bytes[2..].copy_from_slice(&read(base).to_le_bytes());
        self.store(&bytes[..Self::pointer_len()])
    }

    fn store(&self, bytes: &[u8]) -> Result<(), Fault> {
        let access = MemoryAccess::write();
        walk::store(self.ram, operand::in_memory(self.registers, self.info, bytes.len(), access)?, access, bytes)
    }

    fn load(&self, bytes: &mut [u8]) -> Result<(), Fault> {
        let access = MemoryAccess::read();
        walk::load(self.ram, operand::in_memory(self.registers, self.info, bytes.len(), access)?, access, bytes)
    }

    fn load_table(&self, base: Field, limit: Field) -> Result<(), Fault> {
        const OPERAND_32: u64 = 1 << 11;
        let mut bytes = [0; 10];
        self.load(&mut bytes[..Self::pointer_len()])?;
        let [low, high, address @ ..] = bytes;
        let mut address = u64::from_le_bytes(address);
        if !guest::is_64_bit() && self.info & OPERAND_32 == 0 {
            address &= 0xff_ffff;
        }
        if reaches_slot(address) || !is_canonical(address) {
            return Err(Fault::PROTECTION);
        }
        write(limit, u64::from(u16::from_le_bytes([low, high])));
        write(base, address);
        Ok(())
    }

    /// Executes SLDT or STR: stores two bytes in memory, or fills a register of the operand size, which only the
    /// instruction itself tells.
    fn store_selector(&mut self, field: Field) -> Result<(), Fault> {
        let selector = read(field) as u16;
        let Some(number) = operand::in_register(self.info) else { return self.store(&selector.to_le_bytes()) };
        let old = operand::register(self.registers, number);
        let new = match fetch::instruction(self.ram)?.op0_register().size() {
            2 => old & !0xffff | u64::from(selector),
            _ => u64::from(selector),
        };
        match number as usize {
            Registers::RSP => write(Field::GuestRsp, new),
            number => self.registers.0[number] = new,
        }
        Ok(())
    }

    /// Returns the selector operand of LLDT or LTR.
    fn selector(&self) -> Result<u16, Fault> {
        if let Some(number) = operand::in_register(self.info) {
            return Ok(operand::register(self.registers, number) as u16);
        }
        let mut bytes = [0; 2];
        self.load(&mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }
}

/// Executes LLDT: only the null selector is allowed, so there is no local table.
fn load_local(selector: u16) -> Result<(), Fault> {
    if selector & !3 != 0 {
        return Err(Fault::selector(selector));
    }
    write(Field::GuestLdtrSelector, u64::from(selector));
    write(Field::GuestLdtrRights, 1 << 16);
    Ok(())
}

/// Executes LTR with a descriptor of the guest's GDT. See: SDM volume 3, "TSS Descriptor in 64-bit mode".
fn load_task(ram: &Ram, selector: u16) -> Result<(), Fault> {
    const AVAILABLE: u64 = 0x09;
    const PRESENT: u64 = 0x80;
    const BUSY: u64 = 2 << 40;
    let (offset, len) = (u64::from(selector & !7), if guest::is_64_bit() { 16 } else { 8 });
    if selector & !3 == 0 {
        return Err(Fault::PROTECTION);
    }
    let bad = Err(Fault::selector(selector));
    let at = read(Field::GuestGdtrBase).wrapping_add(offset);
    if selector & 4 != 0 || offset + len - 1 > read(Field::GuestGdtrLimit) || !is_canonical(at) {
        return bad;
    }
    let mut bytes = [0; 16];
    walk::load(ram, Span::system(at, len as usize), MemoryAccess::Read { user: false }, &mut bytes[..len as usize])?;
    let word = u128::from_le_bytes(bytes);
    let (low, high) = (word as u64, (word >> 64) as u64);
    let base = (low >> 16 & 0xff_ffff) | (low >> 32 & 0xff00_0000) | high << 32;
    if low >> 40 & 0x1f != AVAILABLE || high >> 40 & 0x1f != 0 || reaches_slot(base) || !is_canonical(base) {
        return bad;
    }
    if low >> 40 & PRESENT == 0 {
        return Err(Fault::not_present(selector));
    }
    walk::store(ram, Span::system(at, 8), MemoryAccess::Write { user: false }, &(low | BUSY).to_le_bytes())?;
    write(Field::GuestTrSelector, u64::from(selector));
    write(Field::GuestTrBase, base);
    write(Field::GuestTrLimit, (low & 0xffff) | (low >> 32 & 0xf_0000));
    write(Field::GuestTrRights, 0x8b);
    Ok(())
}

#[cfg(all(test, not(target_os = "none")))]
mod tests;
