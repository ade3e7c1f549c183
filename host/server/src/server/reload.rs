//! Another policy while the server runs: all of it, or nothing.

use super::{Server, ServerError, channels, flows, listen, take_window_file};
use crate::captures::Captures;
use crate::log::Quota;
use crate::policy::{OWN, Policy, PolicyError};
use crate::sockets::Socket;
use crate::systemd;
use crate::tap::TapDevice;
use crate::window_file;
use sluice_control::Network;
use std::fs::File;
use std::path::Path;
use tracing::{info, warn};

/// What is new, or stays: sockets and devices, each at the place of its VM or tap, files that VMs have as devices, and
/// what is new of in-VM switches and of channels.
type Made = (Vec<Option<Socket>>, Vec<Option<TapDevice>>, Vec<Option<File>>, flows::Made, channels::Made);

/// Why the policy stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The new one is wrong.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The new one can't be had.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl Server {
    /// Reads the policy again, as SIGHUP asks for.
    pub(super) fn reload_by_signal(&mut self) {
        match self.reload() {
            Ok(text) => info!("{text}"),
            Err(error) => warn!(%error, "the policy stays as it is"),
        }
    }

    /// Reads the policy again, and tells systemd of it. As [`Self::read_again`].
    pub(super) fn reload(&mut self) -> Result<String, ReloadError> {
        systemd::reloading();
        let done = self.read_again();
        self.say_ready();
        done
    }

    /// Reads the policy again. VMs and taps that stay keep their sessions and devices, counters and addresses. Returns
    /// a line that says what has changed. After an error nothing has.
    fn read_again(&mut self) -> Result<String, ReloadError> {
        let new = Policy::read(&self.path)?;
        if new.folder != self.policy.folder {
            return Err(ServerError::Fixed("folder").into());
        }
        if new.control != self.policy.control {
            return Err(ServerError::Fixed("control").into());
        }
        let before = self.policy.stay(&new);
        let sockets = self.new_sockets(&new).map_err(|error| self.explain(error))?;
        let taps = self.new_taps(&new, &before).map_err(|error| self.explain(ServerError::Tap(error)))?;
        let files = self.window_files(&new).map_err(|error| self.explain(error))?;
        let flows = flows::create(&new, |id| before[id].is_none()).map_err(|error| self.explain(error))?;
        let channels = self.new_channels(&new).map_err(|error| self.explain(error))?;
        let captures = Captures::create(&self.new_captures(&new, &before)).map_err(ServerError::Capture);
        let captures = captures.map_err(|error| self.explain(error))?;
        // Nothing fails from here on.
        let kept = before.iter().flatten().count();
        let gone = self.policy.ports() - kept;
        self.take_over(new, &before, (sockets, taps, files, flows, channels), captures);
        let (new, what) =
            (self.policy.ports() - kept, if self.policy.taps.is_empty() { "VMs" } else { "VMs and taps" });
        Ok(format!("the policy was read again: {kept} {what} stay, {new} are new, {gone} are gone"))
    }

    /// Returns `error` with what the sandbox has to do with it.
    fn explain(&self, error: ServerError) -> ServerError {
        match &self.sandbox {
            Some(sandbox) => sandbox.explain(error),
            None => error,
        }
    }

    /// Makes the sockets of `new` that are not there. Each VM has one of them, or the one with its path.
    fn new_sockets(&self, new: &Policy) -> Result<Vec<Option<Socket>>, ServerError> {
        let has = |path| self.sockets.iter().any(|socket| socket.path() == path);
        new.vms
            .iter()
            .map(|vm| (!has(vm.socket.as_path())).then(|| listen(&self.handed, &vm.socket, OWN)).transpose())
            .collect()
    }

    /// Returns the files that the VMs of `new` have as devices: those that are open, and others.
    fn window_files(&mut self, new: &Policy) -> Result<Vec<Option<File>>, ServerError> {
        let Self { policy, switch, .. } = self;
        let mut file = |path: &Path, len| {
            let known = policy.vms.iter().position(|vm| vm.window_file.as_deref() == Some(path));
            let Some(open) = known.and_then(|id| switch.rings().get(id)?.window_file.as_ref()) else {
                return take_window_file(path, len);
            };
            let file = window_file::check(open, len).and_then(|()| open.try_clone());
            file.map_err(|error| ServerError::WindowFile { path: path.into(), error })
        };
        new.vms.iter().map(|vm| vm.window().map(|(path, len)| file(path, len)).transpose()).collect()
    }

    /// Returns `new` with the capture files alone that have to be made.
    fn new_captures(&self, new: &Policy, before: &[Option<usize>]) -> Policy {
        let mut new = new.clone();
        let vms = new.vms.iter_mut().map(|vm| &mut vm.capture);
        for (capture, before) in vms.chain(new.taps.iter_mut().map(|tap| &mut tap.capture)).zip(before) {
            let same = before.is_some_and(|before| self.policy.captures().nth(before) == Some(capture.as_deref()));
            *capture = capture.take().filter(|_| !same);
        }
        new
    }

    fn take_over(&mut self, new: Policy, before: &[Option<usize>], made: Made, captures: Captures) {
        let (made, taps, files, (flows, flow_files), channels) = made;
        self.close_all_windows();
        for vm in (0..self.policy.vms.len()).filter(|vm| !before.contains(&Some(*vm))) {
            self.close(vm, "the policy has changed", false);
        }
        self.say_left_out(Quota::take);
        let taps = self.move_taps(&new, before, taps);
        let mut old = std::mem::take(&mut self.sockets);
        for (vm, made) in new.vms.iter().zip(made) {
            let found = |socket: &Socket| socket.path() == vm.socket;
            let kept = old.iter().position(found).map(|at| old.swap_remove(at));
            self.sockets.extend(made.or(kept));
        }
        self.change_channels(&new, channels);
        self.captures.change(&self.policy, &new, before, captures);
        let mut old = std::mem::replace(&mut self.network, Network::of_members(&new.members()));
        self.network.take_over(&mut old, before);
        let ports = new.port_configs().zip(before.iter().copied());
        self.switch.change(ports, new.ageing.as_nanos() as u64);
        self.switch.rings().reorder(before);
        self.switch.rings().iter_mut().zip(files).for_each(|(port, file)| port.window_file = file);
        self.flows.reorder(before);
        self.flows.join(flows);
        for (port, made) in self.switch.rings().iter_mut().zip(flow_files) {
            port.flows = made.or(port.flows.take());
        }
        self.policy = new;
        for vm in 0..self.policy.vms.len() {
            self.set_up(vm);
            self.publish(vm);
            self.open_windows(vm);
        }
        self.give_taps(taps);
    }
}
