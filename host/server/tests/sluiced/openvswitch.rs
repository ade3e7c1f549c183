//! Open vSwitch beside the server: a bridge of its datapath in user space, without a kernel module, has the tap's
//! device as one of its ports.

use crate::host::*;
use crate::lab::*;
use sluice_guard::tie;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use tempfile::TempDir;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// An Open vSwitch of one test, with the bridge `br0`, in a namespace of its own, with which its devices end.
pub struct OpenVswitch {
    pub space: Namespace,
    children: Vec<Child>,
    folder: TempDir,
}

impl OpenVswitch {
    #[track_caller]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut switch = Self { space: Namespace::new(), children: Vec::new(), folder };
        let at = |name: &str| switch.at(name).display().to_string();
        run("ovsdb-tool", &["create", &at("conf.db"), SCHEMA]);
        let remote = format!("--remote=punix:{}", at("db.sock"));
        let database =
            ["ovsdb-server", &remote, &format!("--unixctl={}", at("db.ctl")), &at("conf.db")].map(str::to_owned);
        let (control, socket) = (format!("--unixctl={}", at("ctl")), format!("unix:{}", at("db.sock")));
        let daemon = ["ovs-vswitchd", "--disable-system", &control, &socket].map(str::to_owned);
        switch.start(&database, "db.sock");
        switch.start(&daemon, "ctl");
        switch.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev");
        switch
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a program, and waits for its socket.
    #[track_caller]
    fn start(&mut self, words: &[String], socket: &str) {
        let log = File::create(self.at(&format!("{socket}.log"))).expect("a log");
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.space.0])
            .args(words)
            .arg("--no-chdir")
            .env("OVS_RUNDIR", self.folder.path())
            .stderr(log);
        self.children.push(tie(&mut command).spawn().unwrap_or_else(|error| panic!("{}: {error}", words[0])));
        let socket = self.at(socket);
        until("Open vSwitch starts", || socket.exists());
    }

    /// Makes devices ports of the bridge.
    #[track_caller]
    pub fn add(&self, devices: &[&str]) {
        for device in devices {
            ip(&format!("link set {device} netns {}", self.space.0));
            ip(&format!("-n {} link set {device} up", self.space.0));
            self.vsctl(&format!("add-port br0 {device}"));
        }
    }

    #[track_caller]
    pub fn ofctl(&self, verb: &str, words: &[&str]) -> String {
        let bridge = format!("unix:{}", self.at("br0.mgmt").display());
        run("ovs-ofctl", &[&[verb, &*bridge], words].concat())
    }

    #[track_caller]
    pub fn vsctl(&self, words: &str) -> String {
        let database = format!("--db=unix:{}", self.at("db.sock").display());
        run("ovs-vsctl", &[&[&*database, "--timeout=10"], &*words.split(' ').collect::<Vec<_>>()].concat())
    }

    #[track_caller]
    pub fn appctl(&self, words: &[&str]) -> String {
        let control = self.at("ctl").display().to_string();
        run("ovs-appctl", &[&["--target", &*control], words].concat())
    }
}

impl Drop for OpenVswitch {
    fn drop(&mut self) {
        self.children.iter_mut().rev().for_each(|child| drop(child.kill().and_then(|()| child.wait())));
    }
}

#[test]
fn a_vm_reaches_the_bridge_of_an_open_vswitch_through_a_tap_with_tap_with_openvswitch() {
    let tap = Device::tap();
    let lab = Lab::new(&(vm('a', "lan = [\"up\"]") + &tap.table("lan = [\"a\"]\noffloads = false")));
    let (peer, mut a, switch) = (Peer::new(), lab.connect('a', SPLIT), OpenVswitch::new());
    switch.add(&[&tap.0, &peer.name]);
    // The first frames are the slow path's, and teach the bridge.
    for round in 0..10 {
        let numbers = round * 50..round * 50 + 50;
        send(&mut a, PEER, mac('a'), numbers.clone());
        let sent = numbers.clone().map(|number| frame(PEER, mac('a'), number)).collect::<Vec<_>>();
        assert_eq!(peer.take_all(50), sent);
        peer.send(&numbers.clone().map(|number| frame(mac('a'), PEER, number)).collect::<Vec<_>>());
        assert!(take_all(&mut a, 50).into_iter().eq(numbers));
    }
    let up = lab.tap("up");
    assert_eq!(["taken", "forwarded"].map(|name| up["counters"][name].as_u64()), [Some(500); 2]);
    let stations = switch.appctl(&["fdb/show", "br0"]);
    for address in ["02:00:00:00:00:61", "02:00:00:00:01:01"] {
        assert!(stations.contains(address), "{stations}");
    }
    let counted = switch.ofctl("dump-ports", &[&tap.0]);
    assert!(counted.contains("rx pkts=500,") && counted.contains("tx pkts=500,"), "{counted}");
    // What the bridge drops reaches nobody.
    switch.ofctl("add-flow", &["priority=9,dl_src=02:00:00:00:00:61,actions=drop"]);
    // Until then frames go by flows of before.
    switch.appctl(&["revalidator/wait"]);
    send(&mut a, PEER, mac('a'), 500..510);
    peer.nothing();
}
