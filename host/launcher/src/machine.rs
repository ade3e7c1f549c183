//! One VM as a process: what it is given, its console, its device registers, its end.

use crate::shared::Shared;
use command_fds::{CommandFdExt, FdMapping};
use sluice_control::VmConfig;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// First descriptor that is passed: control socket, directory, RAM, then the peers' RAM.
const FIRST_FD: i32 = 3;

/// What a process is started with, each time.
pub struct Parts<'a> {
    pub id: u32,
    pub config: &'a VmConfig,
    pub image: PathBuf,
    pub modules: Vec<PathBuf>,
    pub out: &'a Path,
    pub directory: OwnedFd,
    pub ram: OwnedFd,
    pub peers: Vec<OwnedFd>,
}

/// A process that runs.
pub struct Machine {
    pub id: usize,
    child: Child,
    /// Console and device registers. They end with the process.
    threads: Vec<JoinHandle<()>>,
}

impl Machine {
    /// How it ended, if it did; all that it printed is on the console then, and all that it wrote to its device is done.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            // They do nothing that can panic.
            self.threads.drain(..).for_each(|thread| drop(thread.join()));
        }
        Ok(status)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the process, and threads that serve its console and its device registers until it ends.
pub fn start(parts: &Parts<'_>, shared: &Arc<Shared>) -> io::Result<Machine> {
    let (ours, theirs) = UnixStream::pair()?;
    let peers = parts.peers.len();
    let mut fds = vec![theirs.into()];
    for fd in [&parts.directory, &parts.ram].into_iter().chain(&parts.peers) {
        fds.push(fd.try_clone()?);
    }
    let mappings = (FIRST_FD..).zip(fds).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd }).collect();
    let modules: Vec<_> = parts.modules.iter().map(|path| path.to_string_lossy()).collect();
    let mut command = Command::new(&parts.image);
    command
        .env("SLUICE_ARGS", &parts.config.args)
        .env("SLUICE_PEERS", peers.to_string())
        .env("SLUICE_MODULES", modules.join("\n"))
        .env("SLUICE_OUT", parts.out)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if processors > 1 {
        command.env("SLUICE_CPU", (parts.config.cpu.unwrap_or(parts.id as usize) % processors).to_string());
    }
    command.fd_mappings(mappings).map_err(io::Error::other)?;
    let mut child = command.spawn()?;
    drop(command);
    let name = parts.config.name.clone();
    let console = child.stdout.take().map(|output| thread::spawn(move || console(&name, output)));
    let (id, shared) = (parts.id, Arc::clone(shared));
    let registers = thread::spawn(move || serve(id, ours, &shared));
    Ok(Machine { id: id as usize, child, threads: console.into_iter().chain([registers]).collect() })
}

/// Prints what the process prints, line by line, with its name.
fn console(name: &str, output: impl Read) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        // One write a line, so that lines of several processes don't mix.
        let text = format!("[{name}] {}\n", String::from_utf8_lossy(&line));
        let _ = io::stdout().lock().write_all(text.as_bytes());
    }
}

/// Answers register accesses: each message is three words (0 read or 1 write, register, value), each answer one.
fn serve(vm: u32, mut socket: UnixStream, shared: &Shared) {
    let mut message = [0; 12];
    while socket.read_exact(&mut message).is_ok() {
        let (words, _) = message.as_chunks();
        let [kind, register, value] = [0, 1, 2].map(|word: usize| u32::from_le_bytes(words[word]));
        let answer = match kind {
            0 => shared.read(vm, register),
            1 => {
                shared.write(vm, register, value);
                0
            }
            _ => return,
        };
        if socket.write_all(&answer.to_le_bytes()).is_err() {
            return;
        }
    }
}

/// How the process ended, in the words of the console; `Ok` for exit code 0.
pub fn verdict(name: &str, status: ExitStatus) -> Result<(), String> {
    match (status.code(), status.signal()) {
        (Some(code), _) => {
            println!("[launcher] vm {name} exit code {code}");
            if code == 0 { Ok(()) } else { Err(format!("vm {name} exit code {code}")) }
        }
        (None, signal) => {
            let text = format!("vm {name} stopped: signal {}", signal.unwrap_or(0));
            println!("[launcher] {text}");
            Err(text)
        }
    }
}
