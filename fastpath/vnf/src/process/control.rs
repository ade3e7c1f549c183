//! Device registers over a socket, or a port that leads to one: each access is one message to the host and one answer.
//! See: docs/interfaces.md.

use rustix::fd::OwnedFd;
use sluice_abi::call::Status;
use sluice_abi::run::{RUN_ALIGN, Run};
use sluice_driver::Registers;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::OnceLock;

/// Descriptor of the control socket.
pub const CONTROL_FD: u16 = 3;
/// Descriptor of the window directory.
pub const DIRECTORY_FD: u16 = 4;
/// Descriptor of this process's RAM.
pub const RAM_FD: u16 = 5;
/// Descriptor of this process's request block.
pub const REQUEST_FD: u16 = 6;
/// Descriptor of the RAM of the peer at index 0. Those of the other peers follow.
pub const FIRST_PEER_FD: u16 = 7;

/// The control socket of this process, or the port that leads to it.
static SOCKET: OnceLock<OwnedFd> = OnceLock::new();

/// Makes `socket` the control socket. The first one stays.
pub(super) fn connect(socket: OwnedFd) {
    let _ = SOCKET.set(socket);
}

/// Registers of this process's network device.
pub struct Control(Option<File>);

impl Control {
    pub(super) fn new() -> Self {
        Self(SOCKET.get().and_then(|socket| socket.try_clone().ok()).map(File::from))
    }

    /// Sends one message of four words, and returns the answer. Without a host every register reads 0, as where there
    /// is no device.
    fn exchange(&mut self, message: [u32; 4]) -> u32 {
        let mut answer = [0; 4];
        let message = message.map(u32::to_le_bytes);
        let done = self
            .0
            .as_mut()
            .map(|socket| socket.write_all(message.as_flattened()).and_then(|()| socket.read_exact(&mut answer)));
        if !matches!(done, Some(Ok(()))) {
            self.0 = None;
            return 0;
        }
        u32::from_le_bytes(answer)
    }

    /// Adds `run` to this process's packet memory.
    pub(super) fn add_run(&mut self, run: Run) -> Status {
        let [gpa, len, offset] = [run.gpa.0, run.len, run.offset].map(pieces);
        Status(self.exchange([2, gpa, len, offset]).into())
    }

    /// Removes `run` from this process's packet memory.
    pub(super) fn remove_run(&mut self, run: Run) -> Status {
        let [len, offset] = [run.len, run.offset].map(pieces);
        Status(self.exchange([3, 0, len, offset]).into())
    }
}

/// Returns `bytes` in the unit of the messages about runs, [`RUN_ALIGN`].
fn pieces(bytes: u64) -> u32 {
    u32::try_from(bytes / RUN_ALIGN).unwrap_or(u32::MAX)
}

impl Registers for Control {
    fn read(&mut self, register: u32) -> u32 {
        self.exchange([0, register, 0, 0])
    }

    fn write(&mut self, register: u32, value: u32) {
        self.exchange([1, register, value, 0]);
    }
}
