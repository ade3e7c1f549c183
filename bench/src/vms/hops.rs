//! The ways from one VM to the next, and the processes of each.
//!
//! With a switch, one process of testpmd is VMs a and b: it sends from a what b received, and the other way round, so
//! that a fixed number of frames goes to and fro, and nobody makes or frees one. With a window, a process is VM g,
//! which makes frames, and b of testpmd frees them; in the chain VM f, a process too, takes them from its own queue and
//! puts them into b's.

use super::BURST;
use crate::clock::pin_thread;
use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sluice_report::vms::VmsRow;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vhost_peers::Format;
use vhost_peers::testpmd::{Forward, Options, Testpmd};

/// Entries of each queue of testpmd.
const RING: u16 = 256;
/// Frames on their way in each direction, where they go to and fro. No queue has less room.
const FLYING: u16 = 128;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A way from one VM to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through testpmd, as a switch of two ports.
    Testpmd(Format),
    /// Through `sluiced`, which has the same VMs.
    Sluiced(Format),
    /// From a process, through its window.
    Window(Format),
    /// The same, with a process in between that passes frames on. The rings are those of the last VM.
    Chain(Format),
}

/// All ways.
pub const WAYS: [Way; 8] = [
    Way::Testpmd(Format::Split),
    Way::Sluiced(Format::Split),
    Way::Window(Format::Split),
    Way::Chain(Format::Split),
    Way::Testpmd(Format::Packed),
    Way::Sluiced(Format::Packed),
    Way::Window(Format::Packed),
    Way::Chain(Format::Packed),
];

impl Way {
    const fn format(self) -> Format {
        match self {
            Self::Testpmd(format) | Self::Sluiced(format) | Self::Window(format) | Self::Chain(format) => format,
        }
    }

    /// Returns whether `other` is compared with this.
    pub fn is_rival_of(self, other: Self) -> bool {
        self != other && self == Self::Testpmd(other.format())
    }

    /// Returns a row without figures.
    pub fn row(self, frame: u16) -> VmsRow {
        let (by, path, cores, hops, copies) = match self {
            Self::Testpmd(_) => ("testpmd", "a-switch-b", "a+b | switch", 2, 2),
            Self::Sluiced(_) => ("sluiced", "a-switch-b", "a+b | switch", 2, 2),
            Self::Window(_) => ("window", "g-b", "g | b", 1, 1),
            Self::Chain(_) => ("window", "g-f-b", "g+f | b", 2, 1),
        };
        VmsRow {
            r#impl: by.into(),
            path: path.into(),
            ring: format!("{:?}", self.format()).to_lowercase(),
            cores: cores.into(),
            frame,
            burst: BURST.into(),
            hops,
            copies,
            ..VmsRow::default()
        }
    }
}

/// The processes of a way.
pub struct Hops {
    way: Way,
    /// The VM, or both, that count.
    vms: Testpmd,
    switch: Option<Testpmd>,
    programs: Vec<Program>,
    _folder: TempDir,
}

/// A program that ends with this.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

impl Hops {
    /// Starts the processes, which pass frames of `frame` bytes, and lets them stand still. `programs` is the folder of
    /// the programs.
    pub fn start(way: Way, frame: u16, programs: &Path, [first, second]: [usize; 2]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = folder.path();
        let (mut switch, mut running) = (None, Vec::new());
        match way {
            Way::Testpmd(_) => switch = Some(testpmd_switch(at)?),
            _ => running.push(sluiced(way, at, programs)?),
        }
        let mut vms = match way {
            Way::Testpmd(format) | Way::Sluiced(format) => two_vms(at, format, frame)?,
            Way::Window(format) | Way::Chain(format) => receiver(at, format)?,
        };
        match way {
            Way::Testpmd(_) | Way::Sluiced(_) => send_first(&mut vms)?,
            Way::Window(_) => {
                running.push(process(at, 'g', programs, "generator", &["b", &format!("length={frame}")])?)
            }
            Way::Chain(_) => {
                running.push(process(at, 'f', programs, "forward", &["b"])?);
                running.push(process(at, 'g', programs, "generator", &["f", &format!("length={frame}")])?);
            }
        }
        let mut hops = Self { way, vms, switch, programs: running, _folder: folder };
        let is_window = matches!(way, Way::Window(_) | Way::Chain(_));
        pin_process(hops.vms.id(), if is_window { second } else { first })?;
        hops.switch.iter().try_for_each(|switch| pin_process(switch.id(), second))?;
        hops.programs.iter().try_for_each(|it| pin_process(it.0.id(), if is_window { first } else { second }))?;
        hops.until_frames_come()?;
        hops.stand_still()?;
        Ok(hops)
    }

    fn until_frames_come(&mut self) -> Result<()> {
        let start = Instant::now();
        while self.frames_a_second()? == 0.0 {
            ensure!(start.elapsed() < PATIENCE, "no frame comes:\n{}", self.vms.output());
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn ids(&self) -> impl Iterator<Item = u32> {
        let programs = self.programs.iter().map(|program| program.0.id());
        [self.vms.id()].into_iter().chain(self.switch.as_ref().map(Testpmd::id)).chain(programs)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let send = |id| Ok(kill_process(Pid::from_raw(id as i32).context("no process")?, signal)?);
        self.ids().try_for_each(send)
    }

    /// Lets all processes go on.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Stops all processes, until they go on.
    pub fn stand_still(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Returns the number of frames a second that passed all hops together, by the VMs' own counters and clock, since
    /// this was called last.
    pub fn frames_a_second(&mut self) -> Result<f64> {
        let ports = if matches!(self.way, Way::Testpmd(_) | Way::Sluiced(_)) { 2 } else { 1 };
        let mut sum = 0.0;
        for port in 0..ports {
            let said = self.vms.ask(&format!("show port stats {port}"), "Tx-bps:")?;
            sum += rate(&said).with_context(|| format!("testpmd said no rate:\n{said}"))?;
        }
        Ok(if matches!(self.way, Way::Chain(_)) { 2.0 * sum } else { sum })
    }

    /// Returns the time that all threads of all processes had a processor for.
    pub fn time_on_processors(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for thread in self.ids().map(threads).collect::<Result<Vec<_>>>()?.into_iter().flatten() {
            let text = fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap_or_default();
            // A thread that has ended has no part in it.
            nanoseconds += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Ends all. Fails if a frame was lost or came twice where a fixed number goes to and fro.
    pub fn end(mut self) -> Result<()> {
        self.go_on()?;
        let counters = self.vms.stop()?;
        ensure!(counters.dropped == 0, "{} frames found no room", counters.dropped);
        if matches!(self.way, Way::Testpmd(_) | Way::Sluiced(_)) {
            let flying = counters.sent.wrapping_sub(counters.received);
            ensure!(flying == 2 * u64::from(FLYING), "{flying} frames are on their way, of {}", 2 * FLYING);
        }
        Ok(())
    }
}

/// Starts testpmd as a switch with the sockets of a and b.
fn testpmd_switch(folder: &Path) -> Result<Testpmd> {
    let vdev = |(port, vm): (u16, char)| format!("net_vhost{port},iface={}", socket(folder, vm));
    let mut switch = start(vec![vdev((0, 'a')), vdev((1, 'b'))], Forward::Across, 1, Vec::new())?;
    switch.wait_for("Start automatic packet forwarding")?;
    Ok(switch)
}

/// Starts `sluiced` with the sockets of the VMs of `way`.
fn sluiced(way: Way, folder: &Path, programs: &Path) -> Result<Program> {
    let vm = |name: char, keys: &str| format!("[[vm]]\nname = \"{name}\"\nmac = \"{}\"\n{keys}\n", mac(name));
    let vms = match way {
        Way::Window(_) => vm('g', "ram_mib = 32\npeers = [\"b\"]") + &vm('b', ""),
        Way::Chain(_) => {
            vm('g', "ram_mib = 32\npeers = [\"f\"]") + &vm('f', "ram_mib = 32\npeers = [\"b\"]") + &vm('b', "")
        }
        _ => vm('a', "lan = [\"b\"]") + &vm('b', "lan = [\"a\"]"),
    };
    let policy = folder.join("policy.toml");
    fs::write(&policy, format!("[server]\nfolder = \"{}\"\n{vms}", folder.display()))?;
    let mut command = Command::new(programs.join("sluiced"));
    command.args(["run", "--log", "error"]).arg(policy);
    let server = Program(sluice_guard::tie(&mut command).spawn().context("sluiced")?);
    let begin = Instant::now();
    while !Path::new(&socket(folder, 'b')).exists() {
        ensure!(begin.elapsed() < PATIENCE, "sluiced makes no sockets");
        sleep(Duration::from_millis(5));
    }
    Ok(server)
}

/// Starts testpmd as VMs a and b.
fn two_vms(folder: &Path, format: Format, frame: u16) -> Result<Testpmd> {
    let vdev = |(port, vm): (u16, char)| virtio_user(port, folder, vm, format, "");
    let peer = |(port, vm): (u16, char)| format!("--eth-peer={port},{}", mac(vm));
    let more = vec![format!("--txpkts={frame}"), peer((0, 'b')), peer((1, 'a'))];
    let mut vms = start(vec![vdev((0, 'a')), vdev((1, 'b'))], Forward::Across, 1, more)?;
    vms.wait_for("Start automatic packet forwarding")?;
    Ok(vms)
}

/// Puts frames on their way.
fn send_first(vms: &mut Testpmd) -> Result<()> {
    vms.ask("stop", "Done.")?;
    vms.ask(&format!("start tx_first {}", FLYING / BURST), "packets/burst=").map(drop)
}

/// Starts testpmd as VM b, which receives frames, and frees them.
fn receiver(folder: &Path, format: Format) -> Result<Testpmd> {
    let vdev = virtio_user(0, folder, 'b', format, ",queues=2,cq=1");
    let mut vm = start(vec![vdev], Forward::Back, 2, vec!["--forward-mode=rxonly".into()])?;
    vm.wait_for("Start automatic packet forwarding")?;
    Ok(vm)
}

/// Starts a program as the process that is VM `vm`.
fn process(folder: &Path, vm: char, programs: &Path, name: &str, words: &[&str]) -> Result<Program> {
    let mut command = Command::new(programs.join(name));
    command.args(words).env("SLUICE_SERVER", socket(folder, vm)).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(Program(sluice_guard::tie(&mut command).spawn().with_context(|| name.to_owned())?))
}

/// Starts testpmd with these ports.
fn start(vdevs: Vec<String>, forward: Forward, pairs: u16, more: Vec<String>) -> Result<Testpmd> {
    let more = [vec![format!("--burst={BURST}")], more].concat();
    Testpmd::start(&Options { vdevs, forward, pairs, ring: RING, wide_vectors: false, more })
}

/// Returns the argument of a port that is VM `vm`, by the fastest way that testpmd has for such rings on any processor.
fn virtio_user(port: u16, folder: &Path, vm: char, format: Format, more: &str) -> String {
    let features = match format {
        Format::Split => "packed_vq=0,mrg_rxbuf=0,in_order=0,vectorized=1",
        Format::Packed => "packed_vq=1,mrg_rxbuf=0,in_order=1",
    };
    let (path, mac) = (socket(folder, vm), mac(vm));
    format!("net_virtio_user{port},path={path},mac={mac},queue_size={RING},{features}{more}")
}

fn socket(folder: &Path, vm: char) -> String {
    folder.join(format!("{vm}.sock")).display().to_string()
}

fn mac(vm: char) -> String {
    format!("02:00:00:00:00:{:02x}", vm as u8)
}

/// Keeps all threads of process `id` on processor `cpu`.
fn pin_process(id: u32, cpu: usize) -> Result<()> {
    threads(id)?.into_iter().try_for_each(|thread| pin_thread(Pid::from_raw(thread), cpu))
}

/// Returns the numbers of all threads of process `id`.
fn threads(id: u32) -> Result<Vec<i32>> {
    let all = fs::read_dir(format!("/proc/{id}/task")).with_context(|| format!("process {id}"))?;
    Ok(all.flatten().filter_map(|thread| thread.file_name().to_str()?.parse().ok()).collect())
}

/// Returns the rate in what testpmd says of a port.
pub fn rate(said: &str) -> Option<f64> {
    said.split("Rx-pps:").nth(1)?.split_whitespace().next()?.parse().ok()
}
