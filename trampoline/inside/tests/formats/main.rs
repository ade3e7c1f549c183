//! What a device side does with lawful drivers: every format, every shape of buffer.

mod lengths;
mod lifecycle;
mod merge;
mod notify;
mod positions;
mod receive;
mod respond;
mod send;

#[allow(dead_code, unused_imports, reason = "the other tests need the rest")]
#[path = "../driver/mod.rs"]
mod driver;
#[allow(dead_code, unused_imports, reason = "the other tests need the rest")]
#[path = "../peer/mod.rs"]
mod peer;

use driver::Driver;
use peer::Memory;
use sluice_abi::PeerIdx;
use sluice_abi::call::Packet;
use sluice_abi::net::{F, Hdr};
use sluice_inside::{Slot, Window};
use sluice_memory::PeerSlice;
use zerocopy::IntoBytes;

const SPLIT: F = F::empty();
/// Formats, each with a size that it may have.
const FORMATS: [(F, u16); 5] =
    [(SPLIT, 8), (F::IN_ORDER, 8), (F::RING_PACKED, 8), (F::RING_PACKED, 7), (F::RING_PACKED.union(F::IN_ORDER), 5)];
const PLAIN: Hdr =
    Hdr { flags: 0, gso_type: 0, hdr_len: 0, gso_size: 0, csum_start: 0, csum_offset: 0, num_buffers: 0 };
const PACKET: Packet = Packet::new(0, 64, PeerIdx(0));

fn bytes(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + number * 13 + 1) as u8).collect()
}

/// A frame in memory of its own.
fn frame(bytes: &[u8]) -> (Memory, PeerSlice<'static>) {
    let memory = Memory::new(&[bytes.len() as u64]);
    memory.run(0).copy_from_slice(0, bytes).expect("inside");
    let run = memory.run(0);
    (memory, run)
}

fn arrived(num_buffers: u16, payload: &[u8]) -> Vec<u8> {
    let hdr = Hdr { num_buffers, ..PLAIN };
    [hdr.as_bytes(), payload].concat()
}

/// A window with `driver` at place 0, and its sender's packets and request.
fn window_to(driver: &Driver) -> (Window, Memory, Memory) {
    window_with_mtu(driver, 1500)
}

/// The same for frames whose payload is at most `mtu` bytes long.
fn window_with_mtu(driver: &Driver, mtu: u16) -> (Window, Memory, Memory) {
    let (mut window, packets, request) = (Window::new(), Memory::new(&[0x4000]), Memory::new(&[4096]));
    assert_eq!(window.attach_peer(PeerIdx(0), &driver.entry(mtu), Slot::of(driver.ram())), Ok(()));
    window.set_packets(packets.run(0));
    (window, packets, request)
}
