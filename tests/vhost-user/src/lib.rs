//! Third-party peers: DPDK's `dpdk-testpmd`, and QEMU, on the other side of Sluice's rings, over vhost-user.
//!
//! | side | Sluice is | testpmd has |
//! |---|---|---|
//! | device | a [`sluice_vhost_user::Backend`] | `net_virtio_user`, a driver |
//! | driver | a [`sluice_vhost_user::Frontend`] | `net_vhost`, a device |
//!
//! testpmd sends every frame back on the queue pair that the frame came from. Each frame carries a number, from which
//! its length and payload follow. So a frame that is lost, doubled, reordered or torn on either ring is found
//! ([`traffic`]). Reading order: [`Combination`] (what is run), [`traffic`], [`testpmd`], [`qemu`] (another driver).

mod combination;
mod pattern;
mod port;
pub mod qemu;
pub mod testpmd;
pub mod traffic;

pub use combination::{Combination, Format, Row, Side};
