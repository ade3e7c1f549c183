//! The descendants of a process: its children, their children, and so on.

use rustix::process::{Pid, Signal, getpid, kill_process};
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time that killed processes may take to end. One that waits for a device ends when the device answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills all descendants of this process, which is a subreaper.
///
/// The children of a killed process become children of this one, so the function looks for children again, until it has
/// found none twice in a row: while it looks, a process may get a new parent and be missed. It leaves the waiting to
/// others.
pub fn end_descendants() {
    let (end, mut quiet) = (Instant::now() + PATIENCE, 0);
    while quiet < 2 && Instant::now() < end {
        let alive = children();
        quiet = if alive.is_empty() { quiet + 1 } else { 0 };
        for child in &alive {
            // The child may have ended meanwhile; its process id is its own until somebody waits for it.
            let _ = kill_process(*child, Signal::KILL);
        }
        if !alive.is_empty() {
            sleep(Duration::from_millis(1));
        }
    }
}

/// Returns the children of this process that have not ended. See: proc_pid_stat(5).
fn children() -> Vec<Pid> {
    let this = getpid().as_raw_pid().to_string();
    let is_child = |stat: &str| {
        // The name, in parentheses, may hold anything.
        let mut words = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
        !matches!(words.next(), Some("Z" | "X")) && words.next() == Some(&*this)
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().map_while(Result::ok);
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let stat = |pid: &i32| fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let alive = numbers.filter(|pid| is_child(&String::from_utf8_lossy(&stat(pid))));
    alive.filter_map(Pid::from_raw).collect()
}
