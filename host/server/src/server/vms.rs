//! Programs within VMs, which have windows as processes have.
//!
//! The memory of peers is a device of the VM: the program says how long it is, and nobody takes it away. A VM that
//! stays in a call is not ended, since it may be paused: its windows close after a while, and none opens before it has
//! left. Should it go on then, it writes what a process no longer can.

use super::Server;
use super::windows::Name;
use crate::connection::Connection;
use crate::windows::{Bar, State, Whole};
use sluice_abi::map::PAGE;
use tracing::{Level, warn};

impl Server {
    /// Begins anew with VM `vm`: another program in it has its window now. Returns `number`, by which the program knows
    /// that all answers before are not its own.
    pub(super) fn begin_again(&mut self, vm: usize, number: u32) -> u32 {
        self.forget_windows_of(vm);
        self.network.remove(vm as u32);
        if let Some(process) = self.switch.rings().process(vm) {
            process.begin_again();
        }
        self.publish(vm);
        self.tell_senders_to(vm);
        number
    }

    /// Takes over that VM `vm` has a device of `pages` pages that is the memory of its peer `peer`.
    pub(super) fn has_device(&mut self, vm: usize, peer: u32, pages: u32) -> Result<u32, String> {
        let window = self.window((vm, peer as usize)).ok_or_else(|| format!("a device for peer {peer}"))?;
        window.bar = Some(Bar { len: u64::from(pages) * PAGE, file: None });
        Ok(0)
    }

    /// Returns whether the VM of a window has its peer's memory, which is `whole`, as a device.
    pub(super) fn has_as_device(&mut self, name: Name, whole: Option<Whole>) -> bool {
        let Some(bar) = self.window(name).and_then(|window| window.bar.as_mut()) else { return false };
        let found = whole.filter(|whole| bar.may_be(whole));
        bar.file = found.or(bar.file);
        if found.is_none() {
            self.log_of_window(name, Level::WARN, |vm, peer| {
                warn!(vm, peer, "the memory of the peer is no file, or not the one that the VM has as a device");
            });
        }
        found.is_some()
    }

    /// Closes all windows of VM `vm`, if a program within it has them, which goes on when its session ends. Returns
    /// whether no call of it goes by one of them any more.
    pub(super) fn close_windows_of(&mut self, vm: usize) -> bool {
        let process = self.connection(vm).and_then(Connection::process);
        if !process.is_some_and(|process| process.is_in_vm() && !process.has_ended()) {
            return true;
        }
        let all: Vec<_> = (0..self.policy.vms[vm].peers.len()).map(|index| (vm, index)).collect();
        all.iter().for_each(|&window| self.hide(window));
        all.iter().all(|&name| self.window(name).is_none_or(|window| matches!(window.state, State::Closed)))
    }

    /// Opens windows of VMs that stayed in a call, and have left it.
    pub(super) fn look_after_vms(&mut self) {
        for vm in 0..self.policy.vms.len() {
            if self.connection(vm).and_then(Connection::process).is_some_and(|process| process.is_back()) {
                self.open_windows(vm);
            }
        }
    }
}
