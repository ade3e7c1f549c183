//! Starting a VM again after it ended.
//!
//! Its device was removed, and no sender is in a window on it any more (`network::remove` waited for that). The
//! positions of the peers' queues stay: the VM goes on sending where it was.

use super::lapic::LocalApic;
use super::load::Start;
use super::network;
use super::vm::{State, Vm};
use crate::platform::physical::OutOfFrames;
use crate::vmx::instruction::{Xsave, invvpid};
use crate::vmx::unswitched::UnswitchedState;

impl Vm {
    /// Puts the VM, whose RAM was loaded again, at `start`.
    pub(super) fn restart(&mut self, start: Start) -> Result<(), OutOfFrames> {
        self.host.load();
        // The VM may have ended in the window.
        self.window.get().recover();
        self.hide_runs()?;
        self.registered = false;
        let vpid = self.vpid();
        if let Some(isolated) = self.views.isolated() {
            isolated.unregister(vpid)?;
        }
        invvpid(vpid);
        self.registers = start.registers();
        self.start = start;
        (self.xsave, self.unswitched) = (Xsave::initial(), UnswitchedState::initial());
        self.lapic = LocalApic::new();
        (self.launched, self.watched, self.state) = (false, None, State::Running);
        self.restarts += 1;
        network::restart(self.id);
        Ok(())
    }
}
