//! What executes in the peer's view: the device side of its virtio-net receive queue, split or packed.
//!
//! It stands on `sluice-abi` and `sluice-memory`, between the gate and the peer's rings. Alone it is a device side for
//! anybody who has a queue of VIRTIO in memory: a vhost-user backend, a simulation.
//!
//! ```
//! use sluice_abi::Gpa;
//! use sluice_abi::call::Clause;
//! use sluice_abi::directory::Queue;
//! use sluice_abi::net::{F, Hdr};
//! use sluice_abi::virtq::{Desc, DescF, QueueAddresses, UsedElem};
//! use sluice_inside::{DeviceQueue, Enqueue, Regions};
//! use sluice_memory::{PeerSlice, Words};
//!
//! // A driver's RAM, and in it a split queue with one buffer: 2,048 bytes at 1000H.
//! let ram = PeerSlice::from_mut(vec![0u64; 1024].leak());
//! let addresses = QueueAddresses { desc: Gpa(0), driver: Gpa(0x100), device: Gpa(0x200) };
//! let buffer = Desc { addr: Gpa(0x1000), len: 2048, flags: DescF::WRITE.bits(), next: 0 };
//! let written = ram.write(0, buffer).and_then(|()| ram.write(0x102, 1_u16));
//! assert!(written.is_ok());
//!
//! // The device side fills it. Nothing is seen by the driver before `publish`.
//! let regions = Regions::from_slices(&[(Gpa(0), ram)])?;
//! let queue = Queue { addresses, features: F::VERSION_1.bits(), size: 8, ..Default::default() };
//! let mut queue = DeviceQueue::new(&queue, &regions)?;
//! let mut frame = [0x0102_0304_0506_0708_u64; 8];
//! let done = queue.enqueue(&regions, &Hdr::default(), PeerSlice::from_mut(&mut frame), 1514, Words)?;
//! queue.publish();
//! assert_eq!((done, ram.read::<u16>(0x202)), (Enqueue::Filled, Ok(1)));
//! assert_eq!(ram.read(0x204), Ok(UsedElem { id: 0, len: 12 + 64 }));
//!
//! // A driver that says it gave more buffers than the queue has entries is blamed, by the clause that it broke.
//! assert!(ram.write(0x102, 100_u16).is_ok());
//! assert_eq!(queue.available(), Err(Clause::AvailIdx));
//! # Ok::<(), Clause>(())
//! ```
//!
//! Built twice from the same source: as the window image (`src/bin/window.rs`, linked by window.ld, run in the window
//! view) and as this library (the gates `Direct`, `Guarded` and `Hypercall`, the host, the tests).
//!
//! Reading order: [`transmit`] (a call), [`Window`] (what outlives a call), [`DeviceQueue`] (one ring), [`Regions`]
//! (whose memory).
//!
//! Everything a peer can write is read once, through `sluice_memory`; what is wrong with it is a
//! [`sluice_abi::call::Clause`] blamed on that peer. Nothing here allocates, logs, keeps statics, panics or calls
//! through a pointer (rule G12).
#![cfg_attr(not(test), no_std)]

mod host;
mod peer_window;
mod phase;
mod queue;
mod queue_lock;
mod regions;
mod runs;
mod transmit;
mod window;

/// Hash of what this ring code was made of. See: [`sluice_abi::build_id`].
pub const BUILD_ID: u64 = match u64::from_str_radix(env!("SLUICE_BUILD_ID"), 16) {
    Ok(id) => id,
    Err(_) => panic!("build.rs writes 16 hexadecimal digits"),
};

pub use host::Slot;
pub use queue::{Dequeue, DeviceQueue, DirtyLog, Enqueue};
pub use queue_lock::{LockPage, OwnerWord, QueueLock};
pub use regions::Regions;
pub use transmit::{tags, transmit};
pub use window::Window;

// The driver side that the tests in tests/ have, for the tests in here, too.
#[cfg(test)]
extern crate self as sluice_inside;
#[cfg(test)]
#[allow(dead_code, missing_docs, unused_imports, reason = "the unit tests need a part of it")]
#[path = "../tests/driver/mod.rs"]
mod driver;
#[cfg(test)]
#[allow(dead_code, missing_docs, unused_imports, reason = "the unit tests need a part of it")]
#[path = "../tests/peer/mod.rs"]
mod peer;
