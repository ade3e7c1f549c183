//! A bridge of Open vSwitch as the full switch of an in-VM switch.

use crate::error::{Error, Result};
use crate::fence::{Fence, Token};
use crate::flow::{Counters, DatapathFlow, Ufid};
use crate::follow::{Follower, Seen};
use crate::port::{Port, Sent};
use crate::unixctl::Limits;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// One of our ports.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Our number of it.
    pub number: u16,
    /// Its name in Open vSwitch, where it has the type `dummy`.
    pub name: String,
    /// The socket at which it listens: its `options:pstream` without `punix:`.
    pub socket: PathBuf,
}

/// Where Open vSwitch is, and what is used of it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The control socket of ovs-vswitchd: `ovs-vswitchd.PID.ctl`, or what `--unixctl` says.
    pub control: PathBuf,
    /// Name of the bridge.
    pub bridge: String,
    /// The ports.
    pub ports: Vec<PortConfig>,
    /// How often the flows are asked for.
    pub period: Duration,
    /// What Open vSwitch may take of time and memory.
    pub limits: Limits,
}

/// The bridge. No call waits for Open vSwitch.
#[derive(Debug)]
pub struct OpenVswitch {
    ports: BTreeMap<u16, Port>,
    names: Vec<(u16, String)>,
    follower: Follower,
    fence: Fence,
}

impl OpenVswitch {
    /// Returns the bridge. Open vSwitch may come later.
    ///
    /// # Errors
    /// [`Error::Port`]: a port that can't be, or is there twice. [`Error::Random`]: there is no secret to be had.
    pub fn open(config: &Config) -> Result<Self> {
        let mut seen = BTreeSet::new();
        for port in &config.ports {
            check(port, &mut seen).map_err(|why| Error::Port { name: port.name.clone(), why })?;
        }
        let ports = config.ports.iter().map(|port| (port.number, Port::new(&port.socket)));
        let names: Vec<_> = config.ports.iter().map(|port| (port.number, port.name.clone())).collect();
        let follower = Follower::new(&config.control, config.limits, &config.bridge, &names, config.period);
        Ok(Self { ports: ports.collect(), names, follower, fence: Fence::new()? })
    }

    /// Gives Open vSwitch a frame, as one that comes in by `port`.
    ///
    /// # Errors
    /// [`Error::NoPort`], [`Error::Frame`].
    pub fn send(&mut self, port: u16, frame: &[u8]) -> Result<Sent> {
        self.port(port)?.send(frame)
    }

    /// Calls `take` with each frame that leaves Open vSwitch by a port, and with the port: of each port `most` at most.
    /// Tokens count, and are not among them. Returns whether a port had as many: more may be there already, and its
    /// socket is quiet.
    pub fn receive(&mut self, most: usize, mut take: impl FnMut(u16, &[u8])) -> bool {
        let (mut is_busy, fence) = (false, &mut self.fence);
        for (number, port) in &mut self.ports {
            let count = port.receive(most, |frame| {
                if !fence.take(*number, frame) {
                    take(*number, frame);
                }
            });
            is_busy |= count == most;
        }
        self.fence.now_up(&links(&self.ports));
        is_busy
    }

    /// Goes on with reading the flows: see [`Follower::poll`].
    ///
    /// # Errors
    /// [`Error`]: what is known stays as it is.
    pub fn poll_flows(&mut self, now: Instant) -> Result<Option<Seen>> {
        self.follower.poll(now)
    }

    /// Returns the flows that a table may have, with what Open vSwitch counted for them.
    pub fn flows(&self) -> impl Iterator<Item = (&DatapathFlow, Counters)> {
        self.follower.flows()
    }

    /// Returns what Open vSwitch counted for a flow.
    pub fn counters(&self, ufid: Ufid) -> Option<Counters> {
        self.follower.counters(ufid)
    }

    /// Returns the names of ports that the bridge did not have when the flows were read last.
    pub fn missing(&self) -> &[String] {
        self.follower.missing()
    }

    /// Returns the OpenFlow rules that tokens need: see [`Fence::rules`].
    pub fn fence_rules(&self) -> String {
        self.fence.rules(self.names.iter().map(|(_, name)| name.as_str()))
    }

    /// Sends a token behind all frames that `port` was given. [`OpenVswitch::fenced`] returns it when nothing of these
    /// frames will come any more. `None`: the port is down, and what it was given is lost or was received.
    ///
    /// A token is lost if Open vSwitch ends, has no rules for it, or drops it as a port has 100 frames waiting. Who has
    /// waited for long gives it up ([`OpenVswitch::give_up`]) and sends another one.
    ///
    /// # Errors
    /// [`Error::NoPort`]; [`Error::Full`] and [`Error::Tokens`], with which the frames are still under way.
    pub fn fence(&mut self, port: u16) -> Result<Option<Token>> {
        for port in self.ports.values_mut() {
            port.connect();
        }
        let up = links(&self.ports);
        self.port(port)?;
        let Some(from) = up.iter().find(|(number, _)| *number == port).copied() else { return Ok(None) };
        let (token, frame) = self.fence.issue(from, up)?;
        let sent = self.port(port)?.send(&frame)?;
        if sent == Sent::Queued {
            return Ok(Some(token));
        }
        self.fence.withdraw(token);
        if sent == Sent::Full { Err(Error::Full(port)) } else { Ok(None) }
    }

    /// Waits for `token` no longer.
    pub fn give_up(&mut self, token: Token) {
        self.fence.withdraw(token);
    }

    /// Returns the tokens that have come back since the last call. They come by [`OpenVswitch::receive`].
    pub fn fenced(&mut self) -> impl Iterator<Item = Token> {
        self.fence.back()
    }

    /// Returns when [`OpenVswitch::poll_flows`] has something to do, even if all sockets are quiet: see
    /// [`Follower::due`].
    pub fn due(&self) -> Option<Instant> {
        self.follower.due()
    }

    /// Returns all sockets, and whether something waits to be written to each: what a caller may wait for.
    pub fn interest(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        self.ports.values().filter_map(Port::interest).chain(self.follower.interest())
    }

    fn port(&mut self, number: u16) -> Result<&mut Port> {
        self.ports.get_mut(&number).ok_or(Error::NoPort(number))
    }
}

/// Returns the connections that there are.
fn links(ports: &BTreeMap<u16, Port>) -> Vec<(u16, u64)> {
    let up = ports.iter().filter(|(_, port)| port.is_up());
    up.map(|(number, port)| (*number, port.connections())).collect()
}

/// Returns what is wrong with a port, if anything is. `seen` are the names and sockets of those before it, and the
/// numbers.
fn check(port: &PortConfig, seen: &mut BTreeSet<String>) -> std::result::Result<(), &'static str> {
    let good = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
    let is_name = !port.name.is_empty() && port.name.chars().all(good);
    let checks = [
        (is_name, "a name is of letters, digits, `_`, `.` and `-`"),
        (port.number < u16::MAX, "the number is too large"),
        (rustix::net::SocketAddrUnix::new(&port.socket).is_ok(), "the path of its socket is too long, or has a 0"),
        (seen.insert(format!("number {}", port.number)), "another port has its number"),
        (seen.insert(format!("name {}", port.name)), "another port has its name"),
        (seen.insert(format!("socket {}", port.socket.display())), "another port has its socket"),
    ];
    checks.iter().find(|(good, _)| !good).map_or(Ok(()), |(_, why)| Err(why))
}

#[cfg(test)]
mod tests;
