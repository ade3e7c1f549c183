//! Stands for `instruction.rs` where there is no VMX: a processor that records the fields of the VMCS that are written,
//! and the mappings that it is told to drop.

use super::field::{Field, HostField};
use sluice_abi::Hpa;
use std::cell::RefCell;
use std::collections::HashMap;

/// An instruction that was refused; this processor refuses none.
#[derive(Clone, Copy, Debug)]
pub struct VmFail(pub &'static str);

/// Mappings that were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// All mappings derived from the EPT with this pointer.
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

/// Stands for INVEPT of one context.
pub fn invept(eptp: u64) {
    drop_all(Dropped::Ept(eptp));
}

/// Stands for INVVPID of one context.
pub fn invvpid(vpid: u16) {
    drop_all(Dropped::Vpid(vpid));
}

/// Returns the mappings that were dropped since the last call.
pub fn dropped() -> Vec<Dropped> {
    DROPPED.take()
}

/// Stands for VMREAD; 0 for a field that was not written.
pub fn read(field: Field) -> u64 {
    VMCS.with_borrow(|vmcs| vmcs.get(&(field as u32)).copied().unwrap_or(0))
}

/// Stands for VMWRITE.
pub fn write(field: Field, value: u64) {
    VMCS.with_borrow_mut(|vmcs| vmcs.insert(field as u32, value));
}

/// Stands for VMWRITE of a field of the host state.
pub(super) fn write_host(field: HostField, value: u64) {
    VMCS.with_borrow_mut(|vmcs| vmcs.insert(field as u32, value));
}

/// Stands for VMXON.
pub fn vmxon(_: Hpa) -> Result<(), VmFail> {
    Ok(())
}

/// Stands for VMCLEAR.
pub fn vmclear(_: Hpa) -> Result<(), VmFail> {
    Ok(())
}

/// Stands for VMPTRLD.
pub fn vmptrld(_: Hpa) -> Result<(), VmFail> {
    Ok(())
}
