//! What a server and its commands say.

use crate::lab::*;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

#[test]
fn check_says_what_a_policy_means_or_which_line_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("p.toml");
    let word = path.to_str().expect("text");
    fs::write(&path, vm('a', "lan = [\"b\"]") + &vm('b', "limit = { bits_per_second = 1000 }")).expect("a policy");
    let (code, text, _) = sluiced(&["check", word]);
    assert_eq!(code, Some(0));
    for line in ["vm a: 02:00:00:00:00:61", "sends to b", "gets no answer from b", "at most 1000 bits a second"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (code, json, _) = sluiced(&["check", "--json", word]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, json["vms"][0]["lan"][0].as_str()), (Some(0), Some("b")));
    fs::write(&path, vm('a', "lan = [\"c\"]")).expect("a policy");
    let (code, _, error) = sluiced(&["check", word]);
    assert_eq!(
        (code, error.trim()),
        (Some(3), format!("sluiced: {word}:4: vm \"a\": lan \"c\": no such vm or tap").as_str())
    );
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).expect("a policy");
    assert!(sluiced(&["check", word]).2.contains("longer than 1048576 bytes"));
}

#[test]
fn each_failure_has_its_exit_code() {
    assert_eq!(sluiced(&["no-such-command"]).0, Some(2));
    assert_eq!(sluiced(&["run", "/no/such/file"]).0, Some(3));
    assert_eq!(sluiced(&["status", "--control", "/no/such/socket"]).0, Some(4));
    let lab = Lab::new(&pair());
    assert_eq!(lab.ask(&["capture", "z", "/dev/null"]).status.code(), Some(1), "no VM z");
    let second = sluiced(&["run", lab.file("policy.toml").to_str().expect("text")]);
    assert_eq!(second.0, Some(1));
    assert!(second.2.contains("another server runs there"), "{}", second.2);
}

#[test]
fn a_capture_has_every_frame_whole() {
    let lab = Lab::new(&pair());
    let (mut a, mut b) = (lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    let file = lab.file("a.pcap");
    std::thread::scope(|scope| {
        let capture = scope.spawn(|| lab.ask(&["capture", "a", file.to_str().expect("text"), "--seconds", "2"]));
        while fs::metadata(&file).map_or(0, |file| file.len()) < 24 {
            std::thread::yield_now();
        }
        send(&mut a, mac('b'), mac('a'), 0..10);
        assert_eq!(take_all(&mut b, 10).len(), 10);
        send(&mut b, mac('a'), mac('b'), 10..15);
        assert!(capture.join().expect("ended").status.success());
    });
    let bytes = fs::read(&file).expect("a capture");
    assert_eq!(bytes.len(), 24 + 15 * (16 + 64), "15 frames of 64 bytes");
    for (number, record) in (0..).zip(bytes[24..].chunks(80)) {
        let (to, from) = if number < 10 { ('b', 'a') } else { ('a', 'b') };
        assert_eq!(record[16..], frame(mac(to), mac(from), number)[..]);
    }
}

#[test]
fn the_file_that_the_policy_names_has_the_frames_when_the_server_ends() {
    let mut lab = Lab::new(&(vm('a', "lan = [\"b\"]\ncapture = \"a.pcap\"") + &vm('b', "")));
    let (mut a, mut b) = (lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    send(&mut a, mac('b'), mac('a'), 0..7);
    assert_eq!(take_all(&mut b, 7).len(), 7);
    assert_eq!(lab.end(rustix::process::Signal::TERM).0, Some(0));
    assert_eq!(fs::read(lab.file("a.pcap")).map(|bytes| bytes.len()).ok(), Some(24 + 7 * 80));
}

#[test]
fn a_client_that_breaks_the_rules_is_answered_and_gone() {
    let lab = Lab::new(&pair());
    let ask = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(lab.file("control.sock")).expect("a server");
        stream.write_all(bytes).expect("written");
        let mut answer = String::new();
        // The server may close while there is more to read.
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(ask(b"hello\n").contains("failed"), "no request");
    assert!(ask(b"{\"command\":\"stop\"}\n").contains("unknown variant"));
    assert!(ask(&[b'x'; 4_096]).contains("failed"), "no line");
    let idle: Vec<_> = (0..20).map(|_| UnixStream::connect(lab.file("control.sock")).expect("a server")).collect();
    // Those that say nothing keep the others waiting for as long as a request may take, and no longer.
    assert!(lab.ask(&["status"]).status.success());
    drop(idle);
}

#[test]
fn the_live_view_goes_on_until_it_is_stopped() {
    let lab = Lab::new(&pair());
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluiced"));
    command.arg("status").arg("--watch").arg("--control").arg(lab.file("control.sock"));
    command.stdout(std::process::Stdio::piped());
    let mut child = sluice_guard::tie(&mut command).spawn().expect("sluiced");
    let (mut out, mut text) = (child.stdout.take().expect("output"), Vec::new());
    while !String::from_utf8_lossy(&text).contains("a second:") {
        let mut bytes = [0; 4_096];
        let len = out.read(&mut bytes).expect("output");
        assert!(len > 0, "it has ended");
        text.extend(&bytes[..len]);
    }
    child.kill().and_then(|()| child.wait()).expect("killed");
}
