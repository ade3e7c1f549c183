//! A process that is executed instruction by instruction.

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::process::Child;

/// The first thread of a process, which stands still but for its steps. The process is killed when this is dropped.
pub struct Stepped(Child);

impl Stepped {
    /// Stops `child` where it is.
    pub fn stop(child: Child) -> Self {
        let stepped = Self(child);
        ptrace::attach(stepped.pid()).expect("attached");
        assert!(matches!(waitpid(stepped.pid(), None), Ok(WaitStatus::Stopped(_, Signal::SIGSTOP))));
        stepped
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    /// Executes one instruction.
    pub fn step(&self) {
        ptrace::step(self.pid(), None).expect("stepped");
        assert!(matches!(waitpid(self.pid(), None), Ok(WaitStatus::Stopped(_, Signal::SIGTRAP))));
    }

    /// Leaves the process alone, which goes on, and is killed as before.
    pub fn leave(&self) {
        ptrace::detach(self.pid(), None).expect("detached");
    }

    /// Leaves the process alone, as SIGSTOP leaves it.
    pub fn leave_stopped(&self) {
        ptrace::detach(self.pid(), Signal::SIGSTOP).expect("detached");
    }

    /// Waits for the end of the process, and returns the signal that ended it.
    pub fn ended_by(&mut self) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(&self.0.wait().expect("an end"))
    }

    /// Kills the process where it stands.
    pub fn kill(mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("killed");
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}
