//! The two processes.

use crate::{Signals, code, end_descendants, name};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, wait};
use rustix::process::{set_child_subreaper, set_parent_process_death_signal};
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the inner process has to end in order after a signal.
const GRACE: Duration = Duration::from_secs(5);

/// Runs `work` in an inner process, to the end of all that it starts. Its exit code is the result, or 128 and the signal that ended the run.
/// `killed` hears what signal ended the inner process where it did not see to that itself.
///
/// To be called first of all, as long as there is one thread. Where no second process can be had, `work` runs in this one.
pub fn run(work: impl FnOnce() -> ExitCode, killed: impl FnOnce(&str)) -> ExitCode {
    let outer = getpid();
    // Refused by old kernels: children are killed there, and their children are not.
    let _ = set_child_subreaper(Some(outer));
    match fork() {
        Ok(Some(inner)) => watch(inner, killed),
        Ok(None) => {
            let _ = set_child_subreaper(Some(getpid()));
            let _ = set_parent_process_death_signal(Some(Signal::TERM));
            if getppid() == Some(outer) { work() } else { ExitCode::from(code(libc::SIGTERM)) }
        }
        Err(error) => {
            // Where even that can't be told, it goes on.
            let _ =
                io::Write::write_fmt(&mut io::stderr(), format_args!("no process to watch over this one: {error}\n"));
            work()
        }
    }
}

/// `None` in the child.
#[allow(unsafe_code, reason = "fork")]
fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the contract of `run`: there is one thread, so nothing is left half done or locked in the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
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

/// How `inner` ended; `None` where the kernel told nobody, as SIGCHLD was ignored when this process was started. A signal is passed on, and if
/// that doesn't help, SIGKILL follows.
fn ended(inner: Pid, signals: Option<&Signals>) -> Option<WaitStatus> {
    let mut limit = None;
    loop {
        let options = if signals.is_some() { WaitOptions::NOHANG } else { WaitOptions::empty() };
        match wait(options) {
            Ok(Some((pid, status))) if pid == inner => return Some(status),
            // Somebody whom the inner one left behind.
            Ok(Some(_)) => continue,
            Err(Errno::CHILD) => return None,
            _ => {}
        }
        let Some(signals) = signals else { continue };
        if let (Some(signal), None) = (signals.raised(), limit) {
            // It is a child that nobody has waited for yet.
            let _ = Signal::from_named_raw(signal).map(|signal| kill_process(inner, signal));
            limit = Some(Instant::now() + GRACE);
        }
        if limit.is_some_and(|limit| Instant::now() > limit) {
            let _ = kill_process(inner, Signal::KILL);
        }
        signals.wait(&[], limit);
    }
}
