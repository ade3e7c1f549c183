//! Programs that this one starts: none outlives it, and none is waited for longer than it may take.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(5);
/// How long it has to end in order when it is told to.
const GRACE: Duration = Duration::from_secs(3);

/// How a program ended, and what it wrote.
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// Whether by itself; else it took too long.
    pub in_time: bool,
    /// Standard output.
    pub output: Vec<u8>,
    /// Standard error.
    pub errors: Vec<u8>,
}

/// Runs `command` to its end. What takes longer than `patience` gets SIGINT, and a little later SIGKILL.
///
/// It writes into files: the other end of a pipe could be kept open by somebody who outlives it.
pub fn run(command: &mut Command, patience: Duration) -> Result<Ended> {
    let folder = tempfile::tempdir()?;
    let (output, errors) = (folder.path().join("out"), folder.path().join("err"));
    command.stdin(Stdio::null()).stdout(File::create(&output)?).stderr(File::create(&errors)?);
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = sluice_guard::tie(command).spawn().context(name)?;
    let (status, in_time) = end(&mut child, patience)?;
    Ok(Ended { status, in_time, output: fs::read(output)?, errors: fs::read(errors)? })
}

/// Waits for `child` and sees to its end: how it ended, and whether in time.
pub fn end(child: &mut Child, patience: Duration) -> Result<(ExitStatus, bool)> {
    if let Some(status) = wait(child, patience)? {
        return Ok((status, true));
    }
    // It is a child that nobody has waited for.
    kill_process(Pid::from_child(child), Signal::INT)?;
    if let Some(status) = wait(child, GRACE)? {
        return Ok((status, false));
    }
    child.kill()?;
    Ok((child.wait()?, false))
}

fn wait(child: &mut Child, patience: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        match child.try_wait()? {
            None if start.elapsed() < patience => sleep(POLL),
            status => return Ok(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_ended() {
        let ended = run(Command::new("sleep").arg("600"), Duration::from_millis(50)).unwrap();
        assert!(!ended.in_time && !ended.status.success());
        let mut deaf = Command::new("sh");
        let ended = run(deaf.args(["-c", "trap '' INT; echo on; sleep 600; sleep 600"]), Duration::from_millis(300));
        assert!(!ended.unwrap().in_time);
        let ended = run(Command::new("echo").arg("a word"), Duration::from_secs(60)).unwrap();
        assert_eq!((ended.status.code(), ended.in_time, &ended.output[..]), (Some(0), true, &b"a word\n"[..]));
    }

    /// The end of a pipe would come only with the end of all who have it.
    #[test]
    fn nobody_who_keeps_the_output_open_is_waited_for() {
        let mut command = Command::new("sh");
        let start = Instant::now();
        let ended = run(command.args(["-c", "sleep 30 & echo left"]), Duration::from_secs(60)).unwrap();
        assert_eq!((ended.in_time, &ended.output[..]), (true, &b"left\n"[..]));
        assert!(start.elapsed() < Duration::from_secs(25));
    }
}
