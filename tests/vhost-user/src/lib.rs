//! Third-party peers: DPDK's `dpdk-testpmd` on the other side of our rings, over vhost-user.
//!
//! | side | we are | testpmd has | our ring code |
//! |---|---|---|---|
//! | device | vhost-user back-end | `net_virtio_user`, a driver | `sluice_inside::DeviceQueue` |
//! | driver | vhost-user front-end | `net_vhost`, a device | `sluice_driver::DriverQueue` |
//!
//! testpmd sends every frame back on the queue pair it came from. Each frame carries a number, and length and payload follow from it; so
//! whatever is lost, doubled, reordered or torn on either ring shows ([`traffic`]). Reading order: [`Combination`] (what is run),
//! [`backend`] and [`frontend`] (our two ends), [`traffic`], [`testpmd`].
//!
//! # Why not vhost-user-backend
//! That crate brings a ring of its own, `VringT`, and a thread for it. What is to be tested is our ring, so only the messages are the
//! crate `vhost`'s. Specification: "Vhost-user Protocol", QEMU documentation.

pub mod backend;
mod combination;
pub mod frontend;
pub mod memory;
mod pattern;
pub mod testpmd;
pub mod traffic;

pub use combination::{Combination, Format, Row, Side};
