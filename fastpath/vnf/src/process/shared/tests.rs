//! Where a server may have this process map the memory of its peers.

use super::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

const LEN: u64 = 2 << 20;

fn file(name: &str) -> OwnedFd {
    let file = memfd_create(name, MemfdFlags::CLOEXEC).expect("a file");
    ftruncate(&file, LEN).expect("room");
    file
}

/// The mappings of this process of the file `name`: start and end of each.
fn mappings(name: &str) -> Vec<(u64, u64)> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    let number = |text: &str| u64::from_str_radix(text, 16).expect("hexadecimal");
    let range = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        Some((number(start), number(end)))
    };
    let name = format!("memfd:{name} ");
    maps.lines().filter(|line| line.contains(&name)).filter_map(range).collect()
}

#[test]
fn a_peers_memory_is_mapped_where_the_place_says_and_replaces_the_one_before() {
    let slot = Slot::reserve().expect("addresses");
    let (peers, start, base) = (slot.peers(), slot.all.as_ptr() as u64, map::peer_base(PeerIdx(1)));
    let place = |offset| Place { slot_offset: base + offset, len: LEN, file_offset: 0 };
    let all = [(place(0), file("sluice-first")), (place(4 * LEN), file("sluice-second"))];
    assert_eq!(peers.place(PeerIdx(1), &all), Ok(()));
    assert_eq!(mappings("sluice-first"), [(start + base, start + base + LEN)]);
    assert_eq!(mappings("sluice-second").len(), 1);
    // Another peer has its own.
    assert_eq!(peers.place(PeerIdx(2), &[]), Ok(()));
    assert_eq!(mappings("sluice-first").len(), 1);
    let last = Place { slot_offset: base + PEER_STRIDE - LEN, len: LEN, file_offset: 0 };
    assert_eq!(peers.place(PeerIdx(1), &[(last, file("sluice-third"))]), Ok(()));
    let counts = ["sluice-first", "sluice-second", "sluice-third"].map(|name| mappings(name).len());
    assert_eq!(counts, [0, 0, 1]);
}

#[test]
fn a_place_outside_of_its_peers_part_is_refused() {
    let slot = Slot::reserve().expect("addresses");
    let (peers, base) = (slot.peers(), map::peer_base(PeerIdx(1)));
    let good = Place { slot_offset: base, len: LEN, file_offset: 0 };
    for (slot_offset, len) in [
        (map::peer_base(PeerIdx(0)), LEN),
        (map::peer_base(PeerIdx(2)), LEN),
        (base - LEN, LEN),
        (base + PEER_STRIDE - LEN + map::PAGE, LEN),
        (0, LEN),
        (map::PACKETS, LEN),
        (u64::MAX - LEN + 1, LEN),
        (base, PEER_STRIDE + map::PAGE),
        (base + map::PAGE, u64::MAX),
    ] {
        let wrong = Place { slot_offset, len, file_offset: 0 };
        let places = [(good, file("sluice-good")), (wrong, file("sluice-wrong"))];
        assert_eq!(peers.place(PeerIdx(1), &places), Err(Errno::INVAL), "{slot_offset:#x} {len:#x}");
        assert_eq!(mappings("sluice-good").len() + mappings("sluice-wrong").len(), 0, "{slot_offset:#x} {len:#x}");
    }
    // What the kernel refuses, too.
    for (len, file_offset) in [(0, 0), (LEN, 1), (LEN, u64::MAX)] {
        let wrong = Place { slot_offset: base + 4 * LEN, len, file_offset };
        let places = [(good, file("sluice-good")), (wrong, file("sluice-wrong"))];
        assert!(peers.place(PeerIdx(1), &places).is_err(), "{len:#x} {file_offset:#x}");
        assert_eq!(mappings("sluice-good"), []);
    }
}
