//! Poll-mode packet I/O between virtual machines: the API that a VNF links.
//!
//! ```text
//! VirtioNet::rx_burst ─► Burst ─► PeerPort::tx_burst ─► Gate ─► the peer's receive queue
//!        ▲                 │ left over: still the caller's
//!     Mempool ◄────────────┘ accepted: delivered, buffers back in the pool
//! ```
//!
//! Reading order: [`Receive`] and [`Transmit`] (what a VNF calls), [`Burst`], [`Frame`] and [`Mempool`] (whose a buffer is), [`VirtioNet`]
//! and [`PeerPort`] (the two kinds of port; a [`VirtioNet`] sends, too, by the host's switch), [`Poller`] (what to do when nothing comes), [`Gate`] (how a call reaches the peer). examples/forward is the shortest program that uses it.
//!
//! # Threads
//! Nothing here takes a lock or allocates. A set of gate, pool, ports and bursts belongs to the thread, or vCPU, that made it; what it is made of,
//! [`Access`] and [`PacketMemory`], is `Send` and can be moved to that thread before. Nothing is `Sync`.
#![no_std]

mod burst;
mod directory;
mod frame;
mod gate;
mod mempool;
mod options;
mod packet_memory;
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

pub use burst::{BURST_SIZE, Burst};
pub use directory::PeerError;
pub use frame::{Frame, FrameError, FrameMut};
pub use gate::{Access, Gate, GateError};
pub use mempool::{BufferLen, HEADROOM, Mempool, PoolError};
pub use options::Options;
pub use packet_memory::PacketMemory;
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
pub use sluice_inside::BUILD_ID;
pub use sluice_memory::PeerSlice;
pub use stats::{RxStats, TxStats};
pub use tx_error::TxError;
pub use virtio_net::{Control, RX_SIZE, TX_SIZE, VirtioNet, VirtioNetError};
