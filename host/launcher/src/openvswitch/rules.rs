//! The OpenFlow rules that tokens need. `ovs-ofctl` adds them, and nobody waits for it.

use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Time between two starts of the program, at least.
const PAUSE: Duration = Duration::from_millis(500);
/// Bytes of what the program says that are read.
const SAID: usize = 200;

/// The rules of one bridge.
pub struct Rules {
    /// The program and its first words.
    program: Vec<String>,
    /// The bridge's management socket, as the program wants it.
    bridge: String,
    /// A line for each.
    text: String,
    /// They may be missing, and nobody adds them yet.
    are_wanted: bool,
    /// The program while it runs, and the file into which it writes why it fails.
    adding: Option<(Child, File)>,
    /// When it was started last.
    started: Option<Instant>,
}

impl Rules {
    /// Returns rules that nobody wants yet. `management` is where the bridge is told its rules.
    pub fn new(management: &Path, text: String) -> Self {
        let bridge = format!("unix:{}", management.display());
        Self { program: vec!["ovs-ofctl".to_owned()], bridge, text, are_wanted: false, adding: None, started: None }
    }

    /// Has the rules added, which may be missing. Those that are there stay.
    pub fn want(&mut self) {
        self.are_wanted = true;
    }

    /// Goes on with adding, without waiting. Returns how it ended, when it did. What failed is tried again.
    pub fn turn(&mut self, now: Instant) -> Option<io::Result<()>> {
        if let Some((child, errors)) = &mut self.adding {
            let added = child.try_wait().transpose()?.and_then(|status| added(status, errors));
            self.adding = None;
            self.are_wanted |= added.is_err();
            return Some(added);
        }
        if !self.are_wanted || self.started.is_some_and(|started| now.saturating_duration_since(started) < PAUSE) {
            return None;
        }
        self.started = Some(now);
        match self.start() {
            Ok(adding) => (self.adding, self.are_wanted) = (Some(adding), false),
            Err(error) => return Some(Err(error)),
        }
        None
    }

    fn start(&self) -> io::Result<(Child, File)> {
        let [rules, errors] = [file()?, file()?];
        // The program reads from the file's position, which stays at 0.
        rules.write_all_at(self.text.as_bytes(), 0)?;
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).args(["-O", "OpenFlow13", "--timeout=5", "add-flows", &self.bridge, "-"]);
        command.stdin(rules).stdout(Stdio::null()).stderr(errors.try_clone()?);
        Ok((sluice_guard::tie(&mut command).spawn()?, errors))
    }
}

/// Returns a file that is no pipe: nobody waits for its other end.
fn file() -> io::Result<File> {
    Ok(memfd_create("rules", MemfdFlags::CLOEXEC)?.into())
}

/// Returns whether the program added the rules, or the first line of what it wrote.
fn added(status: ExitStatus, errors: &File) -> io::Result<()> {
    if status.success() {
        return Ok(());
    }
    let mut said = [0; SAID];
    let len = errors.read_at(&mut said, 0)?;
    let said = String::from_utf8_lossy(&said[..len]);
    Err(io::Error::other(format!("ovs-ofctl: {status}: {}", said.lines().next().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::thread::sleep;

    /// The rules of a bridge, with a shell script in place of ovs-ofctl.
    fn rules(script: &str) -> Rules {
        let program = ["sh", "-c", script, "ovs-ofctl"].map(str::to_owned).to_vec();
        Rules { program, ..Rules::new(Path::new("/nowhere/br0.mgmt"), "one\ntwo\n".to_owned()) }
    }

    /// Turns until the program ended.
    fn ended(rules: &mut Rules, now: Instant) -> io::Result<()> {
        loop {
            if let Some(added) = rules.turn(now) {
                return added;
            }
            assert!(rules.adding.is_some(), "nobody adds the rules");
            sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn rules_are_added_when_they_are_wanted_and_again_after_a_pause() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut rules = rules(&format!("cd {}; echo \"$@\" >>words; cat >>rules", folder.path().display()));
        let now = Instant::now();
        assert!(rules.turn(now).is_none() && rules.adding.is_none());
        rules.want();
        ended(&mut rules, now).expect("a program that succeeds");
        let words = fs::read_to_string(folder.path().join("words")).expect("words");
        assert_eq!(words, "-O OpenFlow13 --timeout=5 add-flows unix:/nowhere/br0.mgmt -\n");
        rules.want();
        assert!(rules.turn(now + PAUSE / 2).is_none() && rules.adding.is_none());
        ended(&mut rules, now + PAUSE).expect("a program that succeeds");
        assert_eq!(fs::read_to_string(folder.path().join("rules")).expect("rules"), "one\ntwo\n".repeat(2));
        // They are there now.
        assert!(rules.turn(now + 9 * PAUSE).is_none() && rules.adding.is_none());
    }

    #[test]
    fn a_bridge_that_takes_no_rules_is_asked_again_and_the_reason_is_said() {
        let mut rules = rules("echo a reason >&2; echo more >&2; exit 3");
        rules.want();
        let now = Instant::now();
        for round in 0..3 {
            let error = ended(&mut rules, now + round * PAUSE).expect_err("a program that fails").to_string();
            assert_eq!(error, "ovs-ofctl: exit status: 3: a reason");
        }
        rules.program = vec!["/nowhere/ovs-ofctl".to_owned()];
        assert!(ended(&mut rules, now + 3 * PAUSE).is_err() && rules.are_wanted);
    }

    #[test]
    fn nobody_waits_for_who_adds_the_rules() {
        let mut rules = rules("exec sleep 600");
        rules.want();
        let now = Instant::now();
        for _ in 0..3 {
            assert!(rules.turn(now + 3 * PAUSE).is_none());
        }
        let (mut child, _) = rules.adding.expect("a program that runs");
        assert!(now.elapsed() < Duration::from_secs(300));
        child.kill().expect("it runs");
        child.wait().expect("its end");
    }
}
