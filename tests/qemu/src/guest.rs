//! A running VM, and commands in it.

use crate::{Linux, Qmp, Vm};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a boot, or a command, may take. A boot takes 3 s on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a socket is looked at before QEMU connects.
const POLL: Duration = Duration::from_millis(2);

/// A running VM with Linux. Dropping this kills it, and it does not outlive the thread that started it.
pub struct Guest {
    name: String,
    child: Child,
    agent: BufReader<UnixStream>,
    qmp: Qmp,
    /// Archive, sockets, and what was said.
    folder: TempDir,
}

impl Guest {
    /// Starts `vm`, and waits until its Linux runs commands.
    ///
    /// # Errors
    /// As [`Self::start`] and [`Self::run`].
    pub fn boot(linux: &Linux, vm: &Vm) -> Result<Self> {
        let mut guest = Self::start(linux, vm)?;
        guest.run("true")?;
        Ok(guest)
    }

    /// Starts `vm`, and returns once its QEMU runs. The first command waits for the boot, so several VMs boot at once.
    ///
    /// # Errors
    /// What QEMU says, for example about a socket at which nobody listens.
    pub fn start(linux: &Linux, vm: &Vm) -> Result<Self> {
        Self::try_start(linux, vm).with_context(|| format!("VM {}", vm.name))
    }

    fn try_start(linux: &Linux, vm: &Vm) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let mut archive = File::create(at("initramfs"))?;
        archive.write_all(&linux.archive)?;
        archive.write_all(&files(vm)?)?;
        let (qmp, agent) = (UnixListener::bind(at("qmp"))?, UnixListener::bind(at("agent"))?);
        let mut command = vm.command(&linux.kernel, folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(at("errors"))?);
        let child = sluice_guard::tie(&mut command).spawn().with_context(|| format!("{:?}", vm.qemu))?;
        let mut process = Started(Some(child));
        let said = || said(&folder);
        let qmp = process.accept(&qmp).and_then(Qmp::new).with_context(said)?;
        let agent = BufReader::new(process.accept(&agent).with_context(said)?);
        let child = process.0.take().context("no process")?;
        Ok(Self { name: vm.name.clone(), child, agent, qmp, folder })
    }

    /// Runs `command`, one line, in the guest's shell, and returns what it printed.
    ///
    /// # Errors
    /// What it printed, if its exit code is not 0; what QEMU and kernel said, if there is no answer in two minutes.
    pub fn run(&mut self, command: &str) -> Result<String> {
        self.bytes(command).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Runs `command` as [`Self::run`] does, and returns the bytes that it wrote.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn bytes(&mut self, command: &str) -> Result<Vec<u8>> {
        let (code, output) = self.answer(command).with_context(|| {
            let Self { name, folder, .. } = self;
            format!("VM {name}, command {command:?}; {}", said(folder))
        })?;
        ensure!(code == 0, "VM {}, {command:?}: exit code {code}: {}", self.name, String::from_utf8_lossy(&output));
        Ok(output)
    }

    /// Runs `command` again and again until its exit code is 0, at most for a minute.
    ///
    /// # Errors
    /// As [`Self::run`], and if it is not 0 until then.
    pub fn wait_until(&mut self, command: &str) -> Result<()> {
        let end = "$(($(cut -d. -f1 /proc/uptime) + 60))";
        let late = "[ $(cut -d. -f1 /proc/uptime) -gt $end ] && exit 1";
        self.run(&format!("end={end}; until {command}; do {late}; usleep 10000; done")).map(drop)
    }

    /// Returns the connection to the guest's QEMU.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// Returns the id of the guest's QEMU, a process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what QEMU and the guest's kernel said.
    pub fn said(&self) -> String {
        said(&self.folder)
    }

    /// Sends `command`, and takes exit code and output.
    fn answer(&mut self, command: &str) -> Result<(u8, Vec<u8>)> {
        ensure!(!command.contains('\n'), "more than one line");
        writeln!(self.agent.get_mut(), "{command}")?;
        self.agent.get_ref().set_read_timeout(Some(PATIENCE))?;
        let mut line = String::new();
        self.agent.read_line(&mut line)?;
        let words = line.trim_end().split_once(' ').with_context(|| format!("no answer: {line:?}"))?;
        let mut output = vec![0; words.1.parse().with_context(|| line.clone())?];
        self.agent.read_exact(&mut output)?;
        Ok((words.0.parse().with_context(|| line.clone())?, output))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A QEMU that was started, and is ended unless it is taken.
struct Started(Option<Child>);

impl Started {
    /// Waits until QEMU connects to `listener`.
    fn accept(&mut self, listener: &UnixListener) -> Result<UnixStream> {
        listener.set_nonblocking(true)?;
        let start = Instant::now();
        loop {
            match listener.accept() {
                Ok((stream, _)) => return Ok(stream),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                Err(_) => {}
            }
            if let Some(status) = self.0.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("QEMU ended ({status})");
            }
            ensure!(start.elapsed() < PATIENCE, "QEMU does not connect");
            sleep(POLL);
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(end);
    }
}

/// Kills `child`, which may have ended by itself.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The archive of a VM's own files.
fn files(vm: &Vm) -> Result<Vec<u8>> {
    let mut archive = crate::archive::Archive::default();
    vm.files.iter().try_for_each(|(path, contents)| archive.file(path, contents))?;
    archive.finish()
}

fn said(folder: &TempDir) -> String {
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap_or_default();
    let text = |name: &str| String::from_utf8_lossy(&read(name)).trim().to_owned();
    format!("QEMU said: {:?}; the console: {}", text("errors"), text("console"))
}
