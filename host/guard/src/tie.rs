//! A child that the kernel kills when its parent ends.
#![allow(unsafe_code, reason = "what a child does between fork and exec")]

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has what `command` starts killed when the thread that starts it ends. What that starts in turn is not reached: see [`crate::run`].
pub fn tie(command: &mut Command) -> &mut Command {
    let parent = getpid();
    let set = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that ended before has sent nothing.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
    };
    // SAFETY: two system calls, and nothing that another thread of the parent could hold: no memory, no lock.
    unsafe { command.pre_exec(set) }
}
