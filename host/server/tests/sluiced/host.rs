//! The host's network: taps, bridges and namespaces, which end with the test. All of it is the kernel's own.

use crate::lab::*;
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// The address of the station in the host's network.
pub const PEER: [u8; 6] = [2, 0, 0, 0, 1, 1];

/// A name that no other device or namespace has.
pub fn fresh() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("sl{:x}-{:x}", std::process::id(), COUNT.fetch_add(1, Relaxed))
}

/// Runs a program, and returns what it printed.
#[track_caller]
pub fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {}: {}", words.join(" "), text(&output.stderr).trim());
    text(&output.stdout)
}

#[track_caller]
pub fn ip(words: &str) {
    run("ip", &words.split(' ').collect::<Vec<_>>());
}

/// Waits until `is`.
#[track_caller]
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Puts a device up on which nobody says anything by itself.
#[track_caller]
pub fn quiet_up(name: &str) {
    // A kernel without IPv6 says nothing anyway.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    ip(&format!("link set {name} up"));
}

/// A device that is deleted at the end, if it is still there.
pub struct Device(pub String);

impl Device {
    /// Makes a tap that stays without a server.
    #[track_caller]
    pub fn tap() -> Self {
        let name = fresh();
        ip(&format!("tuntap add dev {name} mode tap"));
        Self(name)
    }

    /// The table of the tap `up`, which is this device.
    pub fn table(&self, keys: &str) -> String {
        table("up", &self.0, keys)
    }
}

/// The table of a tap.
pub fn table(name: &str, device: &str, keys: &str) -> String {
    format!("[[tap]]\nname = \"{name}\"\ndevice = \"{device}\"\n{keys}\n")
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.0]).output();
    }
}

/// A station in the host's network: at a tap of its own.
pub struct Peer {
    tap: SyncDevice,
    pub name: String,
    _bridge: Option<Device>,
}

impl Peer {
    /// Makes a station at no bridge.
    #[track_caller]
    pub fn new() -> Self {
        let name = fresh();
        let builder = DeviceBuilder::new().name(&name).layer(Layer::L2).inherit_enable_state();
        let tap = builder.build_sync().unwrap_or_else(|error| panic!("tap {name}: {error}"));
        tap.set_nonblocking(true).expect("a tap that nobody waits for");
        quiet_up(&name);
        Self { tap, name, _bridge: None }
    }

    /// Makes a station that a bridge connects with `device`, which is open.
    #[track_caller]
    pub fn beside(device: &str) -> Self {
        let (peer, bridge) = (Self::new(), Device(fresh()));
        ip(&format!("link add {} type bridge mcast_snooping 0", bridge.0));
        for port in [device, &peer.name] {
            ip(&format!("link set {port} master {}", bridge.0));
            quiet_up(port);
        }
        quiet_up(&bridge.0);
        let state = |port: &str| fs::read_to_string(format!("/sys/class/net/{port}/brport/state")).unwrap_or_default();
        until("the bridge forwards", || [device, &peer.name].iter().all(|port| state(port).trim() == "3"));
        Self { _bridge: Some(bridge), ..peer }
    }

    #[track_caller]
    pub fn send(&self, frames: &[Vec<u8>]) {
        for frame in frames {
            assert_eq!(rustix::io::write(self.tap.as_fd(), frame), Ok(frame.len()));
        }
    }

    /// Takes a frame.
    #[track_caller]
    pub fn take(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 1 << 16];
        match rustix::io::read(self.tap.as_fd(), &mut bytes[..]) {
            Ok(len) => Some(bytes[..len].to_vec()),
            Err(Errno::AGAIN) => None,
            Err(error) => panic!("the station's tap: {error}"),
        }
    }

    /// Takes `count` frames.
    #[track_caller]
    pub fn take_all(&self, count: usize) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        until("the frames arrive in the host's network", || {
            all.extend(self.take());
            all.len() >= count
        });
        all
    }

    /// Asserts that no frame comes for a while.
    #[track_caller]
    pub fn nothing(&self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(50) {
            assert_eq!(self.take(), None);
        }
    }
}

/// A network namespace, which is deleted at the end, with all that is in it.
pub struct Namespace(pub String);

impl Namespace {
    #[track_caller]
    pub fn new() -> Self {
        let name = fresh();
        ip(&format!("netns add {name}"));
        let quiet =
            "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6";
        // A kernel without IPv6 says nothing anyway.
        let _ = Command::new("ip").args(["netns", "exec", &name, "sh", "-c", quiet]).output();
        Self(name)
    }

    /// Moves `device` here, and gives it an address. Nobody says anything there by itself.
    #[track_caller]
    pub fn take(&self, device: &str, address: &str) {
        ip(&format!("link set {device} netns {}", self.0));
        ip(&format!("-n {} addr add {address} dev {device}", self.0));
        ip(&format!("-n {} link set {device} up", self.0));
    }

    /// Runs `work` in this namespace, on a thread of its own.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
        let file = File::open(format!("/run/netns/{}", self.0)).expect("a namespace");
        std::thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("moved");
            work()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}
