//! A VM as a sender: whether a call of it is under way, and its end if it stays in one.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use sluice_abi::call::CALLS;
use sluice_control::Call;
use sluice_memory::{SharedWords, Table};
use std::thread::yield_now;
use std::time::{Duration, Instant};

/// Longest time that a call may take after its directory changed. A call takes microseconds, but its process may not
/// have a processor at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// One VM.
pub struct Sender {
    /// Its request block.
    request: Table<'static, u64>,
    /// Its process group, while it runs.
    pub group: Option<Pid>,
}

impl Sender {
    /// Returns the sender with this request block, which does not run.
    pub const fn new(request: Table<'static, u64>) -> Self {
        Self { request, group: None }
    }

    /// Waits until the call that is under way is over, if there is one. Returns `false` if it takes too long.
    pub fn leaves(&self) -> bool {
        let Some(call) = Call::under_way(&self.request) else { return true };
        let end = Instant::now() + PATIENCE;
        while !call.is_over(&self.request) {
            if Instant::now() > end {
                return false;
            }
            yield_now();
        }
        true
    }

    /// Ends the VM's process, which returns once its memory is no longer the process's.
    pub fn kill(&self) {
        if let Some(group) = self.group {
            // Until the process is waited for, its id is its own. It may have ended.
            let _ = kill_process_group(group, Signal::KILL);
            let _ = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        }
    }

    /// Notes that the VM ended, in the middle of a call or not.
    pub fn end(&mut self) {
        self.group = None;
        self.request.store(CALLS, 0);
    }
}
