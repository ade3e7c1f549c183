//! Packet memory that a VM adds and removes while it runs. See: `sluice_abi::run`.
//!
//! Both calls return when every sender that can reach the VM has read its new directory. Before that, a sender does not
//! know the buffers of an added run, and may still write into a removed one, which the VM uses for something else
//! afterwards. That takes the senders' time, so a VM that senders reach may change its runs once in a quantum. Until
//! then it executes the call again.

use crate::platform::physical::OutOfFrames;
use crate::vm::network;
use crate::vm::vm::{Next, Vm};
use crate::vmx::guest;
use crate::vmx::registers::Registers;
use alloc::format;
use core::fmt::Display;
use sluice_abi::call::{Code, Status};
use sluice_abi::run::Run;

/// Adds `run` to the VM's packet memory.
pub fn add(vm: &mut Vm, run: Run) -> Next {
    if vm.is_early() {
        return Next::Switch;
    }
    match network::add_run(vm.id, run) {
        Err(error) => refuse(vm, Status::refused(error.why), &error),
        Ok(()) if vm.show_run(run).is_err() => {
            // The run was added just now, so it can be removed.
            let _ = network::remove_run(vm.id, run.offset, run.len);
            refuse(vm, Status::new(Code::NotRegistered), &format!("run of {run}: no memory left for its views"))
        }
        Ok(()) => {
            vm.tell_senders();
            answer(vm, Status::OK)
        }
    }
}

/// Removes the run of `len` bytes at `offset` from the VM's packet memory.
pub fn remove(vm: &mut Vm, offset: u64, len: u64) -> Next {
    if vm.is_early() {
        return Next::Switch;
    }
    match network::remove_run(vm.id, offset, len) {
        Err(error) => refuse(vm, Status::refused(error.why), &error),
        Ok(()) => {
            vm.tell_senders();
            match vm.hide_run(offset, len) {
                Ok(()) => answer(vm, Status::OK),
                Err(OutOfFrames) => vm.stop(format!("no memory left to remove a run at offset {offset:#x}")),
            }
        }
    }
}

fn refuse(vm: &mut Vm, status: Status, why: &dyn Display) -> Next {
    vm.console.say(format_args!("vm {}: {why}", vm.name));
    answer(vm, status)
}

fn answer(vm: &mut Vm, status: Status) -> Next {
    vm.registers.0[Registers::RAX] = status.0;
    guest::skip();
    Next::Resume
}
