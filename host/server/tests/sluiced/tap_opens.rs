//! How a tap is opened: what the host lacks is said in one line, and what another program left behind is no harm.

use crate::host::*;
use crate::lab::*;
use std::process::Command;
use tempfile::TempDir;

/// A policy with a tap at line 9, in a folder of its own.
fn policy(device: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.toml");
    let ports = vm('a', "lan = [\"up\"]") + &table("up", device, "lan = [\"a\"]");
    let text = format!("[server]\nfolder = \"{}\"\n{ports}", folder.path().display());
    std::fs::write(&path, text).expect("a policy");
    (folder, path.display().to_string())
}

/// What a server says that is started with this policy by `words`, in whose last place the server's words come, and
/// ends by itself.
#[track_caller]
fn refused(words: &[&str], policy: &str) -> String {
    let server = [env!("CARGO_BIN_EXE_sluiced"), "run", policy];
    let output = Command::new("timeout").arg("10").args(words).args(server).output().expect("timeout");
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn a_host_without_taps_is_told_what_to_load_with_tap() {
    let (_folder, policy) = policy("tap0");
    let hide = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /dev/net && exec \"$0\" \"$@\""];
    let said = refused(&hide, &policy);
    assert_eq!(
        said,
        format!("sluiced: {policy}:9: tap \"up\": device \"tap0\": /dev/net/tun is missing: modprobe tun")
    );
}

/// Root without the right to make devices.
const UNPRIVILEGED: [&str; 2] = ["setpriv", "--bounding-set=-net_admin"];

#[test]
fn who_may_not_make_a_device_is_told_the_command_that_does_and_runs_with_it_with_tap() {
    let name = fresh();
    let (_folder, policy) = policy(&name);
    let said = refused(&UNPRIVILEGED, &policy);
    let (why, command) = said.split_once("make it as root: ip ").unwrap_or_else(|| panic!("{said}"));
    assert!(why.starts_with(&format!("sluiced: {policy}:9: tap \"up\": device \"{name}\": Operation not ")), "{said}");
    let device = Device(name);
    ip(command);
    let mut server = Command::new(UNPRIVILEGED[0]);
    server.args(&UNPRIVILEGED[1..]).args([env!("CARGO_BIN_EXE_sluiced"), "run", &policy]);
    let mut server = sluice_guard::tie(&mut server).spawn().expect("a server");
    let control = policy.replace("policy.toml", "control.sock");
    until("the server runs", || sluiced(&["status", "--control", &control]).1.contains("open "));
    // Asked later, in its sandbox, it says the same, and goes on.
    let text = std::fs::read_to_string(&policy).expect("a policy");
    std::fs::write(&policy, text.replace(&device.0, "sl-none")).expect("a policy");
    let (code, _, said) = sluiced(&["reload", "--control", &control]);
    let why = "tap \"up\": device \"sl-none\": Operation not permitted (os error 1): make it as root: ip tuntap add ";
    assert!(code == Some(1) && said.contains(why), "{said}");
    assert!(sluiced(&["status", "--control", &control]).1.contains("open "));
    server.kill().and_then(|()| server.wait()).expect("killed");
}

#[test]
fn a_device_of_another_kind_or_program_is_refused_with_tap() {
    let (peer, env) = (Peer::new(), ["env"]);
    let (_folder, policy_of) = policy(&peer.name);
    assert!(refused(&env, &policy_of).ends_with("another program has it open"));
    let (_folder, policy_of) = policy("lo");
    assert!(refused(&env, &policy_of).contains("there is a device of this name that is no tap"));
}

/// Perl has the system calls by which QEMU, for instance, asks for the header of VIRTIO 1.0, of 12 bytes.
#[test]
fn a_header_that_another_program_left_longer_is_no_harm_with_tap() {
    for len in [10, 12, 20] {
        let tap = Device::tap();
        let script = "sysopen(T, '/dev/net/tun', 2) or die; \
             my ($request, $len) = (pack('a16 S x22', $ARGV[0], 0x5002), pack('i', $ARGV[1])); \
             ioctl(T, 0x400454ca, $request) or die; ioctl(T, 0x400454d8, $len) or die";
        run("perl", &["-e", script, &tap.0, &len.to_string()]);
        let lab = Lab::new(&(vm('a', "lan = [\"up\"]") + &tap.table("lan = [\"a\"]")));
        let (peer, mut a) = (Peer::beside(&tap.0), lab.connect('a', SPLIT));
        send(&mut a, PEER, mac('a'), 0..10);
        assert_eq!(peer.take_all(10), (0..10).map(|number| frame(PEER, mac('a'), number)).collect::<Vec<_>>());
        peer.send(&[frame(mac('a'), PEER, 10)]);
        assert_eq!(take_all(&mut a, 1), [10], "a header of {len} bytes");
    }
}
