//! Windows of processes: they open once both sides are there, and close before anything of a peer is taken away.
//!
//! | step | what happens |
//! |---|---|
//! | place | the process maps the peer's memory, and says so |
//! | open | the process's directory shows the peer, with the position of its queue |
//! | close | the directory shows the peer as absent |
//! | drain | a call that began before that ends; a process that stays in one is ended itself |
//!
//! A program within a VM has windows, too: see `vms.rs`.
//!
//! Only then the message is handled that takes the ring or the memory away, and its sender answered. Nobody else waits.
//!
//! # Why the server does not wait for the memory to be unmapped
//! A call goes by the directory. Once none goes by the old one, nothing is written by code of ours; other code of the
//! process can write what it has mapped, and what it has copied, for as long as it lives. That is the gate `direct`.

use super::Server;
use crate::connection::Connection;
use crate::process::{Process, Request};
use crate::windows::{Placed, State, Window};
use sluice_abi::PeerIdx;
use sluice_abi::call::Status;
use sluice_abi::directory::{GateKind, Queue};
use sluice_abi::map::peer_base;
use sluice_abi::run::{RUN_ALIGN, Run};
use sluice_abi::{Gpa, virtq};
use sluice_control::{Event, RunError, Told};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tracing::{Level, debug, warn};

/// Longest time that a call may take after its window closed. A call takes microseconds, but its process may not have a
/// processor at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Longest sleep while a window is open: the server notifies the drivers of what the windows bring.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// No memory.
const NO_MEMORY: Placed = (u64::MAX, 0);

/// A window: the process that has it, and the index of the peer in its directory.
pub(super) type Name = (usize, usize);

impl Server {
    /// Takes the process at the other end of `stream` as VM `vm`.
    pub(super) fn welcome(&mut self, vm: usize, stream: UnixStream, ram_len: u64) -> Result<Connection, String> {
        let (port, peers) = (self.switch.rings().get(vm), &self.policy.vms[vm].peers);
        let process = match port.and_then(|port| port.window_file.as_ref()) {
            Some(file) => Process::of_vm(stream, file, ram_len, peers.len()),
            None => {
                let flows = port.and_then(|port| port.flows.as_ref());
                Process::welcome(stream, ram_len, peers.len(), flows)
            }
        };
        process.map(Connection::of_process).map_err(|error| format!("the process can't be taken: {error}"))
    }

    /// Handles the request of the process that is VM `vm`.
    pub(super) fn request(&mut self, vm: usize) -> Result<(), String> {
        let Some(process) = self.switch.rings().process(vm) else { return Ok(()) };
        let Some(request) = process.next()? else { return Ok(()) };
        let is_in_vm = process.is_in_vm();
        let (answer, event) = match request {
            [4, number, 0, 0] if is_in_vm => (self.begin_again(vm, number), None),
            [5, peer, pages, 0] if is_in_vm => (self.has_device(vm, peer, pages)?, None),
            [6, units, at, 0] if !is_in_vm => (self.take_ram(vm, units, at), None),
            request => self.carry_out(vm as u32, request)?,
        };
        if let Some(process) = self.switch.rings().process(vm) {
            process.answer(answer)?;
        }
        match event {
            Some(Event::Notified) => {}
            Some(_) => self.tell_senders_to(vm),
            // The windows that closed for it may open again.
            None => self.open_windows(vm),
        }
        Ok(())
    }

    /// Carries out `request` of VM `vm`. Returns the answer, and a change that others must know.
    fn carry_out(&mut self, vm: u32, [kind, a, b, c]: Request) -> Result<(u32, Option<Event>), String> {
        let bytes = |units: u32| u64::from(units) * RUN_ALIGN;
        let status = |result: Result<(), RunError>| {
            (result.map_or_else(|error| Status::refused(error.why), |()| Status::OK).0 as u32, Some(Event::QueuesReady))
        };
        Ok(match kind {
            0 => (self.network.read(vm, a), None),
            1 => (0, self.network.write(vm, a, b)),
            2 => status(self.network.add_run(vm, Run { gpa: Gpa(bytes(a)), len: bytes(b), offset: bytes(c) })),
            3 => status(self.network.remove_run(vm, bytes(c), bytes(b))),
            kind => return Err(format!("a request of kind {kind}")),
        })
    }

    /// Takes what the process that is VM `vm` says of the memory that it was told to map.
    pub(super) fn placed(&mut self, vm: usize) -> Result<(), String> {
        while let Some(process) = self.switch.rings().process(vm)
            && let Some(placed) = process.placed()?
        {
            let window = process.windows.get_mut(placed.peer as usize).filter(|window| window.waits);
            let window = window.ok_or_else(|| format!("an answer for peer {}, which nobody asked for", placed.peer))?;
            window.waits = false;
            if placed.error == 0 {
                window.placed = window.asked;
            } else if let Some(port) = self.switch.rings().get_mut(vm) {
                let peer = &self.policy.vms[self.policy.vms[vm].peers[placed.peer as usize]].name;
                let (name, error) = (&self.policy.vms[vm].name, std::io::Error::from_raw_os_error(placed.error as i32));
                port.log(
                    Level::WARN,
                    || warn!(vm = name, peer, %error, "the process can't map the memory of its peer"),
                );
            }
            self.open((vm, placed.peer as usize));
            self.release((vm, placed.peer as usize));
        }
        Ok(())
    }

    /// Opens all windows of VM `vm`, and all on it, as far as both sides are there.
    pub(super) fn open_windows(&mut self, vm: usize) {
        let own = (0..self.policy.vms[vm].peers.len()).map(|peer| (vm, peer));
        let all: Vec<_> = own.chain(self.windows_on(vm)).collect();
        all.into_iter().for_each(|window| self.open(window));
    }

    /// Closes all windows on VM `vm`. Returns whether no call goes by one of them any more.
    pub(super) fn close_windows_on(&mut self, vm: usize) -> bool {
        let all = self.windows_on(vm);
        all.iter().for_each(|&window| self.hide(window));
        all.iter().all(|&name| self.window(name).is_none_or(|window| matches!(window.state, State::Closed)))
    }

    /// Closes all windows, and waits until no call goes by one of them.
    pub(super) fn close_all_windows(&mut self) {
        // All begin to drain at once, so that they take no longer together than the slowest of them.
        while !(0..self.policy.vms.len()).fold(true, |closed, vm| self.close_windows_on(vm) & closed) {
            std::thread::yield_now();
            self.drain_windows();
        }
    }

    /// Goes on with windows that close, and notifies drivers of what came through those that are open. Returns whether
    /// any is open, and whether any is closing.
    pub(super) fn look_after_windows(&mut self) -> (bool, bool) {
        self.look_after_locks();
        self.look_after_vms();
        let (mut open, mut closing) = (false, self.drain_windows());
        for name in self.windows() {
            if self.window(name).is_some_and(|window| matches!(window.state, State::Open)) {
                open = true;
                self.look_at(name);
            }
        }
        closing |= (0..self.policy.vms.len()).any(|vm| self.connection(vm).is_some_and(|it| it.holds()));
        (open, closing)
    }

    /// Closes the windows whose last call has ended, and ends the processes that stay in one. Returns whether there are
    /// some that drain.
    fn drain_windows(&mut self) -> bool {
        let mut draining = false;
        for name @ (vm, _) in self.windows() {
            let Some(State::Draining(call, until)) = self.window(name).map(|window| window.state) else { continue };
            let process = self.connection(vm).and_then(Connection::process);
            let Some(process) = process.filter(|process| !process.has_left(call) && !process.has_ended()) else {
                self.settle(name);
                continue;
            };
            if Instant::now() < until {
                draining = true;
            } else if process.is_in_vm() {
                process.stuck = Some(call);
                self.log_of_window(name, Level::WARN, |vm, peer| {
                    warn!(vm, peer, "the VM stays in a call that began before: the queue of its peer is recovered");
                });
                self.settle(name);
            } else {
                self.close(vm, "the process stays in a call that began before its peer was taken away", false);
            }
        }
        draining
    }

    /// Has the process of a window map its peer's memory, or shows it the peer once it has.
    fn open(&mut self, name @ (vm, index): Name) {
        let Some(Window { state: State::Closed, asked, waits, placed, .. }) = self.window(name).copied() else {
            return;
        };
        let peer = self.policy.vms[vm].peers[index];
        let Some(queue) = self.queue(name) else { return };
        let Some(connection) = self.switch.rings().connection(peer).filter(|peer| !peer.holds()) else { return };
        let Some(memory) = connection.memory().map(|memory| (memory, queue.index)) else { return };
        let (whole, regions) = (connection.whole(), connection.regions());
        let Some(process) = self.connection(vm).and_then(Connection::process) else { return };
        if process.is_in_vm() {
            if process.stuck.is_some() || !self.needs_no_lock(name, memory) || !self.has_as_device(name, whole) {
                return;
            }
        } else if placed != Some(memory) {
            if !waits && asked != Some(memory) {
                self.ask(name, memory);
            }
            return;
        }
        if let Some(regions) = regions {
            self.network.share(peer as u32, regions);
        }
        let Some(base) = self.begin(name, &queue) else { return };
        self.network.show(peer as u32, vm as u32, Some(base ^ virtq::start(queue.features)));
        self.publish(vm);
        self.set_state(name, State::Open);
        self.log_of_window(name, Level::DEBUG, |vm, peer| debug!(vm, peer, "the window is open"));
    }

    /// Logs a line about a window by `line`, which gets the names of the VM that has it and of its peer.
    pub(super) fn log_of_window(&mut self, (vm, index): Name, level: Level, line: impl FnOnce(&str, &str)) {
        let (name, peer) = (&self.policy.vms[vm].name, &self.policy.vms[self.policy.vms[vm].peers[index]].name);
        if let Some(port) = self.switch.rings().get_mut(vm) {
            port.log(level, || line(name, peer));
        }
    }

    /// Has the process of a window map `memory`, which is its peer's.
    fn ask(&mut self, name @ (vm, index): Name, memory: Placed) {
        let (peer, Some(idx)) = (self.policy.vms[vm].peers[index], PeerIdx::new(index)) else { return };
        let ports = self.switch.rings();
        let places = ports.connection(peer).map_or(Ok(Vec::new()), |peer| peer.places(peer_base(idx), memory.1));
        let Some(process) = ports.process(vm) else { return };
        match places.and_then(|places| Ok(process.place(idx, &places)?)) {
            Ok(()) => {
                if let Some(window) = self.window(name) {
                    (window.asked, window.waits, window.placed) = (Some(memory), true, None);
                }
            }
            Err(error) => self.close(vm, &format!("the memory of its peer can't be placed: {error}"), false),
        }
    }

    /// Has the process of a window unmap the memory of a peer that has left, so that it can be freed.
    pub(super) fn release(&mut self, name @ (vm, index): Name) {
        let peer = self.policy.vms[vm].peers[index];
        let is_gone = self.switch.rings().connection(peer).is_none();
        let Some(Window { state: State::Closed, waits: false, placed: Some(placed), .. }) = self.window(name) else {
            return;
        };
        if is_gone && *placed != NO_MEMORY {
            self.ask(name, NO_MEMORY);
        }
    }

    /// Shows the process of a window its peer no more.
    pub(super) fn hide(&mut self, name @ (vm, index): Name) {
        if !self.window(name).is_some_and(|window| matches!(window.state, State::Open)) {
            return;
        }
        self.network.show(self.policy.vms[vm].peers[index] as u32, vm as u32, None);
        self.publish(vm);
        match self.connection(vm).and_then(Connection::process).and_then(|process| process.call_under_way()) {
            Some(call) => self.set_state(name, State::Draining(call, Instant::now() + PATIENCE)),
            None => self.settle(name),
        }
    }

    /// Notes that no call goes by a window any more: its queue stands where the last one left it.
    fn settle(&mut self, name: Name) {
        self.take_lock_from(name);
        self.look_at(name);
        self.set_state(name, State::Closed);
        self.unshare(name);
        self.release(name);
    }

    /// Catches up with what came through a window, and notifies the driver of it if it wants that.
    fn look_at(&mut self, name @ (vm, index): Name) {
        let Some(queue) = self.queue(name) else { return };
        let peer = self.policy.vms[vm].peers[index];
        let Some(connection) = self.switch.rings().connection(peer) else { return };
        let Some((ring, lock)) = connection.ring_and_lock(&queue) else { return };
        let page = lock.as_ref().filter(|lock| lock.is_used).and_then(|lock| lock.page());
        let Ok(frames) = ring.catch_up(page.as_ref()) else {
            return connection.end(format!("ring {}: a window left no position in its lock", queue.index), false);
        };
        if ring.needs_notification() {
            let word = ring.queue().next_used();
            connection.notify(&Told { vm: peer as u32, queue: queue.index, word });
        }
        let frames = if self.has_lock(name) { self.take_published(name) } else { frames };
        if let Some(window) = self.window(name) {
            window.frames += u64::from(frames);
        }
    }

    /// Shows the windows of VM `vm`, which has ended, to nobody.
    pub(super) fn forget_windows_of(&mut self, vm: usize) {
        for index in 0..self.policy.vms[vm].peers.len() {
            if self.window((vm, index)).is_some_and(|window| !matches!(window.state, State::Closed)) {
                self.take_lock_from((vm, index));
                self.look_at((vm, index));
            }
            self.network.show(self.policy.vms[vm].peers[index] as u32, vm as u32, None);
            self.set_state((vm, index), State::Closed);
            self.unshare((vm, index));
        }
    }

    /// Publishes the directories of the VMs that have a window on VM `vm`, and opens windows that can be.
    pub(super) fn tell_senders_to(&mut self, vm: usize) {
        for (sender, _) in self.windows_on(vm) {
            self.publish(sender);
        }
        self.open_windows(vm);
    }

    /// Publishes the directory of VM `vm`, if it is a process.
    pub(super) fn publish(&mut self, vm: usize) {
        let mut directory = self.network.directory(vm as u32);
        directory.header.gate = GateKind::Direct as u32;
        if let Some(process) = self.connection(vm).and_then(Connection::process) {
            process.publish(&directory);
        }
    }

    /// Returns the queue that a window fills, if the peer's driver has it in use.
    pub(super) fn queue(&self, (vm, index): Name) -> Option<Queue> {
        let peer = *self.policy.vms[vm].peers.get(index)?;
        self.network.window_queue(peer as u32, vm as u32)
    }

    pub(super) fn window(&mut self, (vm, index): Name) -> Option<&mut Window> {
        self.switch.rings().connection(vm)?.process()?.windows.get_mut(index)
    }

    fn set_state(&mut self, name: Name, state: State) {
        if let Some(window) = self.window(name) {
            window.state = state;
        }
    }

    /// Returns the names of all windows.
    fn windows(&self) -> Vec<Name> {
        let vms = self.policy.vms.iter().enumerate();
        vms.flat_map(|(vm, config)| (0..config.peers.len()).map(move |index| (vm, index))).collect()
    }

    /// Returns the names of the windows on VM `vm`.
    pub(super) fn windows_on(&self, vm: usize) -> Vec<Name> {
        self.windows().into_iter().filter(|&(sender, index)| self.policy.vms[sender].peers[index] == vm).collect()
    }
}
