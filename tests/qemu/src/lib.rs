//! Test bed: stock QEMU virtual machines with a stock kernel of Debian, whose network devices are served over
//! vhost-user by whoever listens at a socket.
//!
//! Nothing of it is Sluice's, and nothing but QEMU itself is installed. The processor is emulated (TCG), so it runs
//! where there is no KVM. Reading order: [`Linux`] and [`Qemu`] (what runs), [`Vm`] (with which devices), [`Guest`] (a
//! running one, and commands in it).
//!
//! # Why not commands over the console
//! The kernel writes there when it likes, and a line discipline changes bytes. A port of virtio-serial has neither, so
//! an answer is exactly what a command wrote, of any size.
#![forbid(unsafe_code)]

mod archive;
mod guest;
mod linux;
mod qmp;
mod vm;

pub use guest::Guest;
pub use linux::Linux;
pub use qmp::Qmp;
pub use vm::{Nic, Qemu, Vm};
