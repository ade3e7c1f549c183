//! What is said of an Open vSwitch behind an in-VM switch, by a launcher that is run with a daemon of the test's.

use crate::common::Launcher;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::spawn;

/// Ports of Open vSwitch: the VM `b` is the one with the number 2.
const PORTS: &str = "d@x: hit:0 missed:0\\n  br0:\\n    b 1/2: (dummy)\\n    other 3/9: (dummy)\\n";

/// A VM with an in-VM switch, behind which is Open vSwitch with its sockets in the launcher's folder, and others. It
/// does `script`.
fn launcher(script: &str, others: &[&str]) -> Launcher {
    let launcher = Launcher::new();
    let folder = launcher.folder.path().display().to_string();
    let peers: Vec<_> = others.iter().map(|name| format!("\"{name}\"")).collect();
    let flows = format!(
        "peers = [{}]\nflows = {{ switch = \"openvswitch\", folder = \"{folder}\", entries = 64, lists = 4 }}",
        peers.join(", ")
    );
    let launcher = launcher.vm("a", script, &flows);
    others.iter().fold(launcher, |launcher, name| launcher.vm(name, "", ""))
}

/// Ends when the flows were read once.
const UNTIL_READ: &str = "while [ ! -e $SLUICE_OUT/read ]; do sleep 0.01; done";

/// Answers for ever as Open vSwitch does that has these `flows`.
fn daemon(launcher: &Launcher, flows: &str) {
    let listener = UnixListener::bind(launcher.path("ovs-vswitchd.ctl")).expect("a socket");
    let (flows, read) = (flows.to_owned(), launcher.path("out/read"));
    spawn(move || listener.incoming().flatten().for_each(|stream| answer(&stream, &flows, &read)));
}

fn answer(mut stream: &UnixStream, flows: &str, read: &Path) {
    let mut request = [0; 4096];
    for id in 1.. {
        // Three answers are a round.
        if id == 5 {
            fs::write(read, "").expect("a file");
        }
        let len = stream.read(&mut request).unwrap_or(0);
        let is_dump = String::from_utf8_lossy(&request[..len]).contains("dpctl/dump-flows");
        let said = if is_dump { flows } else { PORTS };
        if len == 0 || write!(stream, "{{\"id\":{id},\"result\":\"{said}\",\"error\":null}}").is_err() {
            break;
        }
    }
}

/// A flow of frames that come in by a port with this number in the datapath.
fn refused(number: usize, port: u32) -> String {
    format!(
        "ufid:{number:08x}-0000-0000-0000-000000000000, recirc_id(0),in_port({port}),packet_type(ns=0,id=0),eth(),\
         eth_type(0x88b6), packets:0, bytes:0, used:never, dp:ovs, actions:ct\\n"
    )
}

#[test]
fn some_flows_that_a_table_can_not_have_are_named_and_all_are_counted() {
    let launcher = launcher(UNTIL_READ, &["b"]);
    let flows: String = (0..100).map(|at| refused(at, 9)).chain((100..200).map(|at| refused(at, 2))).collect();
    daemon(&launcher, &flows);
    let (exit, lines) = launcher.run();
    assert_eq!(exit, Some(0), "{lines:#?}");
    let named = lines.iter().filter(|line| line.starts_with("[launcher] openvswitch a: flow 000000"));
    assert!(named.clone().all(|line| line.ends_with("-0000-0000-0000-000000000000: no list has the action `ct`")));
    // Those of a port that is no VM's are none of this switch's.
    assert_eq!((named.count(), lines.iter().filter(|line| line.ends_with(" waiting=0 refused=100")).count()), (64, 1));
}

#[test]
fn open_vswitch_that_is_not_there_at_the_start_is_said() {
    let launcher = launcher("sleep 1", &["b"]);
    let (exit, lines) = launcher.run();
    assert_eq!(exit, Some(0), "{lines:#?}");
    let path = launcher.path("ovs-vswitchd.ctl");
    let said = format!("[launcher] openvswitch a: away: Open vSwitch is gone: {}: ", path.display());
    assert_eq!(lines.iter().filter(|line| line.starts_with(&said)).count(), 1, "{lines:#?}");
}

#[test]
fn ports_that_the_bridge_does_not_have_are_named() {
    let launcher = launcher(UNTIL_READ, &["b", "c", "d"]);
    daemon(&launcher, "");
    let (exit, lines) = launcher.run();
    assert_eq!(exit, Some(0), "{lines:#?}");
    let said: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("[launcher] openvswitch a: ")).collect();
    assert_eq!(said[..2], ["there", "ports that the bridge does not have: c, d"], "{lines:#?}");
}
