//! Copies of every length, through all registers.

extern crate std;
use super::*;
use crate::PeerSlice;
use std::vec::Vec;

/// Miri takes its time, so it does not see every length.
const STEP: usize = if cfg!(miri) { 19 } else { 1 };

fn every_length(lanes: impl Lanes) {
    let mut from: Vec<u8> = (0..=255).cycle().take(2100).collect();
    for len in (0..300).step_by(STEP).chain([64, 767, 768, 1518, 2047]) {
        let mut to = std::vec![0xa5; 2200];
        let source = PeerSlice::from_mut(&mut from).sub(1, len as u64).expect("2,100 bytes");
        PeerSlice::from_mut(&mut to).copy_from(3, source, lanes).expect("2,200 bytes");
        assert_eq!(to[3..3 + len], from[1..1 + len]);
        assert!(to[..3].iter().chain(&to[3 + len..]).all(|&byte| byte == 0xa5), "{len} bytes");
    }
    lanes.scrub();
}

#[test]
fn every_length_is_copied_whole_and_no_further() {
    every_length(Words);
    if let Some(a) = Avx::detect() {
        every_length(a)
    }
}
