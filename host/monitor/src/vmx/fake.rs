//! Stands for `instruction.rs` where there is no VMX: a processor that notes what is written to the VMCS, and which mappings it was told
//! to drop.

use super::field::Field;
use sluice_abi::Hpa;
use std::cell::RefCell;
use std::collections::HashMap;

/// As an instruction that was refused; none is.
#[derive(Clone, Copy, Debug)]
pub struct VmFail(pub &'static str);

/// What was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// All that was derived from the EPT with this pointer.
    Ept(u64),
    /// All linear mappings of this VPID.
    Vpid(u16),
}

thread_local! {
    static DROPPED: RefCell<Vec<Dropped>> = const { RefCell::new(Vec::new()) };
    static VMCS: RefCell<HashMap<u32, u64>> = RefCell::default();
}

fn drop_all(of: Dropped) {
    DROPPED.with_borrow_mut(|dropped| dropped.push(of));
}

/// As INVEPT of one context.
pub fn invept(eptp: u64) {
    drop_all(Dropped::Ept(eptp));
}

/// As INVVPID of one context.
pub fn invvpid(vpid: u16) {
    drop_all(Dropped::Vpid(vpid));
}

/// What was dropped since this was last asked.
pub fn dropped() -> Vec<Dropped> {
    DROPPED.take()
}

/// As VMREAD; 0 where nothing was written.
pub fn read(field: Field) -> u64 {
    VMCS.with_borrow(|vmcs| vmcs.get(&(field as u32)).copied().unwrap_or(0))
}

/// As VMWRITE.
pub fn write(field: Field, value: u64) {
    VMCS.with_borrow_mut(|vmcs| vmcs.insert(field as u32, value));
}

/// As VMXON.
pub fn vmxon(_: Hpa) -> Result<(), VmFail> {
    Ok(())
}

/// As VMCLEAR.
pub fn vmclear(_: Hpa) -> Result<(), VmFail> {
    Ok(())
}

/// As VMPTRLD.
pub fn vmptrld(_: Hpa) -> Result<(), VmFail> {
    Ok(())
}
