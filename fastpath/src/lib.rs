//! Poll-mode packet I/O between virtual machines: the API that a VNF links.
//!
//! ```text
//! VirtioNet::rx_burst ─► Burst ─► PeerPort::tx_burst ─► Gate ─► the peer's receive queue
//!        ▲                 │ left over: still the caller's
//!     Mempool ◄────────────┘ accepted: delivered, buffers back in the pool
//! ```
//!
//! The crate stands on `sluice-driver`, which receives, and on `sluice-gate` and `sluice-inside`, which send.
//! `sluice-vnf` opens all of it by one call, for a VM or a process of a Sluice host; this crate alone is for programs
//! with memory, device and gate from elsewhere. Frames, bursts and pools need none of these:
//!
//! ```
//! use sluice::wrap::Counter;
//! use sluice::{BufferLen, Burst, FrameError, Mempool, PacketMemory, PeerSlice, Transmit, TxError, TxStats};
//! use sluice_abi::Gpa;
//!
//! /// A port to nowhere, which takes two frames at a time.
//! struct Sink;
//!
//! impl Transmit for Sink {
//!     fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
//!         let taken = burst.len().min(most).min(2);
//!         burst.drop_front(taken);
//!         Ok(taken)
//!     }
//!
//!     fn tx_stats(&self) -> TxStats {
//!         TxStats::NONE
//!     }
//! }
//!
//! let memory = PeerSlice::from_mut(vec![0u64; 4096].leak());
//! let memory = PacketMemory::new(Gpa(0), memory).expect("less than 4 GiB");
//! let mut free = [0; 16];
//! let pool = Mempool::new(memory, BufferLen::KiB2, &mut free).expect("room for 16 buffers");
//!
//! let mut burst = pool.burst();
//! for number in 0..4 {
//!     let mut frame = burst.push_bytes(&[number; 60])?;
//!     frame.prepend(4)?;
//!     frame.set(0, &[0x81, 0x00, 0x00, number])?;
//! }
//! burst.retain(|frame| frame.head(3) != Some([3]));
//!
//! // What a port does not take stays in the burst, in order. Any port goes into any wrapper.
//! let mut port = Counter::new(Sink);
//! assert_eq!(port.tx_burst(&mut burst, 32), Ok(2));
//! assert_eq!((burst.len(), burst.frame(0)?.head(0)), (1, Some([0x81, 0x00, 0x00, 2])));
//! assert_eq!(port.sent().frames[0], 2);
//! # Ok::<(), FrameError>(())
//! ```
//!
//! Reading order: [`Receive`] and [`Transmit`] (what a VNF calls), [`Burst`], [`Frame`] and [`Mempool`] (whose a buffer
//! is), [`VirtioNet`] and [`PeerPort`] (the two kinds of port; a [`VirtioNet`] sends, too, by the host's switch),
//! [`wrap`] (ports around a port), [`ReceiveQueue`] and [`Gate::transmit`] (the same with buffers of one's own),
//! [`Poller`] (what to do when nothing comes), [`Gate`] (how a call reaches the peer).
//!
//! # Threads
//! Nothing here takes a lock or allocates. A set of gate, pool, ports and bursts belongs to the thread, or vCPU, that
//! made it. Its sources, [`Access`] and [`PacketMemory`], are `Send` and can be moved to that thread before. Nothing is
//! `Sync`.
#![no_std]

mod access;
mod burst;
mod calls;
mod directory;
mod frame;
mod gate;
mod mempool;
mod options;
mod peer_port;
mod poller;
mod port;
mod receive_queue;
mod ring_format;
mod rx_error;
mod software;
mod stats;
mod tx_error;
mod virtio_net;
pub mod wrap;

pub use access::{Access, AccessMemory, PacketMemory};
pub use burst::{BURST_SIZE, Burst};
pub use directory::PeerError;
pub use frame::{Frame, FrameError, FrameMut};
pub use gate::{Gate, GateError};
pub use mempool::{BufferLen, HEADROOM, Mempool, PoolError};
pub use options::Options;
pub use peer_port::{PeerPort, Scatter};
pub use poller::{Idle, Next, Poller, Wait, WatchWord};
pub use port::{Receive, Transmit};
pub use receive_queue::{Arrived, Buffer, PostError, ReceiveQueue};
pub use ring_format::RingFormat;
pub use rx_error::RxError;
pub use sluice_abi::PeerIdx;
pub use sluice_abi::call::{Accepted, Clause, MAX_BURST, Outcome, Packet, Status};
pub use sluice_abi::directory::{GateKind, PeerState};
pub use sluice_abi::net::{F, Hdr, HdrF, LinkStatus, Offloads, gso};
pub use sluice_driver::{ControlError, DeviceFault, StartError};
pub use sluice_inside::{BUILD_ID, Slot, Window};
pub use sluice_memory::PeerSlice;
pub use stats::{RxStats, TxStats};
pub use tx_error::TxError;
pub use virtio_net::{Control, Queues, RX_SIZE, TX_SIZE, VirtioNet, VirtioNetError};
