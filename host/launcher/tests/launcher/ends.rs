//! However a run ends, it ends whole: no process is left, the last line says why, and so does the exit code.

use crate::common::{Launcher, finished, runs, until};
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Notes the numbers of a process, of one in its group, and of one in a session of its own; then goes on for long.
const FAMILY: &str =
    "sleep 1000 & echo $! >> $SLUICE_OUT/pids; setsid sh -c 'echo $$ >> $SLUICE_OUT/pids; exec sleep 1000' &
     echo $$ >> $SLUICE_OUT/pids; until [ $(wc -l < $SLUICE_OUT/pids) = 3 ]; do :; done; echo ready
     while :; do sleep 1000; done";

fn signal(child: u32, name: &str) {
    let pid = child.to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill").success());
}

/// A launcher whose VM is a family, and their numbers.
fn family(launcher: &Launcher) -> (Child, Vec<String>) {
    let child = launcher.command().stdout(Stdio::piped()).spawn().expect("the launcher");
    let pids = launcher.lines_of("out/pids", 3);
    assert!(pids.iter().all(|pid| runs(pid)), "{pids:?}");
    (child, pids)
}

#[test]
fn a_signal_ends_the_run_in_order() {
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
        let launcher = Launcher::of(FAMILY);
        let (child, pids) = family(&launcher);
        signal(child.id(), name);
        let (exit, lines) = finished(&child.wait_with_output().expect("its end"));
        assert!(!pids.iter().any(|pid| runs(pid)), "{name}: {pids:?}");
        assert_eq!(
            (exit, lines.last().cloned()),
            (Some(code), Some(format!("[launcher] RESULT fail: stopped by SIG{name}")))
        );
    }
}

#[test]
fn no_process_outlives_a_launcher_that_is_killed() {
    let launcher = Launcher::of(FAMILY);
    let (mut child, pids) = family(&launcher);
    child.kill().expect("a process");
    child.wait().expect("its end");
    until(|| !pids.iter().any(|pid| runs(pid)));
}

/// The process that the VMs are children of; its parent says the verdict then.
#[test]
fn no_process_outlives_the_inner_process_that_is_killed() {
    for (name, code) in [("KILL", 137), ("ABRT", 134)] {
        let launcher = Launcher::of(FAMILY);
        let (child, pids) = family(&launcher);
        let inner = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).expect("its children");
        signal(inner.trim().parse().expect("one child"), name);
        let (exit, lines) = finished(&child.wait_with_output().expect("its end"));
        assert!(!pids.iter().any(|pid| runs(pid)), "{name}: {pids:?}");
        let verdict = format!("[launcher] RESULT fail: the launcher was ended by SIG{name}");
        assert_eq!((exit, lines.last()), (Some(code), Some(&verdict)));
    }
}

#[test]
fn a_vm_that_ended_leaves_nobody_behind_and_nobody_is_waited_for() {
    let launcher = Launcher::of(&FAMILY.replace("while :; do sleep 1000; done", "exit 0"));
    let start = Instant::now();
    let (exit, lines) = launcher.run();
    assert_eq!((exit, lines.last().map(String::as_str)), (Some(0), Some("[launcher] RESULT pass")));
    assert!(lines.contains(&"[a] ready".into()), "{lines:?}");
    assert!(!launcher.lines_of("out/pids", 3).iter().any(|pid| runs(pid)));
    assert!(start.elapsed() < Duration::from_secs(100), "somebody was waited for");
}

#[test]
fn a_vm_that_starts_again_finds_nobody_of_its_last_life() {
    let script = "state() { cut -d ' ' -f 3 /proc/$(cat $SLUICE_OUT/pids)/stat 2>/dev/null; }
                  if [ -e $SLUICE_OUT/pids ]; then [ \"$(state)\" != S ]; exit $?; fi
                  sleep 1000 & echo $! > $SLUICE_OUT/pids; exit 0";
    let (exit, lines) = Launcher::new().vm("a", script, "restarts = 1").run();
    assert_eq!(exit, Some(0), "{lines:?}");
}

#[test]
fn the_time_limit_holds_whoever_reads() {
    let launcher = Launcher::new().vm("a", "exec cat /dev/zero", "").vm("b", FAMILY, "");
    // Nobody reads: both pipes are full long before.
    let mut child = launcher.command().args(["--timeout", "1"]).stdout(Stdio::piped()).spawn().expect("the launcher");
    let status = child.wait().expect("its end");
    assert_eq!(status.code(), Some(1));
    assert!(!launcher.lines_of("out/pids", 3).iter().any(|pid| runs(pid)));
    let (exit, lines) = finished(&launcher.command().args(["--timeout", "1"]).output().expect("the launcher"));
    let verdict = "[launcher] RESULT fail: vm a, b still runs after 1 s";
    assert_eq!((exit, lines.last().map(String::as_str)), (Some(1), Some(verdict)));
}

#[test]
fn time_limits_of_any_size_are_understood_or_refused() {
    let launcher = Launcher::of("exit 0");
    let code =
        |limit: &str| launcher.command().args(["--timeout", limit]).output().expect("the launcher").status.code();
    let limits = ["0", "-1", "18446744073709551616", "soon", "1", "9223372036854775808", "18446744073709551615"];
    assert_eq!(limits.map(code), [2, 2, 2, 2, 0, 0, 0].map(Some));
}

#[test]
fn a_reader_that_goes_away_is_no_failure_and_a_full_disk_is() {
    let launcher =
        Launcher::of("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; echo done > $SLUICE_OUT/done");
    let mut child = launcher.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the launcher");
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("its end").code(), Some(0));
    assert_eq!(launcher.lines_of("out/done", 1), ["done"]);
    let full = File::options().write(true).open("/dev/full").expect("a device");
    assert_eq!(launcher.command().stdout(full).status().expect("the launcher").code(), Some(1));
}

#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let launcher = Launcher::of(FAMILY);
    let mut command = launcher.command_behind(&["nohup"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the launcher");
    let pids = launcher.lines_of("out/pids", 3);
    signal(child.id(), "HUP");
    // It would end within moments.
    sleep(Duration::from_millis(300));
    assert!(child.try_wait().expect("a process").is_none());
    signal(child.id(), "TERM");
    let (exit, lines) = finished(&child.wait_with_output().expect("its end"));
    assert_eq!(
        (exit, lines.last().map(String::as_str)),
        (Some(143), Some("[launcher] RESULT fail: stopped by SIGTERM"))
    );
    assert!(!pids.iter().any(|pid| runs(pid)));
}

/// Whatever can't be had, there is a verdict.
#[test]
fn a_launcher_without_descriptors_says_so() {
    let launcher = Launcher::new().vm("a", "exit 0", "peers = [\"b\"]").vm("b", "exit 0", "");
    for most in (4..40).step_by(3) {
        let limit = format!("ulimit -n {most}; exec \"$@\"");
        let output = launcher.command_behind(&["sh", "-c", &limit, "sh"]).output().expect("the launcher");
        let (exit, lines) = finished(&output);
        let verdict = lines.last().cloned().unwrap_or_default();
        let failed = verdict.starts_with("[launcher] RESULT fail: ") && verdict.contains("Too many open files");
        assert!(if exit == Some(0) { verdict.ends_with("RESULT pass") } else { failed }, "{most}: {exit:?} {lines:?}");
    }
}

#[test]
fn memory_that_can_not_be_had_is_named() {
    let launcher = Launcher::of("exit 0");
    let (exit, lines) = finished(
        &launcher.command_behind(&["sh", "-c", "ulimit -f 1; exec \"$@\"", "sh"]).output().expect("the launcher"),
    );
    assert_eq!(exit, Some(1));
    assert!(lines.last().is_some_and(|line| line.contains("RESULT fail: vm \"a\": RAM: File too large")), "{lines:?}");
}

/// A sender whose request block says from now on that a call is under way.
const IN_A_CALL: &str = "printf '\\001' | dd of=/proc/self/fd/6 bs=1 seek=4088 conv=notrunc 2>/dev/null
    touch $SLUICE_OUT/calls; exec sleep 10";
/// A receiver that ends once it does.
const GOES: &str = "until [ -e $SLUICE_OUT/calls ]; do sleep 0.1; done; exit 0";

#[test]
fn a_sender_that_stays_in_a_call_to_a_peer_that_ended_is_ended() {
    let launcher = Launcher::new().vm("a", IN_A_CALL, "peers = [\"b\"]").vm("b", GOES, "");
    let (exit, lines) = launcher.run();
    let said = "[launcher] vm a stayed in a call to a peer that was taken away, and is ended";
    assert!(exit == Some(1) && lines.contains(&said.into()), "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("[launcher] RESULT fail: vm a stopped: SIGKILL"));
}

#[test]
fn a_sender_without_a_call_goes_on_when_its_peer_ends() {
    let sender = "touch $SLUICE_OUT/calls; sleep 3; exit 0";
    let (exit, lines) = Launcher::new().vm("a", sender, "peers = [\"b\"]").vm("b", GOES, "").run();
    assert!(exit == Some(0) && !lines.iter().any(|line| line.contains("stayed in a call")), "{lines:?}");
}
