//! Frames of every length, and what could leave either run.

extern crate std;
use super::*;
use crate::{Avx, Words};
use sluice_abi::net::PLAIN_HDR;
use std::vec::Vec;

/// For the peer whose packets have this second word, without a length.
const PEER: u32 = 3 << 16;
const NOTHING: Nothing = Nothing;

#[derive(Clone, Copy)]
struct Nothing;

impl Upcoming for Nothing {
    fn offset(self) -> Option<u64> {
        None
    }
}

/// Anywhere: it is fetched, or not, and nothing else becomes of it.
impl Upcoming for u64 {
    fn offset(self) -> Option<u64> {
        Some(self)
    }
}

fn excess(len: u32) -> Excess {
    Excess::of(PEER | len, Bias::of(PEER))
}

/// An interpreter takes its time.
const STEP: usize = if cfg!(miri) { 61 } else { 1 };
const EDGES: [u32; 16] = [32, 33, 63, 64, 65, 66, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1514];
const LONGEST: u32 = 1600;

fn every_length(lanes: impl Lanes) {
    let lanes = || Headed::new(lanes);
    let mut from: Vec<u8> = (0..=250).cycle().take(50 + LONGEST as usize + 7).collect();
    let mut to = std::vec![0xa5u8; 200 + LONGEST as usize];
    let (source, target) = (PeerSlice::from_mut(&mut from), PeerSlice::from_mut(&mut to));
    let way = Transfer::new(source, target, LONGEST as u16).unwrap();
    for len in (SHORTEST as u32..=LONGEST).step_by(STEP).chain(EDGES).chain([LONGEST]) {
        for at in [88, 101] {
            target.copy_from_slice(0, &std::vec![0xa5; target.len() as usize]).unwrap();
            assert_eq!(excess(len).total(), 12 + len);
            assert_eq!(
                way.at(51).unwrap().put(excess(len), at, lanes(), u64::from(len) << 33),
                Some(()),
                "{len} bytes"
            );
            lanes().scrub();
            let (start, end) = (at as usize + 12, at as usize + 12 + len as usize);
            let (mut sent, mut arrived) = (std::vec![0; source.len() as usize], std::vec![0; target.len() as usize]);
            source.copy_to_slice(0, &mut sent).unwrap();
            target.copy_to_slice(0, &mut arrived).unwrap();
            assert_eq!(arrived[at as usize..start], PLAIN_HDR, "{len} bytes");
            assert_eq!(arrived[start..end], sent[51..51 + len as usize], "{len} bytes");
            let around = arrived[..at as usize].iter().chain(&arrived[end..]);
            assert!(around.into_iter().all(|&byte| byte == 0xa5), "{len} bytes");
        }
    }
    target.copy_from_slice(0, &std::vec![0xa5; target.len() as usize]).unwrap();
    assert_eq!(way.at(51).unwrap().put_line(88, lanes()), Some(()));
    lanes().scrub();
    let mut arrived = std::vec![0; 200];
    target.copy_to_slice(0, &mut arrived).unwrap();
    assert_eq!((&arrived[88..100], &arrived[100..164]), (&PLAIN_HDR[..], &from[51..115]));
    assert!(arrived[..88].iter().chain(&arrived[164..]).all(|&byte| byte == 0xa5));
}

#[test]
fn every_frame_arrives_behind_its_header_and_nothing_else_is_written() {
    every_length(Words);
    if let Some(vectors) = Avx::detect() {
        every_length(vectors);
    }
}

#[test]
fn what_could_leave_either_run_is_refused() {
    let (mut from, mut to) = (std::vec![1u8; 650], std::vec![0u8; 700]);
    let way = Transfer::new(PeerSlice::from_mut(&mut from), PeerSlice::from_mut(&mut to), 600).unwrap();
    for offset in [51, u32::MAX] {
        assert!(way.at(offset).is_none());
    }
    let frame = way.at(50).unwrap();
    for offset in [89, 700, 1 << 32, u64::MAX] {
        assert!(frame.put(excess(64), offset, Headed::new(Words), NOTHING).is_none());
        assert!(frame.put_line(offset, Headed::new(Words)).is_none());
    }
    assert!([651, 511].iter().all(|&longest| {
        Transfer::new(PeerSlice::from_mut(&mut from), PeerSlice::from_mut(&mut to), longest).is_none()
    }));
    assert!(Transfer::new(PeerSlice::from_mut(&mut to), PeerSlice::from_mut(&mut from), 639).is_none());
    assert!(to.iter().all(|&byte| byte == 0));
    let (mut shorter, mut too_short) = ([0u8; 612], [0u8; 611]);
    let way = Transfer::new(PeerSlice::from_mut(&mut from), PeerSlice::from_mut(&mut shorter), 600).unwrap();
    assert!(way.into_run(PeerSlice::from_mut(&mut too_short)).is_none());
    let way = way.into_run(PeerSlice::from_mut(&mut to)).unwrap();
    assert!(way.at(50).unwrap().put(excess(64), 89, Headed::new(Words), NOTHING).is_none());
    assert!(way.at(50).unwrap().put(excess(64), 88, Headed::new(Words), NOTHING).is_some());
}

#[test]
fn another_peer_and_other_lengths_are_refused() {
    let (mut from, mut to) = (std::vec![1u8; 650], std::vec![0u8; 700]);
    let to = PeerSlice::from_mut(&mut to);
    let frame = Transfer::new(PeerSlice::from_mut(&mut from), to, 600).unwrap().at(0).unwrap();
    let fits = |word: u32| frame.put(Excess::of(word, Bias::of(PEER)), 0, Headed::new(Words), NOTHING).is_some();
    let to_is_zero = || (0..700).all(|at| to.read(at) == Ok(0u8));
    for len in [0, 1, 31, 601, 0xffff] {
        assert!(!fits(PEER | len), "{len} bytes");
    }
    for peer in [0, 2 << 16, 4 << 16, 0x0103 << 16, 0x8003 << 16, 0xffff << 16] {
        for len in [0, 31, 32, 64, 65, 128, 129, 600, 0xffdf, 0xffff] {
            assert!(!fits(peer | len) && to_is_zero(), "{len} bytes for {peer:x}");
        }
    }
    assert!(fits(PEER | 32) && fits(PEER | 600));
}

/// Offsets that are written are cut to 32 bits, so none at or above that may pass the check, however long the run is.
#[cfg(not(miri))]
#[test]
fn what_lies_behind_4_gib_is_not_written_in_place_of_what_lies_before() {
    // Pages get memory as they are touched: two.
    let mut to = std::vec![0u8; (1 << 32) + 0x1000];
    let to = PeerSlice::from_mut(&mut to);
    let mut from = std::vec![7u8; 650];
    let frame = Transfer::new(PeerSlice::from_mut(&mut from), to, 600).unwrap().at(0).unwrap();
    let last = (1 << 32) - 600 - u64::from(HDR_LEN);
    assert_eq!(
        [last, last + 1, 1 << 32, to.len() - 612].map(|at| frame.put_line(at, Headed::new(Words))),
        [Some(()), None, None, None]
    );
    assert_eq!([last + 1, 1 << 32].map(|at| frame.put(excess(600), at, Headed::new(Words), NOTHING)), [None; 2]);
    assert_eq!((to.read(0), to.read(last + 12)), (Ok(0u64), Ok(0x0707_0707_0707_0707u64)));
}
