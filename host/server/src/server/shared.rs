//! Queues with locks, which windows share with the switch or whose rings are packed: who has a lock, and for how long.
//!
//! The switch takes such a lock for each of its frames, if it is free, and counts the frame as one for which the ring
//! was full if it is not. Nobody else's turn depends on a lock: the server looks at the owner words now and then.
//!
//! | owner word | what happens |
//! |---|---|
//! | of a process that has ended | the lock is free again |
//! | the same for [`PATIENCE`] | the process is ended, and then the lock is free again |
//! | of nobody who may fill the queue | a line in the log, and the lock is free again |
//!
//! # Why nothing is undone
//! What a process had published is in the ring, and what it had not is in buffers that the next producer fills again.
//! Of a burst into a packed ring that was being published the rest is written by whoever has the lock next, which is
//! the server here: [`sluice_abi::queue_lock`].

use super::Server;
use super::windows::{Name, PATIENCE};
use crate::connection::Connection;
use crate::queue_lock::Lock;
use crate::windows::{Placed, State};
use sluice_abi::directory::Queue;
use sluice_abi::queue_lock::{number_of, owner};
use std::time::Duration;
use tracing::{Level, warn};

impl Server {
    /// Returns whether a window fills the queue that the switch fills.
    pub(super) fn is_shared(&self, (vm, index): Name) -> bool {
        let Some(&peer) = self.policy.vms[vm].peers.get(index) else { return false };
        let queue = self.network.window_queue(peer as u32, vm as u32);
        queue.is_some() && queue == self.network.switched_queue(peer as u32)
    }

    /// Returns whether a window fills a queue with a lock.
    pub(super) fn has_lock(&self, (vm, index): Name) -> bool {
        let peer = self.policy.vms[vm].peers.get(index);
        peer.is_some_and(|&peer| self.network.lock_owner(peer as u32, vm as u32) != 0)
    }

    /// Returns whether a window of a program within a VM needs no lock, for which it has no device. If it needs one,
    /// the log says so once for each memory of the peer.
    pub(super) fn needs_no_lock(&mut self, name: Name, memory: Placed) -> bool {
        let has_lock = self.has_lock(name);
        let Some(window) = self.window(name).filter(|_| has_lock) else { return true };
        if window.asked.replace(memory) != Some(memory) {
            self.log_of_window(name, Level::WARN, |vm, peer| {
                warn!(
                    vm,
                    peer, "the queue of the peer is packed, or others fill it: a program in a VM has no lock for it"
                );
            });
        }
        false
    }

    /// Goes on where `queue`, which a window is about to fill, stands, and has whoever fills it take its lock, if it
    /// has one. Returns the position.
    pub(super) fn begin(&mut self, name @ (vm, index): Name, queue: &Queue) -> Option<u32> {
        let (peer, has_lock) = (self.policy.vms[vm].peers[index], self.has_lock(name));
        let connection = self.switch.rings().connection(peer)?;
        let (ring, mut lock) = connection.ring_and_lock(queue)?;
        match lock.as_mut().filter(|_| has_lock) {
            Some(lock) if !lock.is_used => lock.begin(ring),
            _ => {
                let page = lock.as_ref().and_then(|lock| lock.page());
                // Nonsense in the page ends the session where it is looked for.
                ring.catch_up(page.as_ref()).ok()?;
            }
        }
        let (base, published) = (ring.queue().base(), lock.map_or(0, |lock| lock.published(number_of(vm))));
        if let Some(window) = self.window(name) {
            window.published = published;
        }
        Some(base)
    }

    /// Takes the lock of the queue of a window from its process, which fills the queue no more, and completes what that
    /// has begun to publish.
    pub(super) fn take_lock_from(&mut self, name @ (vm, index): Name) {
        let (peer, has_lock) = (self.policy.vms[vm].peers[index], self.has_lock(name));
        let Some(queue) = self.queue(name).filter(|_| has_lock) else { return };
        let holder = self.lock(peer, queue.index).and_then(Lock::holder);
        if let Some((word, _)) = holder.filter(|(word, _)| owner(*word) == number_of(vm)) {
            let whom = format!("process {}, which fills it no more", self.policy.vms[vm].name);
            self.free_lock(peer, &queue, word, &whom);
        }
    }

    /// Lets the switch do without the locks of queues of which no window is left, now that one on VM `peer` has closed.
    pub(super) fn unshare(&mut self, (vm, index): Name) {
        let peer = self.policy.vms[vm].peers[index];
        let is_open = |server: &mut Self, name: Name| {
            !matches!(server.window(name).map(|it| it.state), None | Some(State::Closed)) && server.has_lock(name)
        };
        let open: Vec<_> = self.windows_on(peer).into_iter().filter(|&name| is_open(self, name)).collect();
        let used: Vec<_> = open.into_iter().filter_map(|name| Some(self.queue(name)?.index)).collect();
        let Some(connection) = self.connection(peer) else { return };
        connection.used_locks().for_each(|(index, lock)| lock.is_used = used.contains(&index));
    }

    /// Returns how many buffers came through a window whose queue has a lock since this was asked last.
    pub(super) fn take_published(&mut self, name @ (vm, index): Name) -> u32 {
        let peer = self.policy.vms[vm].peers[index];
        let lock = self.queue(name).and_then(|queue| self.lock(peer, queue.index));
        let now = lock.map_or(0, |lock| lock.published(number_of(vm)));
        let before = self.window(name).map_or(now, |window| std::mem::replace(&mut window.published, now));
        now.wrapping_sub(before)
    }

    /// Looks who has the locks of queues.
    pub(super) fn look_after_locks(&mut self) {
        for vm in 0..self.policy.vms.len() {
            let Some(connection) = self.connection(vm) else { continue };
            let held = connection.used_locks().filter_map(|(index, lock)| Some((index, lock.holder()?)));
            for (index, (word, age)) in held.collect::<Vec<_>>() {
                self.look_at_holder(vm, index, word, age);
            }
        }
    }

    /// Looks at the owner of the lock of queue `index` of VM `vm`, whose owner word has been `word` for `age`.
    fn look_at_holder(&mut self, vm: usize, index: u16, word: u32, age: Duration) {
        let fills = |name: Name| self.has_lock(name).then(|| self.queue(name)).flatten().filter(|it| it.index == index);
        let all = self.windows_on(vm).into_iter().filter_map(|name| Some((name, fills(name)?)));
        let all: Vec<_> = all.collect();
        let owner = all.iter().find(|((sender, _), _)| number_of(*sender) == owner(word)).map(|(name, _)| *name);
        let state = owner.and_then(|name| self.window(name)).map(|window| window.state);
        match (owner, state) {
            (Some((sender, _)), Some(State::Open | State::Draining(..))) => {
                let process = self.connection(sender).and_then(Connection::process);
                if process.is_some_and(|process| process.has_ended()) {
                    self.process(sender);
                } else if age > PATIENCE {
                    self.close(sender, "the process stays in a burst for a queue with a lock", false);
                }
            }
            _ => {
                let Some((_, queue)) = all.first() else { return };
                self.free_lock(vm, queue, word, &format!("owner word {word:#x}, which nobody writes who fills it"));
            }
        }
    }

    /// Frees the lock of `queue` of VM `vm` from `whom`, who had it by the owner word `word`.
    fn free_lock(&mut self, vm: usize, queue: &Queue, word: u32, whom: &str) {
        let name = &self.policy.vms[vm].name;
        let Some(port) = self.switch.rings().get_mut(vm) else { return };
        let ring_and_lock = port.connection.as_mut().and_then(|connection| connection.ring_and_lock(queue));
        let Some((ring, Some(lock))) = ring_and_lock else { return };
        if lock.take_over(word, ring) {
            port.log(Level::WARN, || warn!(vm = name, "the lock of a queue is taken over from {whom}"));
        }
    }

    fn lock(&mut self, vm: usize, index: u16) -> Option<&mut Lock> {
        self.connection(vm)?.lock(index)
    }
}
