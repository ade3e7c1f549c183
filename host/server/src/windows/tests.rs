//! Where the memory of front-ends lies in windows.

use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Memory of regions with these addresses and lengths.
fn memory(parts: &[(u64, u64)]) -> Vec<(body::Region, File)> {
    let file = |(index, &(gpa, len)): (u64, &(u64, u64))| {
        let file = tempfile::tempfile().expect("a file");
        (body::Region { gpa, len, user: 0, offset: index * MIB }, file)
    };
    (0..).zip(parts).map(file).collect()
}

/// The address and slot offset of each region, in order.
fn laid_out(parts: &[(u64, u64)]) -> Option<Vec<(u64, u64)>> {
    let memory = memory(parts);
    let regions = Layout::of(&memory)?.regions();
    Some(regions.iter().map(|region| (region.gpa.0, region.slot_offset)).collect())
}

#[test]
fn the_longest_region_is_the_first_and_each_begins_at_a_large_page() {
    let laid_out = laid_out(&[(0, 640 << 10), (MIB, 64 * MIB), (4 * GIB, 64 * MIB), (GIB, 64 * MIB + 1)]);
    let expected = [(GIB, 0), (MIB, 66 * MIB), (4 * GIB, 130 * MIB), (0, 194 * MIB)];
    assert_eq!(laid_out.as_deref(), Some(&expected[..]));
}

#[test]
fn no_two_regions_overlap_and_none_leaves_the_peers_part() {
    let lens = [1, 4096, MIB, 2 * MIB, 2 * MIB + 1, 100 * MIB, GIB, 2 * GIB];
    let mut laid = 0;
    for first in lens {
        for second in lens {
            for count in [2, 3, 7, 32] {
                let parts: Vec<_> =
                    (0..count).map(|at| (at * 4 * GIB, if at % 2 == 0 { first } else { second })).collect();
                let memory = memory(&parts);
                let Some(layout) = Layout::of(&memory) else { continue };
                let regions = layout.regions();
                laid += 1;
                assert_eq!(regions.len(), parts.len());
                for pair in regions.windows(2) {
                    assert!(pair[0].slot_offset + pair[0].len <= pair[1].slot_offset, "{pair:?}");
                    assert!(pair[0].len >= pair[1].len && pair[1].slot_offset.is_multiple_of(ALIGN), "{pair:?}");
                }
                let last = regions.last().expect("a region");
                assert!(last.slot_offset + last.len + INDEX_REACH <= PEER_STRIDE, "{regions:?}");
            }
        }
    }
    assert!(laid > 100, "{laid}");
}

/// An access by an index that is not checked yet may reach 4 GiB behind the start of the first region, and 1 MiB behind
/// the end of each.
#[test]
fn memory_for_which_a_peer_has_no_room_is_refused() {
    let room = PEER_STRIDE - INDEX_REACH;
    for (parts, fits) in [
        (vec![(0, room)], true),
        (vec![(0, room + 1)], false),
        (vec![(0, 2 * GIB), (4 * GIB, room - 2 * GIB)], false),
        (vec![(0, 2 * GIB), (4 * GIB, 2 * GIB), (8 * GIB, 2 * GIB)], true),
        (vec![(0, 2 * GIB), (4 * GIB, 2 * GIB), (8 * GIB, 2 * GIB), (12 * GIB, 255 * MIB)], true),
        (vec![(0, 2 * GIB), (4 * GIB, 2 * GIB), (8 * GIB, 2 * GIB), (12 * GIB, 255 * MIB + 1)], false),
        (vec![(0, 1 << 46)], false),
    ] {
        assert_eq!(laid_out(&parts).is_some(), fits, "{parts:x?}");
    }
}

#[test]
fn places_are_the_regions_from_where_the_peer_begins_each_with_its_file() {
    let memory = memory(&[(0, MIB), (GIB, 4 * MIB)]);
    let places = Layout::of(&memory).expect("it fits").places(PEER_STRIDE).expect("copies");
    let of = |place: &Place| (place.slot_offset, place.len, place.file_offset);
    let listed: Vec<_> = places.iter().map(|(place, _)| of(place)).collect();
    assert_eq!(listed, [(PEER_STRIDE, 4 * MIB, MIB), (PEER_STRIDE + 4 * MIB, MIB, 0)]);
    let inode = |file: &dyn AsFd| fstat(file.as_fd()).expect("a file").st_ino;
    assert_eq!([inode(&places[0].1), inode(&places[1].1)], [inode(&memory[1].1), inode(&memory[0].1)]);
}

/// As QEMU has it: memory below and above 4 GiB is of one file.
#[test]
fn memory_of_one_file_lies_in_a_window_as_in_the_file() {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(3 * GIB).expect("sparse");
    let parts = |parts: &[(u64, u64, u64)]| -> Vec<_> {
        let part =
            |&(gpa, len, offset)| (body::Region { gpa, len, user: 0, offset }, file.try_clone().expect("a copy"));
        parts.iter().map(part).collect()
    };
    let two = parts(&[(0, GIB, 0), (4 * GIB, 2 * GIB, GIB)]);
    let layout = Layout::of(&two).expect("it fits");
    let of = |layout: &Layout<'_>| -> Vec<_> { layout.regions().iter().map(|it| (it.gpa.0, it.slot_offset)).collect() };
    assert_eq!(of(&layout), [(4 * GIB, GIB), (0, 0)]);
    let whole = layout.whole().expect("one file");
    let bar = |len| Bar { len, file: None };
    assert_eq!([2 * GIB, 3 * GIB, 4 * GIB].map(|len| bar(len).may_be(&whole)), [false, true, false]);
    let other = Layout::of(&memory(&[(0, MIB)])).and_then(|it| it.whole()).expect("one file");
    assert!(!Bar { len: 3 * GIB, file: Some(other) }.may_be(&whole));
    assert!(Bar { len: 3 * GIB, file: Some(whole) }.may_be(&whole));
    // What would lie twice in one place, or too far, lies as that of several files does.
    for other in [&[(0, GIB, 0), (4 * GIB, GIB, GIB / 2)][..], &[(0, GIB, 3 * GIB)]] {
        let memory = parts(other);
        let layout = Layout::of(&memory).expect("it fits");
        assert!(layout.whole().is_none() && layout.regions()[0].slot_offset == 0, "{other:?}");
    }
}
