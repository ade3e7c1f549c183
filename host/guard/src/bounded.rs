//! Programs that are waited for no longer than they may take.

use crate::tie;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
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
    /// Whether the program ended by itself; else it took too long.
    pub in_time: bool,
    /// Standard output.
    pub output: Vec<u8>,
    /// Standard error.
    pub errors: Vec<u8>,
}

/// Runs `command` to its end. A program that takes longer than `patience` gets SIGINT, and a little later SIGKILL; it
/// does not outlive the thread that started it.
///
/// The program writes into files in memory: the other end of a pipe could be kept open by a process that outlives it.
///
/// # Errors
/// The program can't be started; the message names it.
pub fn bounded(command: &mut Command, patience: Duration) -> io::Result<Ended> {
    watched(command, patience, |_| {})
}

/// Runs `command` as [`bounded`] does, and shows `look` the lines of its standard output: many times a second those
/// that came since, or none.
///
/// # Errors
/// As [`bounded`], and if the lines can't be read.
pub fn watched(command: &mut Command, patience: Duration, look: impl FnMut(&str)) -> io::Result<Ended> {
    let (output, errors) = (file()?, file()?);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(errors.try_clone()?);
    let name = command.get_program().to_string_lossy().into_owned();
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    let mut child = tie(command).spawn().map_err(named)?;
    let mut lines = Lines { file: &output, shown: 0, look };
    let (status, in_time) = end(&mut child, patience, &mut lines)?;
    lines.show()?;
    Ok(Ended { status, in_time, output: contents(&output)?, errors: contents(&errors)? })
}

fn file() -> io::Result<File> {
    Ok(memfd_create("output", MemfdFlags::CLOEXEC)?.into())
}

/// The lines of a file that grows.
struct Lines<'f, F> {
    file: &'f File,
    /// Length in bytes of the lines that were shown.
    shown: u64,
    look: F,
}

impl<F: FnMut(&str)> Lines<'_, F> {
    /// Shows the lines that are whole by now.
    fn show(&mut self) -> io::Result<()> {
        let len = self.file.metadata()?.len().saturating_sub(self.shown);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, self.shown)?;
        bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1));
        self.shown += bytes.len() as u64;
        (self.look)(&String::from_utf8_lossy(&bytes));
        Ok(())
    }
}

/// Returns all of `file`, whose position is the program's.
fn contents(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Waits for the end of `child`, which is ended after `patience`. Returns how it ended, and whether in time.
fn end(
    child: &mut Child,
    patience: Duration,
    lines: &mut Lines<'_, impl FnMut(&str)>,
) -> io::Result<(ExitStatus, bool)> {
    if let Some(status) = wait(child, patience, lines)? {
        return Ok((status, true));
    }
    // It is a child that nobody has waited for.
    kill_process(Pid::from_child(child), Signal::INT)?;
    if let Some(status) = wait(child, GRACE, lines)? {
        return Ok((status, false));
    }
    child.kill()?;
    Ok((child.wait()?, false))
}

fn wait(
    child: &mut Child,
    patience: Duration,
    lines: &mut Lines<'_, impl FnMut(&str)>,
) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        lines.show()?;
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
        let ended = bounded(Command::new("sleep").arg("600"), Duration::from_millis(50)).unwrap();
        assert!(!ended.in_time && !ended.status.success());
        let mut deaf = Command::new("sh");
        let ended =
            bounded(deaf.args(["-c", "trap '' INT; echo on; sleep 600; sleep 600"]), Duration::from_millis(300));
        assert!(!ended.unwrap().in_time);
        let ended = bounded(Command::new("echo").arg("a word"), Duration::from_secs(60)).unwrap();
        assert_eq!((ended.status.code(), ended.in_time, &ended.output[..]), (Some(0), true, &b"a word\n"[..]));
    }

    #[test]
    fn lines_are_shown_while_the_program_runs() {
        let (start, mut seen) = (Instant::now(), Vec::new());
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; printf 'tw'; sleep 1; printf 'o\\r\\nthree'"]);
        let look = |lines: &str| seen.extend(lines.lines().map(|line| (line.to_owned(), start.elapsed())));
        let ended = watched(&mut command, Duration::from_secs(60), look);
        assert_eq!(ended.unwrap().output, b"one\ntwo\r\nthree");
        assert!(seen.iter().map(|(line, _)| line.as_str()).eq(["one", "two"]), "{seen:?}");
        assert!(seen[1].1 - seen[0].1 > Duration::from_millis(500), "{seen:?}");
    }

    /// The end of a pipe would come only with the end of all who have it.
    #[test]
    fn nobody_who_keeps_the_output_open_is_waited_for() {
        let mut command = Command::new("sh");
        let start = Instant::now();
        let ended = bounded(command.args(["-c", "sleep 30 & echo left"]), Duration::from_secs(60)).unwrap();
        assert_eq!((ended.in_time, &ended.output[..]), (true, &b"left\n"[..]));
        assert!(start.elapsed() < Duration::from_secs(25));
    }
}
