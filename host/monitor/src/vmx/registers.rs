//! The general registers of a guest.

/// A guest's general registers, by number. The element of RSP is unused, since RSP is in the VMCS.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Registers(pub [u64; 16]);

#[allow(missing_docs, reason = "register numbers, SDM volume 2, \"Instruction Format\"")]
impl Registers {
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
    pub const R8: usize = 8;
}
