//! A sender and its peers in ordinary memory: the driver sides that the window code meets, honest or not.

mod driver;
mod sender;

pub use driver::Peer;
pub use sender::{Burst, WindowSender};
use sluice_abi::net;
pub use sluice_test_memory::{Memory, read};

/// Start of a peer's first region, in the peer's own guest-physical space.
pub const GPA: u64 = 0x8000_0000;
/// Bytes of a peer's first region.
pub const RAM_LEN: u64 = 256 * 1024;
/// Start of the second region: right behind the first, but elsewhere in the slot.
pub const SECOND_GPA: u64 = GPA + RAM_LEN;
/// Bytes of a peer's second region.
pub const SECOND_LEN: u64 = 64 * 1024;
/// Bytes of packet memory.
pub const PACKETS_LEN: u64 = 128 * 1024;
/// Largest payload of a frame to a peer, bytes.
pub const MTU: u16 = 1500;
/// What an honest driver gives for one frame, bytes.
pub const BUFFER_LEN: u32 = 2048;
/// Where the descriptor table is in the first region.
pub const TABLE: u64 = 0x1000;
/// Where the available ring is in the first region.
pub const DRIVER: u64 = 0x2000;
/// Where the used ring is in the first region.
pub const DEVICE: u64 = 0x3000;
/// Where the buffers are in the first region.
pub const BUFFERS: u64 = 0x8000;
/// Bytes of the header before each frame.
pub const HDR_LEN: u32 = net::HDR_LEN;
/// The header: one buffer, nothing to be done.
pub const HEADER: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// Header and `payload`, as they arrive.
pub fn with_header(payload: &[u8]) -> Vec<u8> {
    [&HEADER, payload].concat()
}
