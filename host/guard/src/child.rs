//! Child processes: made by fork, or tied to their parent.
#![allow(unsafe_code, reason = "fork, and what a child does between fork and exec")]

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{fs, io};

/// Makes a copy of this process. Returns its process id, and `None` in the copy.
///
/// # Errors
/// Those of fork(2), and an error if this process has more than one thread.
pub fn fork() -> io::Result<Option<Pid>> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("this process has more than one thread"));
    }
    // SAFETY: there is one thread, so nothing is left half done or locked in the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Has the kernel kill the process that `command` starts when the thread that starts it ends. Children of that process
/// are not reached: see [`crate::run`].
pub fn tie(command: &mut Command) -> &mut Command {
    let parent = getpid();
    let set = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that ended before this call sends no signal.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
    };
    // SAFETY: the closure makes two system calls, and uses no memory or lock that another thread of the parent could
    // hold.
    unsafe { command.pre_exec(set) }
}
