//! Every combination, with few packets. `cargo xtask peers` runs them with many.

#[path = "../../../host/vhost-user/tests/common/mod.rs"]
#[allow(dead_code, reason = "a part is needed here")]
mod common;

use vhost_peers::{Combination, Format, Side};

/// Packets of each combination.
const PACKETS: u64 = 20_000;

fn all_are_clean(side: Side, ring: Format) {
    let _turn = common::turn();
    let mut count = 0;
    for combination in Combination::all().into_iter().filter(|one| (one.side, one.ring) == (side, ring)) {
        let row = combination.run(PACKETS).unwrap_or_else(|error| panic!("{error:?}"));
        assert!(row.is_clean() && row.packets == PACKETS, "{combination}: {row:?}");
        if side == Side::Device && ring == Format::Split {
            let path = row.receive_path.as_deref().unwrap_or_default();
            assert_eq!(path == "vectorized", combination.vectorized, "{combination}: {path}");
        }
        count += 1;
    }
    assert!(count >= 32, "{count} combinations");
}

#[test]
fn split_rings_of_our_device_side_with_testpmd() {
    all_are_clean(Side::Device, Format::Split);
}

#[test]
fn packed_rings_of_our_device_side_with_testpmd() {
    all_are_clean(Side::Device, Format::Packed);
}

#[test]
fn split_rings_of_our_driver_side_with_testpmd() {
    all_are_clean(Side::Driver, Format::Split);
}

#[test]
fn packed_rings_of_our_driver_side_with_testpmd() {
    all_are_clean(Side::Driver, Format::Packed);
}
