//! Where a slice ends, and what it refuses.

extern crate std;
use super::*;
use crate::{Avx, Words};
use sluice_abi::virtq::Desc;

#[test]
fn a_slice_ends_where_it_ends() {
    let mut words = std::vec![0u64; 4];
    let all = PeerSlice::from_mut(&mut words);
    assert!(all.sub(32, 0).is_ok());
    assert!(all.sub(33, 0).is_err());
    assert!(all.sub(1, 32).is_err());
    assert!(all.sub(u64::MAX, 2).is_err());
    for (offset, len) in [(0, 32), (32, 0), (31, 1), (33, 0), (1, 32), (u64::MAX.into(), 2), (2, u64::MAX), (0, 33)] {
        let inside = offset + u128::from(len) <= 32;
        assert_eq!(all.sub(offset as u64, len).is_ok(), inside);
    }
    assert!(all.write(25, 0u64).is_err());
    for (offset, there) in [(0, true), (24, true), (25, false), (32, false), (u64::MAX, false)] {
        assert_eq!(all.read_own::<u64>(offset).is_ok(), there);
        assert_eq!(all.write_own(offset, 0u64).is_ok(), there);
    }
    assert!(all.sub(0, 4).is_ok_and(|short| short.read_own::<u64>(0).is_err()));
    assert!(all.atomic32(29).is_none() && all.atomic32(2).is_none() && all.atomic32(28).is_some());
    assert!(all.cell16(31).is_none() && all.cell16(1).is_none() && all.cell16(30).is_some());
    assert!(all.ring::<u16>(0, 3).is_none() && all.ring::<u16>(0, 16).is_some() && all.ring::<u16>(0, 32).is_none());
    assert!(all.table::<Desc>(0, 3).is_none() && all.table::<u64>(8, 4).is_none() && all.table::<u64>(40, 0).is_none());
}

#[test]
fn bits_are_set_and_others_stay() {
    let mut words = std::vec![0u64; 1];
    let all = PeerSlice::from_mut(&mut words);
    assert!(all.set_bits(3, 0x05).is_ok() && all.set_bits(3, 0x10).is_ok() && all.set_bits(8, 1).is_err());
    assert_eq!(words, [0x1500_0000]);
}

#[test]
fn a_ring_wraps_and_a_table_refuses() {
    let mut words = std::vec![0u64; 4];
    let all = PeerSlice::from_mut(&mut words);
    let ring = all.ring::<u64>(0, 4).unwrap();
    ring.set(5_u16, 7);
    assert_eq!((ring.get(1_u16), ring.get(65_533_u16)), (7, 7));
    let table = all.table::<u64>(0, 4).unwrap();
    assert_eq!((table.get(1), table.get(4)), (Some(7), None));
    assert!(!table.set(4, 1));
}

#[test]
fn short_copies_have_every_length_up_to_their_bound() {
    every_short_copy(Words);
    if let Some(avx) = Avx::detect() {
        every_short_copy(avx);
    }
}

fn every_short_copy(lanes: impl Lanes) {
    let mut bytes: std::vec::Vec<u8> = (0..=255).collect();
    let wanted = bytes.clone();
    let all = PeerSlice::from_mut(&mut bytes);
    for len in 0..=SHORT {
        let (mut words, mut read) = (std::vec![0xa5_u8; 256], [0xa5; SHORT + 2]);
        assert_eq!(all.read_short(3, &mut read[1..=len], lanes), Ok(()));
        assert_eq!((read[0], &read[1..=len], read[len + 1]), (0xa5, &wanted[3..3 + len], 0xa5));
        let to = PeerSlice::from_mut(&mut words);
        assert_eq!(to.write_short(5, &read[1..=len], lanes), Ok(()));
        assert_eq!(words[5..5 + len], wanted[3..3 + len]);
        assert!(words[..5].iter().chain(&words[5 + len..]).all(|&byte| byte == 0xa5), "{len} bytes");
    }
    let mut long = [0; SHORT + 1];
    assert!(all.read_short(0, &mut long, lanes).is_err() && all.write_short(0, &long, lanes).is_err());
    for (at, len) in [(129, 128), (256, 1), (257, 0), (u64::MAX, 2), (250, 7)] {
        let refused = [all.read_short(at, &mut long[..len], lanes), all.write_short(at, &long[..len], lanes)];
        assert!(refused.iter().all(Result::is_err), "{at}");
    }
    assert_eq!(bytes, wanted);
    lanes.scrub();
}
