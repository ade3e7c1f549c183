//! A life of the process that is the switch.

use rustix::fd::OwnedFd;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::process::{Child, Command, Stdio};

/// Set in the environment of a process that is the switch.
pub const VARIABLE: &str = "SLUICE_TEST_SWITCH";

/// The process. Dropping this kills it.
pub struct Life(Child);

impl Life {
    /// Starts the switch, in the place of test `name`, with the memory in `file`.
    pub fn start(name: &str, file: &OwnedFd) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", name, "--nocapture"]).env(VARIABLE, "1").stdout(Stdio::null());
        let file = file.try_clone().expect("a descriptor");
        Self(command.stdin(Stdio::from(file)).spawn().expect("a process"))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Stops the process, and returns when it is stopped.
    pub fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).expect("a process");
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).expect("a process").expect("its state");
        assert!(status.stopped(), "the switch ended: {status:?}");
    }

    /// Lets the process go on.
    pub fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).expect("a process");
    }

    /// Fails if the process ended by itself.
    pub fn check(&mut self) {
        let ended = self.0.try_wait().expect("its state");
        assert!(ended.is_none(), "the switch ended: {ended:?}");
    }

    /// Kills the process, and returns when it is gone.
    pub fn end(&mut self) {
        self.0.kill().expect("a process of this program's");
        self.0.wait().expect("its end");
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end();
    }
}
