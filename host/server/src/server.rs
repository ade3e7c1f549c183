//! The server: one thread that gives each VM its turn, polls while there is traffic, and sleeps while there is none.
//!
//! # Why one thread
//! The switch has one table of addresses and the rings of all VMs. A second thread would wait for the first, or lock.

mod channels;
mod drain;
mod flows;
mod ram;
mod reload;
mod requests;
mod sessions;
mod shared;
mod taps;
mod vms;
mod windows;

use crate::captures::Captures;
use crate::channels::Channel;
use crate::connection::Connection;
use crate::control::Control;
use crate::log::Quota;
use crate::policy::{OWN, Policy};
use crate::ports::Ports;
use crate::sandbox::Sandbox;
use crate::signals::Signals;
use crate::sockets::{Folder, Socket};
use crate::systemd::{self, Handed};
use crate::window_file;
use flows::FlowError;
pub use flows::FlowFiles;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use sluice_channels::{ChannelFileError, Name};
use sluice_control::{Network, Switch};
use sluice_flows::FlowSwitches;
use sluice_memory::PeerSlice;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Time without a frame after which the server sleeps.
const SPIN: Duration = Duration::from_micros(100);
/// Rounds of a busy server between two looks at sockets.
const ROUNDS: u32 = 64;
/// Largest number of messages that one turn of a socket handles.
const MESSAGES: usize = 16;
/// Longest sleep: a driver whose notification got lost is looked at after this time.
const SLEEP: Duration = Duration::from_secs(1);

/// Why the server can't run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The folder can't be used.
    #[error("folder {}: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A socket can't be made.
    #[error("socket {}: {error}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file that a VM is to have as a device can't be used.
    #[error("window_file {}: {error}", path.display())]
    WindowFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// An in-VM switch can't be made.
    #[error("vm \"{vm}\": {error}")]
    Flows {
        /// The VM.
        vm: String,
        /// Why not.
        error: FlowError,
    },
    /// The device of a tap can't be opened.
    #[error(transparent)]
    Tap(#[from] taps::TapError),
    /// A channel can't be made.
    #[error(transparent)]
    Channel(#[from] ChannelFileError),
    /// The file of a channel has another one, which is in use.
    #[error("channel {0}: its file is in use with another kind or ring: name another file, or start the server again")]
    InUse(Name),
    /// A capture file can't be made.
    #[error("capture {0}")]
    Capture(io::Error),
    /// The system refused something else.
    #[error("{0}")]
    System(#[from] io::Error),
    /// The policy asks for what needs another start.
    #[error("[server] {0}: a change needs another start of the server")]
    Fixed(&'static str),
}

/// The server.
pub struct Server {
    path: PathBuf,
    policy: Policy,
    network: Network,
    switch: Switch<Ports>,
    /// The in-VM switches of processes.
    flows: FlowSwitches,
    /// The socket of each VM, by id.
    sockets: Vec<Socket>,
    /// The channels, in the order of the policy.
    channels: Vec<Channel>,
    captures: Captures,
    control: Control,
    handed: Handed,
    begin: Instant,
    sandbox: Option<Sandbox>,
    /// When taps without a device are opened again.
    retry: Instant,
    _folder: Folder,
}

/// What a wait is for.
#[derive(Clone, Copy)]
enum Source {
    Signal,
    Front(usize),
    Session(usize),
    Process(usize),
    Kick(usize, usize),
    /// Frames that wait at a tap are taken by its turn.
    Tap,
    Channel(usize),
    Client,
}

impl Server {
    /// Makes the sockets of `policy`, which was read from `path`, but for those that are `handed` over.
    pub fn new(path: &Path, policy: Policy, handed: Handed) -> Result<Self, ServerError> {
        let folder = Folder::take(&policy.folder);
        let folder = folder.map_err(|error| ServerError::Folder { path: policy.folder.clone(), error })?;
        let control = Control::new(listen(&handed, &policy.control, OWN)?);
        let sockets = policy.vms.iter().map(|vm| listen(&handed, &vm.socket, OWN)).collect::<Result<_, _>>()?;
        let channels = channels::create(&policy.channels, &handed)?;
        let mut ports = Ports::new(policy.vms.len());
        for (vm, port) in policy.vms.iter().zip(ports.iter_mut()) {
            port.window_file = vm.window().map(|(path, len)| take_window_file(path, len)).transpose()?;
        }
        let (flows, files) = flows::create(&policy, |_| true)?;
        ports.iter_mut().zip(files).for_each(|(port, files)| port.flows = files);
        for tap in &policy.taps {
            ports.add_tap(taps::open(path, tap)?);
        }
        let captures = Captures::create(&policy).map_err(ServerError::Capture)?;
        // The one switch of this process keeps its room for good.
        let room = PeerSlice::from_mut(vec![0_u64; Switch::ROOM_LEN.div_ceil(8) as usize].leak());
        let switch = Switch::with_rings(policy.port_configs(), ports, policy.ageing.as_nanos() as u64, room);
        let switch = switch.ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let network = Network::of_members(&policy.members());
        let (path, begin) = (path.into(), Instant::now());
        let (sandbox, retry, _folder) = (None, begin, folder);
        let mut server = Self {
            path,
            policy,
            network,
            switch,
            flows,
            sockets,
            channels,
            captures,
            control,
            handed,
            begin,
            sandbox,
            retry,
            _folder,
        };
        server.set_up_taps();
        Ok(server)
    }

    /// Gives up what the server does not need, for good. Files may be made in the folders `more`, too.
    pub fn enter_sandbox(&mut self, more: &[PathBuf]) -> Result<(), ServerError> {
        self.sandbox = Some(Sandbox::enter(&self.path, &self.policy, more)?);
        Ok(())
    }

    /// Returns what the server has given up.
    pub const fn sandbox(&self) -> Option<&Sandbox> {
        self.sandbox.as_ref()
    }

    /// Serves until a signal asks for the end.
    pub fn run(&mut self, signals: &Signals) -> io::Result<()> {
        let (mut last, mut rounds) = (Instant::now(), 0_u32);
        self.say_ready();
        while !signals.ends() {
            if signals.reloads() {
                self.reload_by_signal();
            }
            let now = Instant::now();
            if self.turn() {
                last = now;
            }
            rounds = rounds.wrapping_add(1);
            let is_busy = now.duration_since(last) < SPIN;
            if is_busy && !rounds.is_multiple_of(ROUNDS) {
                continue;
            }
            let (open, closing) = self.look_after_windows();
            let open = self.look_after_flows() | open;
            // Whoever sends from here on notifies; whoever has sent before is found.
            if is_busy || closing || self.ask_for_notifications(true) {
                self.wait(signals, Duration::ZERO)?;
            } else {
                self.captures.flush();
                self.wait(signals, if open { windows::TICK } else { SLEEP })?;
                last = Instant::now();
            }
            if !is_busy {
                self.ask_for_notifications(false);
            }
        }
        systemd::stopping();
        (0..self.policy.vms.len()).for_each(|vm| self.drain(vm));
        self.say_left_out(Quota::take);
        info!("ends as asked");
        self.captures.flush();
        Ok(())
    }

    /// Tells systemd that the server serves, and the log which sockets wait for a policy.
    fn say_ready(&self) {
        let sockets = self.sockets.iter().chain(self.channels.iter().flat_map(Channel::sockets));
        let paths: Vec<_> = sockets.map(Socket::path).chain([self.policy.control.as_path()]).collect();
        self.handed.warn_of_others(|handed| paths.iter().any(|path| systemd::is_same(handed, path)));
        self.say_pages();
        systemd::ready(self.policy.vms.len());
    }

    /// Gives each VM that is connected its turn. Returns whether any has sent something.
    fn turn(&mut self) -> bool {
        (0..self.policy.ports()).fold(false, |moved, id| self.serve(id) | moved)
    }

    /// Asks all drivers to notify of frames, or not to. Returns whether there are some already.
    fn ask_for_notifications(&mut self, on: bool) -> bool {
        let Self { network, switch, policy, .. } = self;
        let ask = |vm: u32| switch.ask_for_notifications(network, vm, on);
        (0..policy.vms.len() as u32).map(ask).fold(false, |any, one| any | one)
    }

    fn connection(&mut self, vm: usize) -> Option<&mut Connection> {
        self.switch.rings().connection(vm)
    }

    /// Waits for anything but frames, up to `patience`, and handles what has come.
    fn wait(&mut self, signals: &Signals, patience: Duration) -> io::Result<()> {
        let until = self.control.deadline().map(|until| until.saturating_duration_since(Instant::now()));
        let patience = Timespec::try_from(until.map_or(patience, |until| until.min(patience)));
        let patience = patience.map_err(io::Error::other)?;
        let ready = self.ready(signals, &patience)?;
        let mut is_asked = false;
        for source in ready {
            match source {
                Source::Signal => signals.drain(),
                Source::Front(vm) => self.accept(vm),
                Source::Session(vm) => self.messages(vm),
                Source::Process(vm) => self.process(vm),
                Source::Kick(vm, index) => {
                    let taken = self.connection(vm).map_or(Ok(()), |connection| connection.take_kick(index));
                    if let Err(error) = taken {
                        self.close(vm, &format!("kick event: {error}"), false);
                    }
                }
                Source::Tap => {}
                Source::Channel(index) => self.channels[index].turn(),
                Source::Client => is_asked = true,
            }
        }
        for vm in 0..self.policy.vms.len() {
            // A message that waited for windows to close is in no socket any more.
            if self.connection(vm).is_some_and(|connection| connection.holds()) {
                self.messages(vm);
            }
        }
        if is_asked || until.is_some_and(|until| until.is_zero()) {
            self.serve_clients();
        }
        self.give_captures();
        let now = Instant::now();
        self.open_taps(now);
        self.say_left_out(|quota| quota.renew(now));
        Ok(())
    }

    /// Says of each VM and tap how many lines of it were left out of the log, by `count`.
    fn say_left_out(&mut self, count: impl Fn(&mut Quota) -> Option<u64>) {
        for channel in &mut self.channels {
            if let Some(lines) = count(&mut channel.shared.quota) {
                warn!(channel = channel.shared.file.name().as_ref(), lines, "lines were left out here");
            }
        }
        for id in 0..self.policy.ports() {
            let left_out = self.switch.rings().get_mut(id).and_then(|port| count(&mut port.quota));
            if let Some(lines) = left_out {
                warn!(vm = self.policy.name(id), lines, "lines were left out here");
            }
        }
    }

    /// Returns what is ready within `patience`.
    fn ready(&mut self, signals: &Signals, patience: &Timespec) -> io::Result<Vec<Source>> {
        let captured: BTreeSet<u64> = self.captures.waiting().collect();
        let ports = self.switch.rings();
        let mut all = vec![(Source::Signal, signals.as_fd(), PollFlags::IN)];
        for (vm, (socket, port)) in self.sockets.iter().zip(ports.iter()).enumerate() {
            all.push((Source::Front(vm), socket.listener().as_fd(), PollFlags::IN));
            let Some(connection) = &port.connection else { continue };
            // Who has to wait for an answer, or to end, is not listened to.
            if !connection.holds() && connection.fault().is_none() {
                all.push((Source::Session(vm), connection.socket(), PollFlags::IN));
            }
            all.extend(connection.sources().map(|fd| (Source::Process(vm), fd, PollFlags::IN)));
            let kicks = connection.kicks().iter().enumerate();
            all.extend(kicks.map(|(index, kick)| (Source::Kick(vm, index), kick.as_fd(), PollFlags::IN)));
        }
        all.extend(ports.iter().filter_map(|port| Some((Source::Tap, port.tap.as_ref()?.as_fd(), PollFlags::IN))));
        for (index, channel) in self.channels.iter().enumerate() {
            let flags = |is_listener| if is_listener { PollFlags::IN } else { PollFlags::empty() };
            all.extend(channel.sources().map(|(fd, is_listener)| (Source::Channel(index), fd, flags(is_listener))));
        }
        let clients = self.control.sources(|id| captured.contains(&id));
        all.extend(clients.into_iter().map(|(fd, flags)| (Source::Client, fd, flags)));
        let mut fds: Vec<_> = all.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut fds, Some(patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let found = all.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(found.map(|((source, ..), _)| *source).collect())
    }
}

/// Makes the file at `path` that a VM has as a device, or takes the one that is there.
fn take_window_file(path: &Path, len: u64) -> Result<File, ServerError> {
    window_file::take(path, len).map_err(|error| ServerError::WindowFile { path: path.into(), error })
}

/// Makes the socket at `path`, with `mode`, or takes it from those that are `handed` over.
fn listen(handed: &Handed, path: &Path, mode: u32) -> Result<Socket, ServerError> {
    handed.listen(path, mode).map_err(|error| ServerError::Socket { path: path.into(), error })
}
