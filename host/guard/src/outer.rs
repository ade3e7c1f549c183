//! The outer process, which watches the inner one.

use crate::child::fork;
use crate::{Signals, code, end_descendants, name};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, wait};
use rustix::process::{set_child_subreaper, set_parent_process_death_signal};
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time that the inner process has to end in order after a signal.
const GRACE: Duration = Duration::from_secs(5);

/// Runs `work` in an inner process, until that and all processes that it started have ended. Returns the exit code of
/// `work`, or 128 plus the number of the signal that ended the run. `killed` is called with the name of a signal that
/// the inner process did not catch.
///
/// This function is to be called before a second thread is started: otherwise, or if fork(2) fails, `work` runs in this
/// process.
pub fn run(work: impl FnOnce() -> ExitCode, killed: impl FnOnce(&str)) -> ExitCode {
    let outer = getpid();
    // Old kernels refuse this. Children are killed there, but their children are not.
    let _ = set_child_subreaper(Some(outer));
    match fork() {
        Ok(Some(inner)) => watch(inner, killed),
        Ok(None) => {
            let _ = set_child_subreaper(Some(getpid()));
            let _ = set_parent_process_death_signal(Some(Signal::TERM));
            if getppid() == Some(outer) { work() } else { ExitCode::from(code(libc::SIGTERM)) }
        }
        Err(error) => {
            // If the message can't be written, the work is done all the same.
            let _ =
                io::Write::write_fmt(&mut io::stderr(), format_args!("no process to watch over this one: {error}\n"));
            work()
        }
    }
}

fn watch(inner: Pid, killed: impl FnOnce(&str)) -> ExitCode {
    let signals = Signals::catch();
    let signals = signals.as_ref().ok();
    let status = ended(inner, signals);
    end_descendants();
    let signal = status.and_then(WaitStatus::terminating_signal);
    if let Some(signal) = signal {
        killed(&name(signal));
    }
    match signals.and_then(Signals::raised).or(signal) {
        Some(signal) => ExitCode::from(code(signal)),
        None => ExitCode::from(status.and_then(WaitStatus::exit_status).map_or(1, |code| code as u8)),
    }
}

/// Waits for `inner`. Returns how it ended; `None` if the kernel does not tell, because SIGCHLD was ignored when this
/// process was started. A signal is passed on to `inner`, and SIGKILL follows after [`GRACE`].
fn ended(inner: Pid, signals: Option<&Signals>) -> Option<WaitStatus> {
    let mut limit = None;
    loop {
        let options = if signals.is_some() { WaitOptions::NOHANG } else { WaitOptions::empty() };
        match wait(options) {
            Ok(Some((pid, status))) if pid == inner => return Some(status),
            // A process that the inner one left behind.
            Ok(Some(_)) => continue,
            Err(Errno::CHILD) => return None,
            _ => {}
        }
        let Some(signals) = signals else { continue };
        if let (Some(signal), None) = (signals.raised(), limit) {
            // Nobody has waited for the child yet, so the process id is still its own.
            let _ = Signal::from_named_raw(signal).map(|signal| kill_process(inner, signal));
            limit = Some(Instant::now() + GRACE);
        }
        if limit.is_some_and(|limit| Instant::now() > limit) {
            let _ = kill_process(inner, Signal::KILL);
        }
        signals.wait(&[], limit);
    }
}
