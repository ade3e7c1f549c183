//! Packet memory that a VM adds and removes while it runs. See: `sluice_abi::run`.
//!
//! Both calls return when every sender that could reach the VM has taken its new directory: an added run before that would be where a sender
//! finds buffers that it does not know of, and a removed one may be given to something else after it. That takes the senders' time, so who
//! changes its runs while senders reach it may do so once in a quantum; until then it executes the call again.

use super::{Next, Vm, exit, shared};
use crate::platform::frames::OutOfFrames;
use crate::vmx::enter::Registers;
use alloc::format;
use core::fmt::Display;
use sluice_abi::call::{Code, Status};
use sluice_abi::run::Run;

/// Adds `run`.
pub fn add(vm: &mut Vm, run: Run) -> Next {
    if shared::is_early(vm) {
        return Next::Switch;
    }
    match shared::add_run(vm.id, run) {
        Err(error) => refuse(vm, Status::refused(error.why), &error),
        Ok(()) if vm.show_run(run).is_err() => {
            // It was added just now.
            let _ = shared::remove_run(vm.id, run.offset, run.len);
            refuse(vm, Status::new(Code::NotRegistered), &format!("run of {run}: no memory left for its views"))
        }
        Ok(()) => {
            shared::tell(vm);
            answer(vm, Status::OK)
        }
    }
}

/// Removes the run of `len` bytes at `offset`.
pub fn remove(vm: &mut Vm, offset: u64, len: u64) -> Next {
    if shared::is_early(vm) {
        return Next::Switch;
    }
    match shared::remove_run(vm.id, offset, len) {
        Err(error) => refuse(vm, Status::refused(error.why), &error),
        Ok(()) => {
            shared::tell(vm);
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
    exit::skip(Next::Resume)
}
