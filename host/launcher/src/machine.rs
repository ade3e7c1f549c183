//! One VM as a process: what it is given, its console, its device registers, its end.

use crate::Options;
use crate::console::Console;
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

/// First descriptor that is passed: control socket, directory, RAM, then the peers' RAM.
const FIRST_FD: i32 = 3;
/// Bytes that are read of a console, and register accesses that are answered, before others have their turn.
const CONSOLE_TURN: usize = 1 << 16;
const REGISTER_TURN: usize = 64;
/// The largest pipe that an ordinary process can have holds no more. See: pipe(7).
const LAST_TURNS: usize = (1 << 20) / CONSOLE_TURN;
/// Characters of an error that the verdict repeats.
const ERROR_LEN: usize = 300;

/// What a process is started with, each time.
pub struct Parts<'a> {
    pub id: u32,
    pub config: &'a VmConfig,
    pub options: &'a Options,
    pub image: PathBuf,
    /// Where it runs, if there is a choice.
    pub processor: Option<usize>,
    pub directory: OwnedFd,
    pub ram: OwnedFd,
    pub peers: Vec<OwnedFd>,
}

/// A process that runs. Dropped, it is killed, with all of its process group.
pub struct Machine {
    pub id: usize,
    name: String,
    child: Child,
    group: Pid,
    started: Instant,
    /// Its standard output, until it closes that.
    output: Option<ChildStdout>,
    lines: Lines,
    /// The last line that says what went wrong.
    error: Option<String>,
    /// Its device registers, until it closes them or breaks the protocol.
    registers: Option<Registers>,
}

/// How one ended.
pub struct End {
    /// In the words of the console, without the VM's name.
    pub how: String,
    pub is_good: bool,
    pub lived: Duration,
    /// What it said went wrong.
    pub error: Option<String>,
}

impl Machine {
    /// Starts the process. The thread that does is the one that it does not outlive.
    pub fn start(parts: &Parts<'_>) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut child = command(parts, theirs)?.spawn()?;
        let output = child.stdout.take();
        let group = Pid::from_child(&child);
        let machine = Self {
            id: parts.id as usize,
            name: parts.config.name.clone(),
            child,
            group,
            started: Instant::now(),
            output,
            lines: Lines::default(),
            error: None,
            registers: Some(Registers { socket: ours, message: Vec::new() }),
        };
        if let Some(output) = &machine.output {
            fcntl_setfl(output, fcntl_getfl(output)? | OFlags::NONBLOCK)?;
        }
        Ok(machine)
    }

    /// What it has to be waited for.
    pub fn sources(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let output = self.output.as_ref().map(AsFd::as_fd);
        let registers = self.registers.as_ref().map(|registers| registers.socket.as_fd());
        output.into_iter().chain(registers).map(|fd| (fd, PollFlags::IN))
    }

    /// Prints what it printed and answers what it asked, as far as its turn goes.
    pub fn serve(&mut self, console: &mut Console<'_>, shared: &mut Shared) {
        self.print(console);
        let refuse = |error: RunError| console.say(&format!("vm {}: {error}", self.name));
        if self.registers.as_mut().is_some_and(|registers| !registers.serve(self.id as u32, shared, refuse)) {
            self.registers = None;
        }
    }

    /// How it ended, if it did. What is left of its process group is killed first, as long as nobody else can have that number.
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

    /// Kills it, and prints its last words.
    pub fn kill(&mut self, console: &mut Console<'_>) {
        self.kill_group();
        // Who still has the other end may write for ever; what was written before the end fits into the pipe.
        for _ in 0..LAST_TURNS {
            if !self.print(console) {
                break;
            }
        }
        let (name, lines) = (&self.name, &mut self.lines);
        lines.finish(|line| console.line(name, line));
        (self.output, self.registers) = (None, None);
    }

    fn kill_group(&self) {
        // Until it is waited for, in `ended` or `drop`, the number is its own. It may have ended.
        let _ = kill_process_group(self.group, Signal::KILL);
    }

    /// Prints what it printed, for a turn; whether there may be more.
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

impl Drop for Machine {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill_group();
            // It can't refuse.
            let _ = self.child.wait();
        }
    }
}

fn command(parts: &Parts<'_>, control: UnixStream) -> io::Result<Command> {
    let mut fds = vec![control.into()];
    for fd in [&parts.directory, &parts.ram].into_iter().chain(&parts.peers) {
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
        .env_remove("SLUICE_CPU")
        .envs(parts.processor.map(|cpu| ("SLUICE_CPU", cpu.to_string())))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    sluice_guard::tie(&mut command);
    command.fd_mappings(mappings).map_err(io::Error::other)?;
    Ok(command)
}

/// How a process ended, and whether that is exit code 0.
fn words(status: ExitStatus) -> (String, bool) {
    match (status.code(), status.signal()) {
        (Some(code), _) => (format!("exit code {code}"), code == 0),
        (None, signal) => (format!("stopped: {}", sluice_guard::name(signal.unwrap_or(0))), false),
    }
}

/// What the process asks of its host. Each message is four words, each answer one: 0 read REGISTER, 1 write REGISTER VALUE, 2 add the run GPA BYTES OFFSET, 3
/// remove the run 0 BYTES OFFSET, where runs are counted in units of 2 MiB and answered with a status.
struct Registers {
    socket: UnixStream,
    message: Vec<u8>,
}

impl Registers {
    const LEN: usize = 16;

    /// Answers for a turn; `false`: nothing more will come, or nothing that makes sense. `refuse` is told why a run was refused.
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
        // One that asks and never reads the answers has no room for more.
        self.socket.write_all(&answer.to_le_bytes()).is_ok()
    }
}

/// What a call about a run is answered with. Statuses of such calls have their bits in the low word.
fn status(result: Result<(), RunError>, refuse: impl FnOnce(RunError)) -> u32 {
    let status = result.as_ref().map_or_else(|error| Status::refused(error.why), |()| Status::OK);
    result.map_or_else(refuse, |()| ());
    status.0 as u32
}
