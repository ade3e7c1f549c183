//! What the server says of itself: for people, and as JSON.

use serde::{Deserialize, Serialize};
use sluice_abi::net::F;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The state of the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Time since the server began, seconds.
    pub uptime_seconds: u64,
    /// The VMs, in the order of the policy.
    pub vms: Vec<VmStatus>,
    /// The taps, in the order of the policy.
    #[serde(default)]
    pub taps: Vec<TapStatus>,
    /// The channels, in the order of the policy.
    #[serde(default)]
    pub channels: Vec<ChannelStatus>,
}

/// The state of one VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VmStatus {
    /// The VM's name.
    pub name: String,
    /// The socket of its front-end.
    pub socket: PathBuf,
    /// The address of its device.
    pub mac: String,
    /// Time since its front-end connected, seconds; none if it is not there.
    pub connected_seconds: Option<u64>,
    /// Number of sessions that began.
    pub connects: u64,
    /// Why the last session ended.
    pub last_end: Option<String>,
    /// The virtio features that the driver accepted.
    pub features: u64,
    /// The rings in use.
    pub rings: Vec<RingStatus>,
    /// The windows on its peers, of a process that is connected.
    #[serde(default)]
    pub windows: Vec<WindowStatus>,
    /// What is known of its in-VM switch, if it has one: docs/interfaces.md, "An in-VM switch". Times are in
    /// nanoseconds.
    #[serde(default)]
    pub flows: BTreeMap<String, u64>,
    /// Bytes of the frames that are counted as `taken`.
    pub taken_bytes: u64,
    /// Bytes of the frames that are counted as `forwarded`.
    pub forwarded_bytes: u64,
    /// The counters of the VM's port. See: [`sluice_control::Counters`].
    pub counters: BTreeMap<String, u64>,
}

/// The state of one tap.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TapStatus {
    /// The tap's name.
    pub name: String,
    /// Its device.
    pub device: String,
    /// Time since the device was opened, seconds; none if it is lost.
    pub open_seconds: Option<u64>,
    /// Whether the device was down when a frame was last to be given to the kernel.
    pub is_down: bool,
    /// Number of times that the device was opened.
    pub opens: u64,
    /// Why the device was lost the last time.
    pub last_loss: Option<String>,
    /// Bytes of the frames that are counted as `taken`.
    pub taken_bytes: u64,
    /// Bytes of the frames that are counted as `forwarded`.
    pub forwarded_bytes: u64,
    /// The counters of the tap's port. See: [`sluice_control::Counters`].
    pub counters: BTreeMap<String, u64>,
}

/// The state of one channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// The channel's name.
    pub name: String,
    /// `bytes` or `packets`.
    pub kind: String,
    /// Length of the ring in bytes.
    pub ring_bytes: u64,
    /// `huge`, `advised` (the kernel was asked for large pages), or `small`.
    pub pages: String,
    /// The file in which it lies, if it has one.
    pub file: Option<PathBuf>,
    /// The socket of readers.
    pub reader: PathBuf,
    /// The socket of the writer.
    pub writer: PathBuf,
    /// Time since the writer connected, seconds; none if there is none.
    pub writer_seconds: Option<u64>,
    /// Number of readers that are connected, of the last 64.
    pub readers: u64,
    /// Number of readers that got a descriptor.
    pub reader_connects: u64,
    /// Number of writers that got one.
    pub writer_connects: u64,
    /// Number of those who got none.
    pub refused: u64,
    /// Number of writers that have begun, as the last one claims.
    pub writers: u64,
    /// Number of bytes of the ring that were written, with what stands before each packet, as the writer claims.
    pub written_bytes: u64,
}

/// A ring in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RingStatus {
    /// The number of the queue.
    pub queue: u16,
    /// The number of entries.
    pub size: u16,
}

/// A window of a process on a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WindowStatus {
    /// The name of the peer.
    pub peer: String,
    /// `open`, `closed`, or `draining`: closed once a call has ended.
    pub state: String,
    /// Whether the switch, and perhaps other windows, fill the same queue.
    #[serde(default)]
    pub is_shared: bool,
    /// Number of frames that the process has put into the peer's queue since it connected.
    pub frames: u64,
}

impl VmStatus {
    /// Returns the counter `name`.
    pub fn counter(&self, name: &str) -> u64 {
        counter(&self.counters, name)
    }
}

/// Returns the counter `name`.
pub fn counter(counters: &BTreeMap<String, u64>, name: &str) -> u64 {
    counters.get(name).copied().unwrap_or(0)
}

/// Writes what passed a port: frames, bytes from and to it, and the counters of drops, and of other causes for a look,
/// that are not 0.
fn write_traffic(f: &mut fmt::Formatter<'_>, counters: &BTreeMap<String, u64>, [from, to]: [u64; 2]) -> fmt::Result {
    let other = |name: &&String| !["taken", "forwarded", "notified"].contains(&name.as_str());
    let counted = counters.iter().filter(|(name, count)| other(name) && **count > 0);
    let drops: String = counted.map(|(name, count)| format!(" {name}={count}")).collect();
    let [taken, forwarded] = ["taken", "forwarded"].map(|name| counter(counters, name));
    writeln!(f, "    from it {taken} frames, {from} bytes; to it {forwarded} frames, {to} bytes{drops}")
}

impl fmt::Display for TapStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:16} tap {} ", self.name, self.device)?;
        match self.open_seconds {
            Some(seconds) => writeln!(f, "open {seconds} s{}", if self.is_down { ", down" } else { "" })?,
            None => writeln!(f, "lost")?,
        }
        write_traffic(f, &self.counters, [self.taken_bytes, self.forwarded_bytes])?;
        let Some(why) = &self.last_loss else { return Ok(()) };
        writeln!(f, "    opened {} times; the last loss: {why}", self.opens)
    }
}

impl fmt::Display for ChannelStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, ring_bytes, pages, readers, written_bytes, writers, .. } = self;
        let writer = self.writer_seconds.map_or("no writer".into(), |seconds| format!("a writer since {seconds} s"));
        writeln!(
            f,
            "{name:16} channel of {kind}, {} KiB in {pages} pages, {writer}, {readers} readers",
            ring_bytes >> 10
        )?;
        writeln!(f, "    written {written_bytes} bytes by {writers} writers; refused {}", self.refused)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taps = match self.taps.len() {
            0 => String::new(),
            count => format!(", {count} taps"),
        };
        let channels = match self.channels.len() {
            0 => String::new(),
            count => format!(", {count} channels"),
        };
        writeln!(f, "up {} s, {} VMs{taps}{channels}", self.uptime_seconds, self.vms.len())?;
        for vm in &self.vms {
            let packed = F::from_bits_truncate(vm.features).contains(F::RING_PACKED);
            let format = if packed { "packed" } else { "split" };
            match vm.connected_seconds {
                Some(seconds) => writeln!(
                    f,
                    "{:16} {} connected {seconds} s, {} {format} rings, features {:#x}",
                    vm.name,
                    vm.mac,
                    vm.rings.len(),
                    vm.features
                )?,
                None => writeln!(f, "{:16} {} not connected", vm.name, vm.mac)?,
            }
            write_traffic(f, &vm.counters, [vm.taken_bytes, vm.forwarded_bytes])?;
            for WindowStatus { peer, state, is_shared, frames } in &vm.windows {
                let shared = if *is_shared { ", on a shared queue" } else { "" };
                writeln!(f, "    window on {peer} {state}{shared}: {frames} frames")?;
            }
            if !vm.flows.is_empty() {
                let flows: String = vm.flows.iter().map(|(name, number)| format!(" {name}={number}")).collect();
                writeln!(f, "    in-VM switch:{flows}")?;
            }
            if let Some(end) = &vm.last_end {
                writeln!(f, "    {} sessions; the last that ended: {end}", vm.connects)?;
            }
        }
        self.taps.iter().try_for_each(|tap| write!(f, "{tap}"))?;
        self.channels.iter().try_for_each(|channel| write!(f, "{channel}"))
    }
}
