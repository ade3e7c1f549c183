//! What is connected to the sockets of VMs: accepted, listened to, and closed.

use super::flows::now;
use super::{MESSAGES, Server};
use crate::connection::{Connection, Next};
use sluice_abi::net::F;
use tracing::{Level, debug, error, info, warn};

impl Server {
    /// Accepts a front-end of VM `vm`. While the VM has one, another is refused.
    pub(super) fn accept(&mut self, vm: usize) {
        if self.connection(vm).is_some_and(|connection| connection.is_over()) {
            self.drain(vm);
            self.close(vm, "the front-end has hung up", true);
        }
        let name = &self.policy.vms[vm].name;
        let Some(port) = self.switch.rings().get_mut(vm) else { return };
        let stream = match self.sockets[vm].accept() {
            Ok(Some(stream)) => stream,
            Ok(None) => return,
            Err(error) => return port.log(Level::WARN, || warn!(vm = name, %error, "a front-end can't be accepted")),
        };
        if port.connection.is_some() {
            return port
                .log(Level::WARN, || warn!(vm = name, "a second front-end is refused while the first is connected"));
        }
        let connection = match self.policy.vms[vm].ram_len {
            None => Ok(Connection::front_end(stream, self.policy.vms[vm].pairs)),
            Some(ram_len) => self.welcome(vm, stream, ram_len),
        };
        let (name, Some(port)) = (&self.policy.vms[vm].name, self.switch.rings().get_mut(vm)) else { return };
        match connection {
            Ok(connection) => {
                port.log(Level::INFO, || info!(vm = name, "a {} has connected", connection.kind()));
                port.connects += 1;
                port.connection = Some(connection);
                self.flows.start(vm as u32, now());
            }
            Err(why) => port.log(Level::WARN, || warn!(vm = name, why, "a process is refused")),
        }
        self.publish(vm);
        self.open_windows(vm);
    }

    /// Handles messages on the socket of VM `vm`, and takes over what they have set up.
    pub(super) fn messages(&mut self, vm: usize) {
        match self.handle_messages(vm, MESSAGES) {
            Ok(()) => self.set_up(vm),
            Err(why) => {
                let is_left = self.connection(vm).is_some_and(|connection| connection.is_over());
                if is_left {
                    self.drain(vm);
                }
                self.close(vm, &why, is_left);
            }
        }
    }

    /// Looks at what the process that is VM `vm` has mapped, and whether it has ended.
    pub(super) fn process(&mut self, vm: usize) {
        let Some(process) = self.connection(vm).and_then(|connection| connection.process()) else { return };
        if process.has_ended() {
            self.close(vm, "the process has ended", true);
        } else if let Err(why) = self.placed(vm) {
            let process = self.connection(vm).and_then(Connection::process);
            let is_left = process.is_some_and(|process| process.has_hung_up());
            self.close(vm, if is_left { "the process has hung up" } else { &why }, is_left);
        }
    }

    /// Takes over what the front-end of VM `vm` has set up, and opens windows that can be.
    pub(super) fn set_up(&mut self, vm: usize) {
        self.learn_rings(vm);
        if self.connection(vm).is_some_and(|connection| connection.process().is_none()) {
            self.open_windows(vm);
        }
    }

    /// Takes over what rings the front-end of VM `vm` has set up.
    fn learn_rings(&mut self, vm: usize) {
        let Some(connection) = self.connection(vm) else { return };
        let Some((features, queues)) = connection.set_up() else { return };
        let pairs = connection.pairs();
        self.network.set_pairs(vm as u32, pairs);
        if let Some(event) = self.network.set_up(vm as u32, features, &queues) {
            let (name, rings) = (&self.policy.vms[vm].name, queues.len());
            if let Some(port) = self.switch.rings().get_mut(vm) {
                port.log(Level::DEBUG, || debug!(vm = name, ?event, rings, "the front-end has changed its rings"));
            }
        }
    }

    /// Ends the connection of VM `vm`. Its socket stays. `is_left` says whether the other end has closed its own. A
    /// process is ended, and gone once it can write nothing more; a VM goes on, without windows.
    pub(super) fn close(&mut self, vm: usize, why: &str, is_left: bool) {
        self.close_windows_on(vm);
        if !self.close_windows_of(vm) {
            // The windows are looked after, and then this is done once more.
            return self.connection(vm).map_or((), |connection| connection.end(why.to_owned(), is_left));
        }
        let name = &self.policy.vms[vm].name;
        let Some(port) = self.switch.rings().get_mut(vm) else { return };
        let Some(connection) = &mut port.connection else { return };
        if let Some(process) = connection.process().filter(|process| !process.is_in_vm() && !process.has_ended()) {
            match process.kill() {
                Ok(()) => return connection.end(why.to_owned(), is_left),
                Err(error) => port.log(Level::ERROR, || error!(vm = name, %error, "the process can't be ended")),
            }
        }
        self.forget_windows_of(vm);
        let name = &self.policy.vms[vm].name;
        let Some(port) = self.switch.rings().get_mut(vm) else { return };
        let Some(connection) = port.connection.take() else { return };
        let (why, is_left) = connection.fault().map_or((why, is_left), |fault| (fault, connection.is_left()));
        port.last_end = Some(why.to_owned());
        if is_left {
            port.log(Level::INFO, || info!(vm = name, why, "the {} has left", connection.kind()));
        } else {
            port.log(Level::WARN, || warn!(vm = name, why, "the session is closed"));
        }
        match self.policy.vms[vm].ram_len {
            None => drop(self.network.set_up(vm as u32, F::empty(), &[])),
            Some(_) => self.network.remove(vm as u32),
        }
        self.flows.end(vm as u32);
        self.windows_on(vm).into_iter().for_each(|window| self.release(window));
    }

    /// Handles what has come on the socket of VM `vm`, up to `most` messages. One that takes something away waits until
    /// the windows on the VM are closed.
    fn handle_messages(&mut self, vm: usize, most: usize) -> Result<(), String> {
        for _ in 0..most {
            let Some(connection) = self.connection(vm).filter(|connection| connection.fault().is_none()) else { break };
            let is_process = connection.process().is_some();
            match connection.next()? {
                Next::Nothing => break,
                Next::Taking if !self.close_windows_on(vm) => break,
                Next::Message | Next::Taking if is_process => self.request(vm)?,
                Next::Message => self.connection(vm).map_or(Ok(()), Connection::handle)?,
                Next::Taking => {
                    self.connection(vm).map_or(Ok(()), Connection::handle)?;
                    // A ring that stops and starts with the next message has begun anew.
                    self.learn_rings(vm);
                }
            }
        }
        Ok(())
    }
}
