//! The programs that are fed: DPDK's testpmd, and Open vSwitch with its database, in a folder of their own. They end
//! with this program.

use super::feed::Feed;
use anyhow::{Context, Result, bail};
use sluice_guard::{bounded, tie};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SWITCH: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// Time that a command may take: the switch's first one waits for DPDK's memory.
const PATIENCE: Duration = Duration::from_secs(60);
/// The bridge, and its ports: where packets come from, and where they go.
const BRIDGE: &str = "sluice-bench";
const PORTS: [(&str, &str); 2] = [("n0", "net_null0,size=60"), ("n1", "net_null1,size=60,no-rx=1")];

/// A program that is killed when it is dropped.
struct Running(Child);

impl Running {
    /// Starts `command`, whose output goes to a file in `folder`.
    fn start(command: &mut Command, folder: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let log = File::create(folder.join(Path::new(&name).file_name().unwrap_or_default()).with_extension("out"))?;
        let command = command.stdout(log.try_clone()?).stderr(log);
        Ok(Self(tie(command).spawn().context(name)?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Feeds `command` by `library`.
fn fed<'c>(command: &'c mut Command, library: &Path, feed: &Feed) -> &'c mut Command {
    command.env("LD_PRELOAD", library).env("FEED", feed.path())
}

/// DPDK's testpmd, which passes packets on as they are.
pub struct Testpmd {
    /// It ends when nobody can type any more, so the input is kept.
    _running: Running,
}

impl Testpmd {
    /// Starts it, fed by `library`, with its commands on the first of `cpus` and its loop on the second one.
    pub fn start(library: &Path, feed: &Feed, folder: &Path, cpus: [usize; 2]) -> Result<Self> {
        let mut command = Command::new("dpdk-testpmd");
        command.args(["--no-huge", "--no-pci", "--no-telemetry", "--no-shconf", "-m", "512"]);
        command.args(["-l", &format!("{},{}", cpus[0], cpus[1]), "--main-lcore", &cpus[0].to_string()]);
        command.args(PORTS.iter().flat_map(|(_, device)| ["--vdev", device]));
        command.args(["--", "--forward-mode=io", "--auto-start", "--burst=32", "--total-num-mbufs=8192"]);
        command.stdin(Stdio::piped()).env("XDG_RUNTIME_DIR", folder);
        Ok(Self { _running: Running::start(fed(&mut command, library, feed), folder)? })
    }
}

/// Open vSwitch.
pub struct Switch {
    folder: PathBuf,
    switch: Running,
    _database: Running,
}

impl Switch {
    /// Starts it, fed by `library`, with its loop on processor `cpu`, a bridge and two ports.
    pub fn start(library: &Path, feed: &Feed, folder: &Path, cpu: usize) -> Result<Self> {
        let database = folder.join("conf.db");
        run(Command::new("ovsdb-tool").arg("create").arg(&database).arg(SCHEMA))?;
        let mut server = Command::new("ovsdb-server");
        server.arg(&database).arg(format!("--remote=punix:{}", folder.join("db.sock").display()));
        let control = |name: &str| format!("--unixctl={}", folder.join(name).display());
        let server = Running::start(within(&mut server, folder).arg(control("db.ctl")), folder)?;
        wait_for(&folder.join("db.sock"))?;
        let extra = "other_config:dpdk-extra=--no-huge --legacy-mem -m 1500 --no-pci --no-telemetry";
        let mask = format!("other_config:pmd-cpu-mask={:#x}", 1u128 << (cpu % 128));
        vsctl(folder, &["--no-wait", "init"])?;
        vsctl(folder, &["--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true", extra, &mask])?;
        let mut program = Command::new(SWITCH);
        within(&mut program, folder).arg(format!("unix:{}", folder.join("db.sock").display())).arg(control("sw.ctl"));
        let switch = Running::start(fed(&mut program, library, feed), folder)?;
        let mut switch = Self { folder: folder.to_owned(), switch, _database: server };
        let made = switch.make_bridge();
        if let Some(status) = switch.switch.0.try_wait()? {
            bail!("ovs-vswitchd ended: {status}; {}", switch.last_words());
        }
        made.map(|()| switch)
    }

    fn make_bridge(&self) -> Result<()> {
        let bridge = ["--", "set", "bridge", BRIDGE, "datapath_type=netdev", "fail_mode=secure"];
        self.configure(&[&["--timeout=50", "add-br", BRIDGE], &bridge[..]].concat())?;
        for (number, (name, device)) in (1..).zip(PORTS) {
            let (device, number) = (format!("options:dpdk-devargs={device}"), format!("ofport_request={number}"));
            let port = ["add-port", BRIDGE, name, "--", "set", "interface", name, "type=dpdk", &device, &number];
            self.configure(&[&["--timeout=50"], &port[..]].concat())?;
        }
        Ok(())
    }

    /// Returns the end of what the switch printed.
    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.folder.join("ovs-vswitchd-dpdk.out")).unwrap_or_default();
        text.lines().rev().find(|line| line.contains("|ERR|") || line.contains("|EMER|")).unwrap_or_default().to_owned()
    }

    /// Calls ovs-vsctl.
    pub fn configure(&self, words: &[&str]) -> Result<()> {
        vsctl(&self.folder, words).map(drop)
    }

    /// Calls ovs-ofctl for the bridge, with the word that says what to do and those behind the bridge's name.
    pub fn openflow(&self, verb: &str, words: &[&str]) -> Result<()> {
        let mut command = Command::new("ovs-ofctl");
        within(&mut command, &self.folder).args(["-O", "OpenFlow13", verb, BRIDGE]).args(words);
        run(&mut command).map(drop)
    }

    /// Calls ovs-appctl, and returns what it prints.
    pub fn ask(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new("ovs-appctl");
        run(within(&mut command, &self.folder).arg("-t").arg(self.folder.join("sw.ctl")).args(words))
    }

    /// Returns the numbers that both ports have in the datapath.
    pub fn ports(&self) -> Result<[u32; 2]> {
        let text = self.ask(&["dpctl/show"])?;
        let number = |(name, _)| number_of(&text, name).with_context(|| format!("no port {name}: {text}"));
        let [from, to] = PORTS.map(number);
        Ok([from?, to?])
    }
}

/// Returns the number of port `name`, by the text of dpctl/show: "  port 2: n0 (dpdk: ..)".
fn number_of(text: &str, name: &str) -> Option<u32> {
    let mut ports = text.lines().filter_map(|line| line.trim().strip_prefix("port ")?.split_once(": "));
    let (number, _) = ports.find(|(_, rest)| rest.split_whitespace().next() == Some(name))?;
    number.parse().ok()
}

/// Keeps all that a program of Open vSwitch writes in `folder`.
fn within<'c>(command: &'c mut Command, folder: &Path) -> &'c mut Command {
    let names = ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "XDG_RUNTIME_DIR"];
    command.envs(names.map(|name| (name, folder))).stdin(Stdio::null())
}

fn vsctl(folder: &Path, words: &[&str]) -> Result<String> {
    let mut command = Command::new("ovs-vsctl");
    within(&mut command, folder).arg(format!("--db=unix:{}", folder.join("db.sock").display())).args(words);
    run(&mut command)
}

/// Runs `command` to its end, and returns what it prints.
fn run(command: &mut Command) -> Result<String> {
    let ended = bounded(command, PATIENCE)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !ended.status.success() {
        bail!("{command:?}: {}", text(&ended.errors).trim());
    }
    Ok(text(&ended.output))
}

/// Waits until there is a file.
fn wait_for(path: &Path) -> Result<()> {
    let start = Instant::now();
    while !path.exists() {
        if start.elapsed() > PATIENCE {
            bail!("{} does not appear", path.display());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_the_number_of_its_own_line() {
        let text =
            "netdev@ovs-netdev:\n  flows: 0\n  port 0: ovs-netdev (tap)\n  port 12: n0 (dpdk: x=1)\n  port 3: n01";
        assert_eq!((number_of(text, "n0"), number_of(text, "n01"), number_of(text, "n1")), (Some(12), Some(3), None));
    }
}
