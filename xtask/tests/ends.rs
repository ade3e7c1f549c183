//! However a command ends: no process is left, and the exit code says how.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A hangup counts, whatever the tests were started by: `nohup` makes all that it starts ignore it.
fn xtask() -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_xtask")]).stdin(Stdio::null());
    command
}

/// Waits for something that comes.
#[track_caller]
fn until(mut come: impl FnMut() -> bool) {
    let start = Instant::now();
    while !come() {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not come");
        sleep(Duration::from_millis(5));
    }
}

fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A command that waits for a cargo which does not end, and the numbers of that and of one that it started in another
/// session.
fn stuck(folder: &TempDir) -> (Child, Vec<String>) {
    let (cargo, pids) = (folder.path().join("cargo"), folder.path().join("pids"));
    let script = format!(
        "#!/bin/sh\nsetsid sh -c 'echo $$ >> {0}; exec sleep 1000' &\necho $$ >> {0}\nwhile :; do sleep 1000; done\n",
        pids.display()
    );
    fs::write(&cargo, script).expect("a script");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("its mode");
    let mut command = xtask();
    command.args(["bench", "--embedded"]).env("CARGO", cargo).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().expect("xtask");
    let numbers =
        || -> Vec<String> { fs::read_to_string(&pids).unwrap_or_default().lines().map(str::to_owned).collect() };
    until(|| numbers().len() == 2);
    (child, numbers())
}

#[test]
fn what_a_command_started_ends_with_it() {
    for (signal, code) in [("INT", Some(130)), ("TERM", Some(143)), ("HUP", Some(129)), ("KILL", None)] {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut child, pids) = stuck(&folder);
        assert!(pids.iter().all(|pid| runs(pid)));
        let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().expect("kill");
        assert_eq!((sent.success(), child.wait().expect("its end").code()), (true, code), "{signal}");
        until(|| !pids.iter().any(|pid| runs(pid)));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut child =
        xtask().args(["mutate", "--list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("xtask");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("its end");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(141), ""));
    let full = fs::File::options().write(true).open("/dev/full").expect("a device");
    let output = xtask().args(["mutate", "--list"]).stdout(full).stderr(Stdio::piped()).output().expect("xtask");
    let error = "error: standard output: No space left on device (os error 28)\n";
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(1), error));
}

#[test]
fn a_failure_is_1_and_a_wrong_command_line_2() {
    let code = |arguments: &[&str]| xtask().args(arguments).output().expect("xtask").status.code();
    assert_eq!(code(&["mutate", "--only", "no such mutation"]), Some(1));
    assert_eq!([code(&["nonsense"]), code(&["bench", "--burst", "0"]), code(&["--help"])], [Some(2), Some(2), Some(0)]);
}
