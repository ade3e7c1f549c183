//! Frames of every length, through general and through vector registers: they arrive as a plain copy would bring them,
//! and no byte around them changes.

use super::*;
use driver::Piece;
use sluice_abi::call::{Outcome, Status};
use sluice_inside::transmit;
use sluice_memory::{Avx, Lanes, Words};

/// The longest frame of these tests, bytes.
const LONGEST: usize = 1600;
const UNTOUCHED: u8 = 0xee;
/// Distance of two frames in packet memory: odd, so that they begin at all places of a cache line.
const STRIDE: usize = 1653;

/// Everything that one sender needs to send frames to one driver.
struct Ends {
    driver: Driver,
    window: Window,
    packets: Memory,
    request: Memory,
}

impl Ends {
    fn new(features: F, size: u16) -> Self {
        let driver = Driver::new(size, features);
        let (window, packets, request) = window_with_mtu(&driver, LONGEST as u16 - 14);
        Self { driver, window, packets, request }
    }

    /// Sends a burst of frames of these lengths into buffers that are longer by `more` than they must be.
    fn send(&mut self, lens: &[usize], more: u32, lanes: impl Lanes) {
        let mut frames: Vec<(Piece, Vec<u8>)> = Vec::new();
        for (place, &len) in lens.iter().enumerate() {
            let piece = self.driver.piece(len as u32 + 12 + more, true);
            self.driver.put(&[piece], &vec![UNTOUCHED; piece.1 as usize]);
            self.driver.give(&[piece], false);
            let payload = bytes(place + len, len);
            self.packets.run(0).copy_from_slice((STRIDE * place) as u64, &payload).expect("inside");
            let packet = Packet::new((STRIDE * place) as u32, len as u16, PeerIdx(0));
            self.request.run(0).write(8 * place as u64, packet).expect("inside");
            frames.push((piece, payload));
        }
        let Outcome { status, .. } = transmit(&mut self.window, self.request.run(0), lens.len() as u64, lanes);
        assert_eq!(status, Status::OK, "{lens:?}");
        for (piece, payload) in frames {
            let (used, arriving) = self.driver.take().expect("a frame");
            assert_eq!((used, &arriving), (payload.len() as u32 + 12, &arrived(1, &payload)));
            assert_eq!(self.driver.bytes_of(piece)[used as usize..], vec![UNTOUCHED; more as usize], "{used} bytes");
        }
        assert_eq!(self.driver.take(), None);
    }
}

fn every_length(lanes: impl Lanes) {
    for (features, size) in FORMATS {
        let mut ends = Ends::new(features, size);
        for len in (1..=LONGEST).step_by(if cfg!(miri) { 97 } else { 1 }) {
            ends.send(&[len], (len % 3) as u32 * 37, lanes);
            // Alone in its burst, and between others, of which some have the loop for 64-byte frames.
            ends.send(&[64, len, 64, 1 + (len * 7) % LONGEST, len], (len % 5) as u32, lanes);
        }
    }
}

#[test]
fn through_general_registers_every_length_arrives_and_nothing_else_is_written() {
    every_length(Words);
}

#[test]
fn through_vector_registers_every_length_arrives_and_nothing_else_is_written() {
    if let Some(lanes) = Avx::detect() {
        every_length(lanes);
    }
}

/// What is about to be longer or shorter than the moves of one class of lengths.
#[test]
fn around_each_power_of_two_bursts_of_mixed_lengths_arrive() {
    let around = |len: usize| [len - 2, len - 1, len, len + 1, len + 2];
    let lens: Vec<_> = [4, 8, 16, 32, 64, 128, 256, 512, 1024, 1518].into_iter().flat_map(around).collect();
    for (features, size) in FORMATS {
        let mut ends = Ends::new(features, size);
        for round in 0..if cfg!(miri) { 2 } else { lens.len() } {
            let burst: Vec<_> = (0..usize::from(size)).map(|at| lens[(round * 3 + at * 17) % lens.len()]).collect();
            ends.send(&burst, 1, Words);
            if let Some(lanes) = Avx::detect() {
                ends.send(&burst, 1, lanes);
            }
        }
    }
}
