//! Queues that windows share with the switch: who has their locks, and for how long.
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
//! What a process had published is in the used ring, and what it had not is in buffers that the next producer fills
//! again: [`sluice_abi::queue_lock`].

use super::Server;
use super::windows::{Name, PATIENCE};
use crate::connection::Connection;
use crate::queue_lock::Lock;
use crate::windows::State;
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

    /// Has the switch take the lock of the queue of a window that is about to open, if that shares it.
    pub(super) fn share(&mut self, name @ (vm, index): Name) {
        let peer = self.policy.vms[vm].peers[index];
        let is_shared = self.is_shared(name);
        let Some(lock) = self.lock(peer).filter(|_| is_shared) else { return };
        lock.is_used = true;
        let published = lock.published(number_of(vm));
        if let Some(window) = self.window(name) {
            window.published = published;
        }
    }

    /// Frees the lock of the queue of a window that has closed, if its process has it, and lets the switch do without
    /// if nobody else shares the queue.
    pub(super) fn unshare(&mut self, (vm, index): Name) {
        let peer = self.policy.vms[vm].peers[index];
        let shares = |server: &mut Self, name: Name| {
            server.is_shared(name) && !matches!(server.window(name).map(|it| it.state), None | Some(State::Closed))
        };
        let is_used = self.windows_on(peer).into_iter().any(|name| shares(self, name));
        let Some(lock) = self.lock(peer) else { return };
        lock.is_used = is_used;
        if let Some((word, _)) = lock.holder().filter(|(word, _)| owner(*word) == number_of(vm)) {
            self.free_lock(peer, word, &format!("process {}, which fills it no more", self.policy.vms[vm].name));
        }
    }

    /// Returns how many buffers came through a window that shares its queue since this was asked last.
    pub(super) fn take_published(&mut self, name @ (vm, index): Name) -> u32 {
        let peer = self.policy.vms[vm].peers[index];
        let now = self.lock(peer).map_or(0, |lock| lock.published(number_of(vm)));
        let before = self.window(name).map_or(now, |window| std::mem::replace(&mut window.published, now));
        now.wrapping_sub(before)
    }

    /// Looks who has the locks of shared queues.
    pub(super) fn look_after_locks(&mut self) {
        for vm in 0..self.policy.vms.len() {
            let lock = self.lock(vm).filter(|lock| lock.is_used);
            if let Some((word, age)) = lock.and_then(Lock::holder) {
                self.look_at_holder(vm, word, age);
            }
        }
    }

    /// Looks at the owner of the lock of VM `vm`, whose owner word has been `word` for `age`.
    fn look_at_holder(&mut self, vm: usize, word: u32, age: Duration) {
        let of = |&(sender, _): &Name| number_of(sender) == owner(word);
        let name = self.windows_on(vm).into_iter().find(of).filter(|&name| self.is_shared(name));
        let state = name.and_then(|name| self.window(name)).map(|window| window.state);
        match (name, state) {
            (Some((sender, _)), Some(State::Open | State::Draining(..))) => {
                let process = self.connection(sender).and_then(Connection::process);
                if process.is_some_and(|process| process.has_ended()) {
                    self.process(sender);
                } else if age > PATIENCE {
                    self.close(sender, "the process stays in a burst for a queue that others fill, too", false);
                }
            }
            _ => self.free_lock(vm, word, &format!("owner word {word:#x}, which nobody writes who fills it")),
        }
    }

    /// Frees the lock of VM `vm` from `whom`, who had it by the owner word `word`.
    fn free_lock(&mut self, vm: usize, word: u32, whom: &str) {
        let name = &self.policy.vms[vm].name;
        let Some(port) = self.switch.rings().get_mut(vm) else { return };
        let lock = port.connection.as_ref().and_then(|connection| connection.lock.as_ref());
        if lock.is_some_and(|lock| lock.take_over(word)) {
            port.log(Level::WARN, || warn!(vm = name, "the lock of the shared queue is taken over from {whom}"));
        }
    }

    fn lock(&mut self, vm: usize) -> Option<&mut Lock> {
        self.connection(vm)?.lock.as_mut()
    }
}
