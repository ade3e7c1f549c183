//! An Open vSwitch of one test: its own folder, database, control socket and bridge. It ends with the test.

use sluice_guard::{bounded, tie};
use sluice_openvswitch::unixctl::{Client, Limits};
use sluice_openvswitch::{Change, Config, DatapathFlow, OpenVswitch, PortConfig, Refusal, Sent, Ufid};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Number of ports of the bridge: ours are 0 to 3, in Open vSwitch p0 to p3, in OpenFlow 1 to 4.
pub const PORTS: u16 = 4;
/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Name of the control socket: that which a launcher looks for.
const CONTROL: &str = "ovs-vswitchd.ctl";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// A process that ends with its owner.
pub struct Process(Child);

impl Process {
    /// Starts `command`, of which the output goes to the file `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::create(log).expect("a file");
        command.stdin(std::process::Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        Self(tie(command).spawn().unwrap_or_else(|why| panic!("{command:?}: {why}")))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Lab {
    daemon: Option<Process>,
    /// The command in front of the daemon's, with the network that it has.
    before: Vec<String>,
    _database: Process,
    folder: TempDir,
}

impl Lab {
    /// Starts Open vSwitch with a bridge without rules.
    pub fn new() -> Self {
        Self::behind(Vec::new(), "dummy")
    }

    /// As [`Self::new`], with `before` in front of the daemon's command, and the datapath `datapath`: `netdev` also has
    /// devices of the host.
    pub fn behind(before: Vec<String>, datapath: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        run(Command::new("ovsdb-tool").arg("create").arg(at("conf.db")).arg(SCHEMA));
        let mut command = Command::new("ovsdb-server");
        command.args(["--no-chdir", &format!("--remote=punix:{}", at("db.sock").display())]);
        command.arg(format!("--unixctl={}", at("db.ctl").display())).arg(at("conf.db"));
        let database = start(&mut command, folder.path());
        wait_for(&at("db.sock"));
        let mut lab = Self { daemon: None, before, _database: database, folder };
        lab.start();
        let datapath = format!("datapath_type={datapath}");
        lab.vsctl(&["add-br", "br0", "--", "set", "bridge", "br0", &datapath, "fail-mode=secure"]);
        for number in 0..PORTS {
            let (name, of) = (format!("p{number}"), format!("ofport_request={}", number + 1));
            let stream = format!("options:pstream=punix:{}", lab.at(&name).display());
            lab.vsctl(&["add-port", "br0", &name, "--", "set", "interface", &name, "type=dummy", &stream, &of]);
        }
        (0..PORTS).for_each(|number| wait_for(&lab.at(&format!("p{number}"))));
        lab
    }

    /// Starts ovs-vswitchd.
    pub fn start(&mut self) {
        let words: Vec<_> = self.before.iter().map(String::as_str).chain(["ovs-vswitchd", "--no-chdir"]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("--disable-system");
        match self.before.is_empty() {
            true => command.args(["--enable-dummy=override", "--disable-system-route"]),
            false => command.arg("--enable-dummy"),
        };
        command.arg(format!("--unixctl={}", self.at(CONTROL).display()));
        command.arg(format!("unix:{}", self.at("db.sock").display()));
        self.daemon = Some(start(&mut command, self.folder.path()));
        wait_for(&self.at(CONTROL));
    }

    /// Kills ovs-vswitchd, which has no time to clean up.
    pub fn kill(&mut self) {
        self.daemon = None;
        for name in [CONTROL, "br0.mgmt", "p0", "p1", "p2", "p3"] {
            // Whoever is killed leaves sockets behind, and `wait_for` must not find them.
            let _ = std::fs::remove_file(self.at(name));
        }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn vsctl(&self, words: &[&str]) {
        let database = format!("--db=unix:{}", self.at("db.sock").display());
        run(Command::new("ovs-vsctl").arg(database).args(words).env("OVS_RUNDIR", self.folder.path()));
    }

    /// Runs ovs-ofctl on the bridge.
    pub fn ofctl(&self, verb: &str, words: &[&str]) -> String {
        let bridge = format!("unix:{}", self.at("br0.mgmt").display());
        run(Command::new("ovs-ofctl").args(["-O", "OpenFlow13", verb, &bridge]).args(words))
    }

    /// Replaces all rules by these, and those of the fence. The datapath has no flows of the old ones afterwards.
    pub fn rules(&self, switch: &OpenVswitch, rules: &[&str]) {
        let path = self.at("rules");
        let mut file = File::create(&path).expect("a file");
        writeln!(file, "{}{}", switch.fence_rules(), rules.join("\n")).expect("room");
        self.ofctl("replace-flows", &[path.to_str().expect("a path")]);
        self.call("revalidator/purge", &[]);
    }

    /// Returns what Open vSwitch answers to a command.
    pub fn call(&self, method: &str, params: &[&str]) -> String {
        let limits = Limits { patience: PATIENCE, ..Limits::default() };
        Client::new(&self.at(CONTROL), limits).call(method, params).unwrap_or_else(|why| panic!("{method}: {why}"))
    }

    pub fn config(&self) -> Config {
        let port =
            |number: u16| PortConfig { number, name: format!("p{number}"), socket: self.at(&format!("p{number}")) };
        Config {
            control: self.at(CONTROL),
            bridge: "br0".to_owned(),
            ports: (0..PORTS).map(port).collect(),
            period: Duration::from_millis(5),
            limits: Limits { patience: PATIENCE, ..Limits::default() },
        }
    }

    /// Returns the bridge, when all of its ports are connected at both ends.
    pub fn open(&self) -> OpenVswitch {
        let mut switch = OpenVswitch::open(&self.config()).expect("a configuration");
        self.rules(&switch, &[]);
        until("all ports are up", || {
            let tokens = (0..PORTS).filter_map(|port| switch.fence(port).expect("a port")).count();
            let end = Instant::now() + Duration::from_millis(100);
            let mut back = 0;
            while back < tokens && Instant::now() < end {
                switch.receive(32, |_, _| {});
                back += switch.fenced().count();
            }
            back == usize::from(PORTS)
        });
        switch
    }
}

/// What is known of the flows, kept up to date by changes alone.
#[derive(Default)]
pub struct Mirror {
    pub flows: BTreeMap<Ufid, DatapathFlow>,
    pub refused: Vec<(Ufid, Refusal)>,
}

impl Mirror {
    pub fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Added(flow) => assert!(self.flows.insert(flow.ufid, flow).is_none(), "added twice"),
                Change::Changed(flow) => assert!(self.flows.insert(flow.ufid, flow).is_some(), "changed, not added"),
                Change::Removed(ufid) => assert!(self.flows.remove(&ufid).is_some(), "removed, not added"),
                Change::Refused(ufid, why) => self.refused.push((ufid, why)),
            }
        }
    }

    /// Knows nothing any more but the flows that there are now.
    pub fn update_from_scratch(&mut self, switch: &mut OpenVswitch) {
        let mut changes = Self { flows: switch.flows().map(|(flow, _)| (flow.ufid, *flow)).collect(), refused: vec![] };
        changes.update(switch);
        *self = changes;
    }

    /// Reads all flows that there are now.
    pub fn update(&mut self, switch: &mut OpenVswitch) {
        let from = Instant::now();
        until("the flows are known", || {
            let seen = switch.poll_flows(Instant::now()).expect("flows");
            seen.is_some_and(|seen| {
                self.take(seen.changes);
                seen.asked >= from
            })
        });
    }
}

/// Sends a frame and returns all that Open vSwitch sends of it, with the ports: the fence says when that is all.
pub fn through(switch: &mut OpenVswitch, port: u16, frame: &[u8]) -> Vec<(u16, Vec<u8>)> {
    assert_eq!(switch.send(port, frame).expect("a port"), Sent::Queued);
    fenced(switch, &[port])
}

/// Sends frames, and waits until Open vSwitch has done with all of them.
pub fn train(switch: &mut OpenVswitch, frames: &[(u16, Vec<u8>)]) {
    // More could be too many for the queues of Open vSwitch.
    for some in frames.chunks(16) {
        for (port, frame) in some {
            assert_eq!(switch.send(*port, frame).expect("a port"), Sent::Queued);
        }
        fenced(switch, &[0, 1]);
    }
}

/// Waits until Open vSwitch has done with what these ports were given. Returns the frames that came meanwhile.
pub fn fenced(switch: &mut OpenVswitch, ports: &[u16]) -> Vec<(u16, Vec<u8>)> {
    let token = |port: &u16| switch.fence(*port).expect("a port").expect("it is up");
    let (mut tokens, mut frames) = (ports.iter().map(token).collect::<Vec<_>>(), Vec::new());
    until("the tokens are back", || {
        switch.receive(32, |port, frame| frames.push((port, frame.to_vec())));
        switch.fenced().for_each(|back| tokens.retain(|token| *token != back));
        std::thread::yield_now();
        tokens.is_empty()
    });
    frames
}

/// Calls `done` until it returns true.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
    }
}

fn wait_for(path: &Path) {
    until(&format!("{} is there", path.display()), || {
        sleep(Duration::from_millis(5));
        path.exists()
    });
}

fn start(command: &mut Command, folder: &Path) -> Process {
    command.env("OVS_RUNDIR", folder).env("OVS_LOGDIR", folder).env("OVS_DBDIR", folder);
    Process::start(command, &folder.join("log"))
}

/// Runs `command`, and returns its output. It has to succeed.
pub fn run(command: &mut Command) -> String {
    let ended = bounded(command, PATIENCE).unwrap_or_else(|why| panic!("{why}"));
    let [output, errors] = [ended.output, ended.errors].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(ended.status.success(), "{command:?}: {output}{errors}");
    output
}
