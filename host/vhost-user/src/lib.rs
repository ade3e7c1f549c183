//! Both ends of vhost-user over Sluice's rings, for hosts: a back-end that serves a device, and a front-end that uses
//! one.
//!
//! | end | type | the other end is, for instance | ring code |
//! |---|---|---|---|
//! | device | [`Backend`], [`Session`] | QEMU, DPDK's `net_virtio_user` | [`sluice_inside::DeviceQueue`] |
//! | driver | [`Frontend`] | DPDK's `net_vhost` | [`sluice_driver::DriverQueue`] |
//!
//! ```
//! use sluice_abi::net::F;
//! use sluice_vhost_user::{Backend, Error, Frontend, Offer, Request};
//! use std::time::Duration;
//!
//! let patience = Duration::from_secs(5);
//! let folder = tempfile::tempdir()?;
//! let socket = folder.path().join("socket");
//! let backend = Backend::bind(&socket, Offer { features: F::VERSION_1, pairs: 1 })?;
//! std::thread::scope(|scope| {
//!     // A driver, which sends one frame.
//!     scope.spawn(|| -> Result<(), Error> {
//!         let mut frontend = Frontend::connect(&socket, &Request { features: F::VERSION_1, pairs: 1, size: 256 })?;
//!         assert!(frontend.send(0, &[0xa5; 60])?);
//!         frontend.flush(0)?;
//!         while !frontend.is_over()? {}
//!         Ok(())
//!     });
//!     // The device, which takes it.
//!     let mut session = backend.accept(patience)?;
//!     session.until_running(1, patience)?;
//!     let (mut frame, device) = ([0; 2_048], session.device());
//!     let len = loop {
//!         if let Some(len) = device.dequeue(0, &mut frame)? {
//!             break len;
//!         }
//!     };
//!     assert_eq!(frame[..len], [0xa5; 60]);
//!     Ok::<(), Error>(())
//! })?;
//! # Ok::<(), Error>(())
//! ```
//!
//! Reading order: [`backend`] and [`frontend`] (the two ends), [`message`] (what a front-end may ask, pure), [`memory`]
//! (mappings, and rings that keep them mapped), [`sealed`] (memory to share). Specification: "Vhost-user Protocol",
//! QEMU documentation.
//!
//! What the other end sends, and what it writes into rings, is hostile input: a session ends with an [`Error`] that
//! says why, and nothing stays open or mapped. One thing is not kept from it: who cuts a file that it has given ends
//! the process ([`memory::Mapping`]).
//!
//! # Why not the crate vhost-user-backend
//! That crate brings a ring of its own, `VringT`, and a thread for it. Here the rings are those of the window. Of the
//! crate `vhost` the front-end has its messages; why the back-end has its own says [`message`].

pub mod backend;
mod error;
pub mod frontend;
pub mod memory;
pub mod message;
pub mod sealed;
mod wait;

pub use backend::{Backend, Device, Log, Offer, Session};
pub use error::{Error, Result};
pub use frontend::{Frontend, Request};

/// Calls of a polling loop between two looks at the socket.
const ROUNDS: u32 = 256;
