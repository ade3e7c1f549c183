//! One VM as a process: how it starts, its console, its device registers, its end.

use crate::Options;
use crate::console::Console;
use crate::flows::FlowFiles;
use crate::lines::Lines;
use crate::shared::Shared;
use command_fds::{CommandFdExt, FdMapping};
use rustix::event::PollFlags;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use sluice_abi::Gpa;
use sluice_abi::call::Status;
use sluice_abi::run::{RUN_ALIGN, Run};
use sluice_control::{RunError, VmConfig};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The first file descriptor that is passed to a process. They are the control socket, the directory, the RAM, the
/// request block, and the peers' RAM, and flow table and records if there are any, in this order.
const FIRST_FD: i32 = 3;
/// Number of bytes that are read from a process's console before other processes have their turn.
const CONSOLE_TURN: usize = 1 << 16;
/// Number of messages that are answered before other processes have their turn.
const REGISTER_TURN: usize = 64;
/// Number of turns that read the largest pipe that an ordinary process can have. See: pipe(7).
const LAST_TURNS: usize = (1 << 20) / CONSOLE_TURN;
/// Largest number of characters of an error that the verdict repeats.
const ERROR_LEN: usize = 300;

/// The parts from which a process is started, each time anew.
pub struct NewProcess<'a> {
    pub id: u32,
    pub config: &'a VmConfig,
    pub options: &'a Options,
    pub image: PathBuf,
    /// The processor that runs it, if there is a choice.
    pub processor: Option<usize>,
    pub directory: OwnedFd,
    pub ram: OwnedFd,
    pub request: OwnedFd,
    pub peers: Vec<OwnedFd>,
    /// The flow memory of an in-VM switch.
    pub flows: Option<FlowFiles>,
}

/// A process that runs. Drop kills it with all of its process group.
pub struct Process {
    pub id: usize,
    name: String,
    child: Child,
    group: Pid,
    started: Instant,
    /// Standard output of the process, until that is closed.
    output: Option<ChildStdout>,
    lines: Lines,
    /// The last line of the process that starts with "error: ".
    error: Option<String>,
    /// Control socket of the process, until it closes that or breaks the protocol.
    registers: Option<Registers>,
    /// The process was ended, and perhaps is not gone yet.
    is_ended: bool,
}

/// The end of a process.
pub struct End {
    /// How the process ended, for the console, without the VM's name.
    pub how: String,
    /// Whether the exit code was 0.
    pub is_good: bool,
    /// Time from its start to its end.
    pub lived: Duration,
    /// The last line of the process that starts with "error: ".
    pub error: Option<String>,
}

impl Process {
    /// Starts the process. It does not outlive the thread that calls this function.
    pub fn start(parts: &NewProcess<'_>) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut child = command(parts, theirs)?.spawn()?;
        let output = child.stdout.take();
        let group = Pid::from_child(&child);
        let process = Self {
            id: parts.id as usize,
            name: parts.config.name.clone(),
            child,
            group,
            started: Instant::now(),
            output,
            lines: Lines::default(),
            error: None,
            registers: Some(Registers { socket: ours, message: Vec::new() }),
            is_ended: false,
        };
        if let Some(output) = &process.output {
            fcntl_setfl(output, fcntl_getfl(output)? | OFlags::NONBLOCK)?;
        }
        Ok(process)
    }

    /// Returns the process group, which has the id of the process.
    pub const fn group(&self) -> Pid {
        self.group
    }

    /// Returns the file descriptors to wait for on behalf of the process.
    pub fn sources(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let output = self.output.as_ref().map(AsFd::as_fd);
        let registers = self.registers.as_ref().map(|registers| registers.socket.as_fd());
        output.into_iter().chain(registers).map(|fd| (fd, PollFlags::IN))
    }

    /// Prints the output of the process and answers its messages, for one turn.
    pub fn serve(&mut self, console: &mut Console<'_>, shared: &mut Shared) {
        self.print(console);
        let refuse = |error: RunError| console.say(&format!("vm {}: {error}", self.name));
        if self.registers.as_mut().is_some_and(|registers| !registers.serve(self.id as u32, shared, refuse)) {
            self.registers = None;
        }
    }

    /// Returns how the process ended, if it did. The rest of its process group is killed before the process is waited
    /// for: until then its process id can't belong to another.
    pub fn ended(&mut self, console: &mut Console<'_>) -> io::Result<Option<End>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(self.group), options)?.is_none() {
            return Ok(None);
        }
        self.kill(console);
        let status = self.child.wait()?;
        let (how, is_good) = words(status);
        Ok(Some(End { how, is_good, lived: self.started.elapsed(), error: self.error.take() }))
    }

    /// Kills the process, and prints the rest of its output.
    pub fn kill(&mut self, console: &mut Console<'_>) {
        self.kill_group();
        // A process that still has the other end may write for ever. Output from before the end fits into the pipe.
        for _ in 0..LAST_TURNS {
            if !self.print(console) {
                break;
            }
        }
        let (name, lines) = (&self.name, &mut self.lines);
        lines.finish(|line| console.line(name, line));
        (self.output, self.registers) = (None, None);
    }

    /// Ends the process and its group, whatever they do. Returns whether this is the first time.
    pub fn end(&mut self) -> bool {
        self.kill_group();
        !std::mem::replace(&mut self.is_ended, true)
    }

    fn kill_group(&self) {
        // Until the process is waited for, in `ended` or `drop`, its id is its own. It may have ended.
        let _ = kill_process_group(self.group, Signal::KILL);
    }

    /// Prints the output of the process for one turn. Returns whether there may be more.
    fn print(&mut self, console: &mut Console<'_>) -> bool {
        let Self { name, output: Some(output), lines, error, .. } = self else { return false };
        let mut bytes = [0; CONSOLE_TURN];
        match output.read(&mut bytes) {
            Ok(len @ 1..) => {
                lines.add(&bytes[..len], |line| {
                    if line.starts_with(b"error: ") {
                        *error = Some(String::from_utf8_lossy(line).chars().take(ERROR_LEN).collect());
                    }
                    console.line(name, line);
                });
                return true;
            }
            Err(failed) if matches!(failed.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            _ => self.output = None,
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill_group();
            // A process can't refuse SIGKILL, so the wait ends.
            let _ = self.child.wait();
        }
    }
}

fn command(parts: &NewProcess<'_>, control: UnixStream) -> io::Result<Command> {
    let mut fds = vec![control.into()];
    let own = [&parts.directory, &parts.ram, &parts.request];
    for fd in own.into_iter().chain(&parts.peers).chain(parts.flows.iter().flatten()) {
        fds.push(fd.try_clone()?);
    }
    let mappings = (FIRST_FD..).zip(fds).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd }).collect();
    let mut command = Command::new(&parts.image);
    command
        .env("SLUICE_ARGS", &parts.config.args)
        .env("SLUICE_PEERS", parts.peers.len().to_string())
        .env("SLUICE_FILES", &parts.options.files)
        .env("SLUICE_MODULES", parts.config.modules.join(" "))
        .env("SLUICE_OUT", &parts.options.out)
        .env_remove("SLUICE_FLOWS")
        .envs(parts.flows.as_ref().map(|_| ("SLUICE_FLOWS", "1")))
        .env_remove("SLUICE_CPU")
        .envs(parts.processor.map(|cpu| ("SLUICE_CPU", cpu.to_string())))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    sluice_guard::tie(&mut command);
    command.fd_mappings(mappings).map_err(io::Error::other)?;
    Ok(command)
}

/// Returns how a process ended, for the console, and whether its exit code was 0.
fn words(status: ExitStatus) -> (String, bool) {
    match (status.code(), status.signal()) {
        (Some(code), _) => (format!("exit code {code}"), code == 0),
        (None, signal) => (format!("stopped: {}", sluice_guard::name(signal.unwrap_or(0))), false),
    }
}

/// The control socket of a process. Each message is four words, and each answer one. The first word of a message is 0
/// to read REGISTER, 1 to write REGISTER VALUE, 2 to add the run GPA LENGTH OFFSET, 3 to remove the run 0 LENGTH
/// OFFSET. The numbers of runs are in units of 2 MiB; the answer is a status then.
struct Registers {
    socket: UnixStream,
    message: Vec<u8>,
}

impl Registers {
    const LEN: usize = 16;

    /// Answers messages for one turn, and calls `refuse` for each run that is refused. Returns `false` if the socket is
    /// closed, or the process broke the protocol.
    fn serve(&mut self, vm: u32, shared: &mut Shared, mut refuse: impl FnMut(RunError)) -> bool {
        for _ in 0..REGISTER_TURN {
            let mut bytes = [0; Self::LEN];
            match self.socket.read(&mut bytes[self.message.len()..]) {
                Ok(len @ 1..) => self.message.extend_from_slice(&bytes[self.message.len()..][..len]),
                Ok(0) => return false,
                Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
            }
            if self.message.len() == Self::LEN && !self.answer(vm, shared, &mut refuse) {
                return false;
            }
        }
        true
    }

    fn answer(&mut self, vm: u32, shared: &mut Shared, refuse: &mut impl FnMut(RunError)) -> bool {
        let (words, _) = self.message.as_chunks();
        let [kind, a, b, c] = [0, 1, 2, 3].map(|word: usize| u32::from_le_bytes(words[word]));
        self.message.clear();
        let bytes = |units: u32| u64::from(units) * RUN_ALIGN;
        let answer = match kind {
            0 => shared.read(vm, a),
            1 => {
                shared.write(vm, a, b);
                0
            }
            2 => status(shared.add_run(vm, Run { gpa: Gpa(bytes(a)), len: bytes(b), offset: bytes(c) }), refuse),
            3 => status(shared.remove_run(vm, bytes(c), bytes(b)), refuse),
            _ => return false,
        };
        // The write fails for a process that never reads the answers.
        self.socket.write_all(&answer.to_le_bytes()).is_ok()
    }
}

/// Returns the answer to a message about a run: the low word of the status, which has all of its bits.
fn status(result: Result<(), RunError>, refuse: impl FnOnce(RunError)) -> u32 {
    let status = result.as_ref().map_or_else(|error| Status::refused(error.why), |()| Status::OK);
    result.map_or_else(refuse, |()| ());
    status.0 as u32
}
