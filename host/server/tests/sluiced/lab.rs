//! A server of its own for each test, and front-ends.

use serde_json::Value;
use sluice_abi::net::F;
use sluice_vhost_user::{Frontend, Request};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
pub const SPLIT: F = F::VERSION_1.union(F::EVENT_IDX);
pub const PACKED: F = SPLIT.union(F::RING_PACKED);
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// The address of VM `vm`.
pub fn mac(vm: char) -> [u8; 6] {
    [2, 0, 0, 0, 0, vm as u8]
}

/// The table of a VM.
pub fn vm(name: char, keys: &str) -> String {
    format!("[[vm]]\nname = \"{name}\"\nmac = \"02:00:00:00:00:{:02x}\"\n{keys}\n", name as u8)
}

/// Two VMs that may send to each other.
pub fn pair() -> String {
    vm('a', "lan = [\"b\"]") + &vm('b', "lan = [\"a\"]")
}

/// A server.
pub struct Lab {
    pub child: Child,
    folder: TempDir,
}

impl Lab {
    /// Starts a server with a policy of these VMs, and waits until it answers.
    pub fn new(vms: &str) -> Self {
        Self::with_words(vms, &[])
    }

    /// As [`Self::new`], with more words on the command line.
    pub fn with_words(vms: &str, words: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Self::run();
        command.args(words);
        Self::started_by(command, folder, vms)
    }

    /// As [`Self::new`], in `folder`, by a command that ends in `run` and is given the policy.
    pub fn started_by(command: Command, folder: TempDir, vms: &str) -> Self {
        let log = File::create(folder.path().join("log")).expect("a log");
        Self { child: Self::spawn(command, folder.path(), vms, log.into()), folder }
    }

    /// As [`Self::new`], with `log` as the server's standard error.
    pub fn with_log(vms: &str, log: Stdio) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { child: Self::spawn(Self::run(), folder.path(), vms, log), folder }
    }

    fn run() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluiced"));
        command.arg("run");
        command
    }

    fn spawn(mut command: Command, folder: &Path, vms: &str, log: Stdio) -> Child {
        Self::write(folder, vms);
        command.arg(folder.join("policy.toml")).stderr(log);
        let child = sluice_guard::tie(&mut command).spawn().expect("sluiced");
        let start = Instant::now();
        while !ask(folder, &["status"]).status.success() {
            assert!(start.elapsed() < PATIENCE, "no server");
            std::thread::sleep(Duration::from_millis(5));
        }
        child
    }

    fn write(folder: &Path, vms: &str) {
        let text = format!("[server]\nfolder = \"{}\"\n{vms}", folder.display());
        fs::write(folder.join("policy.toml"), text).expect("a policy");
    }

    /// Writes another policy.
    pub fn policy(&self, vms: &str) {
        Self::write(self.folder.path(), vms);
    }

    /// Kills the server as `kill -9` does, and starts another in its place.
    pub fn start_again(&mut self, vms: &str) {
        self.child.kill().and_then(|()| self.child.wait()).expect("killed");
        let log = File::create(self.file("log")).expect("a log");
        self.child = Self::spawn(Self::run(), self.folder.path(), vms, log.into());
    }

    pub fn socket(&self, vm: char) -> PathBuf {
        self.folder.path().join(format!("{vm}.sock"))
    }

    /// The path of a file beside the sockets.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command for the server.
    pub fn ask(&self, words: &[&str]) -> Output {
        ask(self.folder.path(), words)
    }

    /// Connects the front-end of VM `vm`.
    pub fn connect(&self, vm: char, features: F) -> Frontend {
        self.connect_with(vm, &Request { features, pairs: 1, size: 256 })
    }

    /// Connects the front-end of VM `vm` as it wants.
    pub fn connect_with(&self, vm: char, request: &Request) -> Frontend {
        let start = Instant::now();
        loop {
            match Frontend::connect(&self.socket(vm), request) {
                Ok(frontend) => return frontend,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
            }
        }
    }

    /// The state of VM `vm`.
    pub fn status(&self, vm: char) -> Value {
        self.state("vms", &vm.to_string())
    }

    /// The state of tap `tap`.
    pub fn tap(&self, tap: &str) -> Value {
        self.state("taps", tap)
    }

    fn state(&self, list: &str, name: &str) -> Value {
        let output = self.ask(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let all = status[list].as_array().expect("a list");
        all.iter().find(|it| it["name"] == name).expect("it is there").clone()
    }

    /// The counter `name` of VM `vm`.
    pub fn counter(&self, vm: char, name: &str) -> u64 {
        self.status(vm)["counters"][name].as_u64().expect("a counter")
    }

    /// Waits until the state of VM `vm` is as `is` wants.
    #[track_caller]
    pub fn until(&self, vm: char, is: impl Fn(&Value) -> bool) {
        self.until_state("vms", &vm.to_string(), is);
    }

    /// Waits until the state of tap `tap` is as `is` wants.
    #[track_caller]
    pub fn until_tap(&self, tap: &str, is: impl Fn(&Value) -> bool) {
        self.until_state("taps", tap, is);
    }

    #[track_caller]
    fn until_state(&self, list: &str, name: &str, is: impl Fn(&Value) -> bool) {
        let start = Instant::now();
        loop {
            let status = self.state(list, name);
            if is(&status) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{status}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends the server a signal, and waits for its end. Returns its exit code and what it logged.
    pub fn end(&mut self, signal: rustix::process::Signal) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("sent");
        let status = self.child.wait().expect("an end");
        (status.code(), fs::read_to_string(self.file("log")).expect("a log"))
    }

    /// The number of descriptors that the server has open, and of its shared mappings.
    pub fn open(&self) -> (usize, usize) {
        let folder = format!("/proc/{}", self.child.id());
        let maps = fs::read_to_string(format!("{folder}/maps")).expect("maps");
        let shared = |line: &&str| line.split(' ').nth(1).is_some_and(|access| access.ends_with('s'));
        (fs::read_dir(format!("{folder}/fd")).expect("fds").count(), maps.lines().filter(shared).count())
    }
}

impl Lab {
    /// The same as [`Lab::open`] at rest: a client that asked for the state may be there for a moment longer.
    pub fn open_at_rest(&self) -> (usize, usize) {
        let sample = |_| {
            std::thread::sleep(Duration::from_millis(2));
            self.open()
        };
        (0..20).map(sample).min().expect("samples")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn ask(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluiced"));
    command.arg(words[0]).arg("--control").arg(folder.join("control.sock")).args(&words[1..]);
    command.output().expect("sluiced")
}

/// Runs `sluiced` with these words. Returns its exit code, and what it printed and complained.
pub fn sluiced(words: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluiced")).args(words).output().expect("sluiced");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A frame with a number.
pub fn frame(destination: [u8; 6], source: [u8; 6], number: u32) -> Vec<u8> {
    [&destination[..], &source, &[0x88, 0xb5], &number.to_le_bytes(), &[number as u8; 46]].concat()
}

/// Sends frames with these numbers as there is room.
pub fn send(front: &mut Frontend, to: [u8; 6], from: [u8; 6], numbers: std::ops::Range<u32>) {
    let start = Instant::now();
    for number in numbers {
        while !front.send(0, &frame(to, from, number)).expect("a transmit queue") {
            front.flush(0).expect("published");
            assert!(start.elapsed() < PATIENCE, "frame {number} finds no room");
        }
    }
    front.flush(0).expect("published");
}

/// Takes a frame, and returns its number.
pub fn take(front: &mut Frontend) -> Option<u32> {
    let mut bytes = [0; 2_048];
    let len = front.receive(0, &mut bytes).expect("a receive queue")?;
    front.flush(0).expect("published");
    let number = u32::from_le_bytes(bytes[14..18].try_into().expect("four"));
    assert_eq!(bytes[18..len], [number as u8; 46], "frame {number} is whole");
    Some(number)
}

/// Takes `count` frames, and returns their numbers.
#[track_caller]
pub fn take_all(front: &mut Frontend, count: usize) -> Vec<u32> {
    let (start, mut all) = (Instant::now(), Vec::new());
    while all.len() < count {
        all.extend(take(front));
        assert!(start.elapsed() < PATIENCE, "{} of {count} frames: {all:?}", all.len());
    }
    all
}

/// Asserts that no frame comes for a while.
#[track_caller]
pub fn nothing(front: &mut Frontend) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(50) {
        assert_eq!(take(front), None);
    }
}
