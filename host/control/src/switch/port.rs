//! A port: what the switch knows of one VM, beside its rings.

use super::limit::{Limit, Limiter};
use super::{Counters, Told};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// What a port is to be.
#[derive(Clone, Debug, Default)]
pub struct PortConfig {
    /// The VMs to which the frames of the port's VM may be forwarded.
    pub lan: Vec<usize>,
    /// The VM with the in-VM switch to which all frames of the port's VM go, and nowhere else. See:
    /// [`crate::Member::uplink`].
    pub uplink: Option<usize>,
    /// How many frames the port's VM may transmit.
    pub limit: Limit,
    /// Whether a network of many stations is behind the port, so that there is room for more addresses.
    pub is_network: bool,
}

/// The port of one VM.
pub(super) struct Port {
    /// The pair whose frames the next service takes first.
    first: u16,
    /// The ports to which its frames may be forwarded.
    pub lan: Vec<usize>,
    /// The VM with the in-VM switch to which they go instead.
    pub uplink: Option<usize>,
    pub is_network: bool,
    pub limiter: Limiter,
    pub counters: Counters,
    /// Number of bytes of the frames that are counted as taken, and of those that are counted as forwarded.
    pub bytes: [u64; 2],
}

impl Port {
    pub fn new(config: PortConfig) -> Self {
        let (counters, limiter) = (Counters::default(), Limiter::new(config.limit));
        let PortConfig { lan, uplink, is_network, .. } = config;
        Self { first: 0, lan, uplink, is_network, limiter, counters, bytes: [0; 2] }
    }

    /// Returns the port with another configuration. It keeps its place in a limit that stays the same.
    pub fn changed(self, config: PortConfig) -> Self {
        let limiter = if self.limiter.limit() == config.limit { self.limiter } else { Limiter::new(config.limit) };
        Self { lan: config.lan, uplink: config.uplink, is_network: config.is_network, limiter, ..self }
    }

    /// Returns the queue pair, of `pairs`, whose frames a service takes first. Each pair has its turn, so one that
    /// always has frames does not block another.
    pub const fn next_pair(&mut self, pairs: u16) -> u16 {
        let first = if self.first < pairs { self.first } else { 0 };
        self.first = first + 1;
        first
    }

    /// Adds the notification `driver` to those that the caller of the service sends.
    pub fn tell(&mut self, driver: Told, told: &mut BTreeSet<Told>) {
        self.counters.notified += u64::from(told.insert(driver));
    }
}
