//! A launcher that is run, with shell scripts as images.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with images, and the manifest that names them.
pub struct Launcher {
    pub folder: TempDir,
    manifest: String,
}

impl Launcher {
    /// No VM yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["images", "files", "out"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        Self { folder, manifest: String::new() }
    }

    /// One VM, `a`, whose image does `script`.
    pub fn of(script: &str) -> Self {
        Self::new().vm("a", script, "")
    }

    /// One VM more; `rest` are more lines of its entry.
    pub fn vm(self, name: &str, script: &str, rest: &str) -> Self {
        self.file(&format!("images/{name}"), format!("#!/bin/sh\n{script}\n").as_bytes(), 0o755).named(name, rest)
    }

    /// The entry of a VM whose image is of the same name.
    pub fn named(mut self, name: &str, rest: &str) -> Self {
        self.manifest += &format!(
            "[[vm]]\nname = \"{name}\"\nram_mib = 4\nimage = \"{name}\"\ngate = \"direct\"\nargs = \"x\"\n{rest}\n"
        );
        self
    }

    /// A file in the folder.
    pub fn file(self, name: &str, bytes: &[u8], mode: u32) -> Self {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The launcher's command, with words of `before` in front.
    pub fn command_behind(&self, before: &[&str]) -> Command {
        self.command_with(before, &self.path("files"), &self.path("out"))
    }

    /// The same, with other folders.
    pub fn command_with(&self, before: &[&str], files: &Path, out: &Path) -> Command {
        let manifest = self.path("manifest.toml");
        if !manifest.exists() {
            fs::write(&manifest, &self.manifest).expect("a manifest");
        }
        let launcher = env!("CARGO_BIN_EXE_sluice-launcher");
        let mut words = before.iter().copied().chain([launcher]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).arg("--images").arg(self.path("images")).arg("--files").arg(files);
        command.arg("--out").arg(out).arg(&manifest).stdin(Stdio::null());
        command
    }

    /// The launcher's command. A hangup counts, whatever the tests were started by: `nohup` makes all that it starts
    /// ignore it.
    pub fn command(&self) -> Command {
        self.command_behind(&["env", "--default-signal=HUP"])
    }

    /// Exit code, and all lines.
    pub fn run(&self) -> (Option<i32>, Vec<String>) {
        finished(&self.command().output().expect("the launcher"))
    }

    /// The lines of the file `name`, once it has `count`.
    pub fn lines_of(&self, name: &str, count: usize) -> Vec<String> {
        let path = self.path(name);
        let lines =
            || -> Vec<String> { fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect() };
        until(|| lines().len() >= count);
        lines()
    }
}

/// Exit code, and all lines.
pub fn finished(output: &Output) -> (Option<i32>, Vec<String>) {
    let text = String::from_utf8_lossy(&output.stdout);
    (output.status.code(), text.lines().map(str::to_owned).collect())
}

/// Waits for something that comes.
#[track_caller]
pub fn until(mut come: impl FnMut() -> bool) {
    let start = Instant::now();
    while !come() {
        assert!(start.elapsed() < PATIENCE, "it does not come");
        sleep(Duration::from_millis(5));
    }
}

/// Whether the process with this number runs.
pub fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
