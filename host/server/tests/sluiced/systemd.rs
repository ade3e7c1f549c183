//! What systemd does: it hands sockets over, and is told how far the server is.

use crate::lab::*;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;

/// Hands standard input and output over as systemd does: from descriptor 3 on, with the server's own number.
const HAND_OVER: &str = "export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$0\" \"$@\" 3<&0 4<&1 </dev/null >/dev/null";

/// A command that hands two sockets over to a server.
fn handing(sockets: [impl AsFd; 2]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", HAND_OVER, env!("CARGO_BIN_EXE_sluiced"), "run"]);
    let [one, other] = sockets.map(|socket| socket.as_fd().try_clone_to_owned().expect("a descriptor"));
    command.stdin(one).stdout(other);
    command
}

/// A folder with the control socket and that of VM a, on which nobody has served yet.
fn sockets() -> (TempDir, [UnixListener; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    let listen = |name: &str| UnixListener::bind(folder.path().join(name)).expect("a socket");
    let sockets = ["control.sock", "a.sock"].map(listen);
    (folder, sockets)
}

#[test]
fn sockets_that_systemd_hands_over_are_served_and_stay() {
    let (folder, sockets) = sockets();
    let mut lab = Lab::started_by(handing(sockets.each_ref()), folder, &pair());
    let (mut a, mut b) = (lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    send(&mut a, mac('b'), mac('a'), 0..10);
    assert_eq!(take_all(&mut b, 10).len(), 10);
    // A policy without the VM and one with it: somebody else listens at its socket, and the server has that one.
    lab.policy(&vm('b', ""));
    assert!(lab.ask(&["reload"]).status.success());
    assert!(a.is_over().expect("a socket") && lab.socket('a').exists());
    lab.policy(&pair());
    let output = lab.ask(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    drop(lab.connect('a', SPLIT));
    let (code, log) = lab.end(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    let warning = format!("no VM or channel in the policy does socket={}", lab.socket('a').display());
    assert_eq!(log.matches(&warning).count(), 1, "{log}");
    assert!(lab.socket('a').exists() && lab.file("control.sock").exists() && !lab.socket('b').exists());
    // Who connects while no server runs waits for the next one.
    let status = std::thread::scope(|scope| {
        let asked = scope.spawn(|| lab.ask(&["status"]));
        let mut next = handing(sockets.each_ref());
        next.arg(lab.file("policy.toml")).stderr(std::process::Stdio::null());
        let mut next = sluice_guard::tie(&mut next).spawn().expect("a server");
        let status = asked.join().expect("an answer").status;
        next.kill().and_then(|()| next.wait()).expect("killed");
        status
    });
    assert!(status.success());
}

#[test]
fn what_is_handed_over_and_is_no_socket_is_refused() {
    let (folder, [control, _]) = sockets();
    let file = OwnedFd::from(fs::File::open(folder.path()).expect("a folder"));
    fs::write(folder.path().join("policy.toml"), pair()).expect("a policy");
    let log = folder.path().join("log");
    let mut command = handing([control.as_fd(), file.as_fd()]);
    command.arg(folder.path().join("policy.toml")).stderr(fs::File::create(&log).expect("a log"));
    let (mut child, start) = (sluice_guard::tie(&mut command).spawn().expect("a server"), Instant::now());
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        assert!(start.elapsed() < PATIENCE, "it serves");
    };
    let error = fs::read_to_string(&log).expect("a log");
    assert!(status.code() == Some(1) && error.contains("socket 1 of LISTEN_FDS: fd 4 is not a socket"), "{error}");
}

#[test]
fn systemd_is_told_of_start_reload_and_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let told = || {
        let mut bytes = [0; 4_096];
        let len = socket.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluiced"));
    command.arg("run").env("NOTIFY_SOCKET", &path);
    let mut lab = Lab::started_by(command, folder, &pair());
    assert_eq!(told(), "READY=1\nSTATUS=serves 2 VMs\n");
    lab.policy(&(pair() + &vm('c', "")));
    kill_process(Pid::from_child(&lab.child), Signal::HUP).expect("sent");
    let reloading = told();
    let now = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(|number| number.trim().parse::<u64>());
    assert!(matches!(now, Some(Ok(1..))), "{reloading}");
    assert_eq!(told(), "READY=1\nSTATUS=serves 3 VMs\n");
    lab.policy("rubbish");
    assert_eq!(lab.ask(&["reload"]).status.code(), Some(1));
    assert!(told().starts_with("RELOADING=1\n"));
    assert_eq!(told(), "READY=1\nSTATUS=serves 3 VMs\n", "the policy stays as it is");
    assert_eq!(lab.end(Signal::TERM).0, Some(0));
    assert_eq!(told(), "STOPPING=1\n");
}
