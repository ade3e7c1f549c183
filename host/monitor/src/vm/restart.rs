//! Starting a VM again after it ended.
//!
//! Its device is reset, and no sender is in a window on it any more (`shared::gone` waited for that). What it sent is not forgotten: each
//! peer's queue goes on where it was.

use super::lapic::LocalApic;
use super::{State, Vm, shared};
use crate::load::Start;
use crate::platform::frames::OutOfFrames;
use crate::vmx::enter::{Registers, Xsave};
use crate::vmx::instruction::invvpid;
use crate::vmx::rest::Rest;

impl Vm {
    /// Puts the VM where it starts; its RAM was loaded again.
    pub(super) fn restart(&mut self, start: Start) -> Result<(), OutOfFrames> {
        self.host.load();
        // It may have ended in the window.
        self.recover();
        self.hide_runs()?;
        self.registered = false;
        let vpid = self.vpid();
        if let Some(isolated) = self.views.isolated() {
            isolated.unregister(vpid)?;
        }
        invvpid(vpid);
        self.registers = first_registers(&start);
        self.start = start;
        (self.xsave, self.rest, self.lapic) = (Xsave::initial(), Rest::initial(), LocalApic::new());
        (self.launched, self.watched, self.state) = (false, None, State::Running);
        self.restarts += 1;
        shared::back(self.id);
        Ok(())
    }
}

/// What a VM starts with in its registers. See: `sluice_abi::boot`.
pub fn first_registers(start: &Start) -> Registers {
    let mut registers = Registers::default();
    registers.0[Registers::RDI] = start.boot_info.0;
    registers
}
