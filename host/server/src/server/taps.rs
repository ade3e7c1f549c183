//! Taps: opened at the start, and again after they were lost.

use super::Server;
use crate::policy::{Policy, Tap};
use crate::status::TapStatus;
use crate::tap::TapDevice;
use sluice_abi::net::F;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::{Level, debug, info, warn};

/// Time from one try to open a device that was lost to the next.
const RETRY: Duration = Duration::from_secs(1);

/// Why the device of a tap can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: tap \"{name}\": device \"{device}\": {why}", path.display())]
pub struct TapError {
    /// The policy file.
    path: PathBuf,
    /// Number of the line that names the device, from 1.
    line: usize,
    /// The tap.
    name: String,
    /// The device.
    device: String,
    /// Why not, and what to do.
    why: String,
}

/// Opens the device of `tap`, which stands in the policy file `path`.
pub fn open(path: &Path, tap: &Tap) -> Result<TapDevice, TapError> {
    TapDevice::open(&tap.device, tap.offloads).map_err(|why| TapError {
        path: path.into(),
        line: tap.line,
        name: tap.name.clone(),
        device: tap.device.clone(),
        why,
    })
}

impl Server {
    /// Returns the ids of the taps.
    fn tap_ids(&self) -> std::ops::Range<usize> {
        self.policy.vms.len()..self.policy.ports()
    }

    /// Takes over all devices that are open.
    pub(super) fn set_up_taps(&mut self) {
        self.tap_ids().for_each(|id| self.set_up_tap(id));
    }

    fn set_up_tap(&mut self, id: usize) {
        let tap = self.switch.rings().get(id).and_then(|port| port.tap.as_ref());
        if let Some((features, queues)) = tap.map(TapDevice::set_up) {
            self.network.set_up(id as u32, features, &queues);
        }
    }

    /// Closes the device of port `id` if it is a tap's, and lost.
    pub(super) fn lose_tap(&mut self, id: usize) {
        let Some(port) = self.switch.rings().get_mut(id) else { return };
        let Some(why) = port.tap.as_ref().and_then(|tap| tap.fault().map(str::to_owned)) else { return };
        let name = self.policy.name(id);
        port.log(Level::WARN, || warn!(tap = name, why, "the device is closed, and opened again when it is there"));
        (port.tap, port.last_end) = (None, Some(why));
        self.network.set_up(id as u32, F::empty(), &[]);
        self.retry = Instant::now() + RETRY;
    }

    /// Opens the devices of taps that have none, unless that was tried a moment ago.
    pub(super) fn open_taps(&mut self, now: Instant) {
        if now < self.retry {
            return;
        }
        for id in self.tap_ids() {
            let Some(port) = self.switch.rings().get_mut(id).filter(|port| port.tap.is_none()) else { continue };
            let tap = &self.policy.taps[id - self.policy.vms.len()];
            match open(&self.path, tap) {
                Ok(device) => {
                    port.log(Level::INFO, || info!(tap = tap.name, "the device is open again"));
                    (port.tap, port.connects) = (Some(device), port.connects + 1);
                    self.set_up_tap(id);
                }
                Err(error) => port.log(Level::DEBUG, || debug!(tap = tap.name, %error)),
            }
            self.retry = now + RETRY;
        }
    }

    /// Opens the devices of `new` that no tap has. `before` has the ids of the ports that stay.
    pub(super) fn new_taps(&self, new: &Policy, before: &[Option<usize>]) -> Result<Vec<Option<TapDevice>>, TapError> {
        let has = |device: &str| self.policy.taps.iter().any(|tap| tap.device == device);
        let is_new = |tap: &Tap, before: &Option<usize>| before.is_none() && !has(&tap.device);
        let taps = new.taps.iter().zip(before.iter().skip(new.vms.len()));
        taps.map(|(tap, before)| is_new(tap, before).then(|| open(&self.path, tap)).transpose()).collect()
    }

    /// Takes the devices that taps of `new` have by another name, or with another MTU, from the taps that had them, and
    /// returns each where it is to be: those in `made` are there already. One whose offloads change is closed, since no
    /// device can be opened twice.
    pub(super) fn move_taps(
        &mut self,
        new: &Policy,
        before: &[Option<usize>],
        mut made: Vec<Option<TapDevice>>,
    ) -> Vec<Option<TapDevice>> {
        let vms = self.policy.vms.len();
        for (at, old) in self.policy.taps.iter().enumerate().filter(|(at, _)| !before.contains(&Some(vms + at))) {
            let Some(port) = self.switch.rings().get_mut(vms + at) else { continue };
            let is_same = |tap: &Tap| (&tap.device, tap.offloads) == (&old.device, old.offloads);
            let to = new.taps.iter().position(is_same);
            match to.and_then(|to| made.get_mut(to)) {
                Some(made) => *made = port.tap.take(),
                None => port.log(Level::INFO, || info!(tap = old.name, "the device is closed: the policy has changed")),
            }
        }
        made
    }

    /// Gives the taps their devices. Of those that stay there is none.
    pub(super) fn give_taps(&mut self, devices: Vec<Option<TapDevice>>) {
        for (id, device) in self.tap_ids().zip(devices) {
            if let Some(port) = self.switch.rings().get_mut(id)
                && device.is_some()
            {
                (port.tap, port.connects) = (device, 1);
            }
        }
        self.set_up_taps();
        self.retry = Instant::now();
        self.open_taps(self.retry);
    }

    pub(super) fn tap_status(&mut self, index: usize) -> TapStatus {
        let id = self.policy.vms.len() + index;
        let (counters, bytes) = (self.switch.counters(id as u32), self.switch.bytes(id as u32));
        let (tap, port) = (&self.policy.taps[index], self.switch.rings().get(id));
        let device = port.and_then(|port| port.tap.as_ref());
        TapStatus {
            name: tap.name.clone(),
            device: tap.device.clone(),
            open_seconds: device.map(|device| device.since.elapsed().as_secs()),
            is_down: device.is_some_and(|device| device.is_down),
            opens: port.map_or(0, |port| port.connects),
            last_loss: port.and_then(|port| port.last_end.clone()),
            taken_bytes: bytes[0],
            forwarded_bytes: bytes[1],
            counters: counters.named().into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        }
    }
}
