//! The parts of a VM's RAM that the windows of others map: the pages of its receive rings, and its runs. Nothing else
//! is mapped (rule G1).

use crate::Runs;
use alloc::vec::Vec;
use core::ops::Range;
use sluice_abi::Gpa;
use sluice_abi::directory::{Peer, Queue, Region};
use sluice_abi::map::PAGE;
use sluice_abi::net::F;
use sluice_abi::packed::{EventSuppress, ring_len};
use sluice_abi::virtq::{avail, desc_table_len, used};

/// Lists in `peer` the regions to map for its queues and for `runs`, of a VM with `ram_len` bytes of RAM, where GPA 0
/// of that VM has the slot offset `base`. Ranges that touch become one region. The longest region, in which most
/// buffers lie, is the first.
///
/// An area of a queue that is not within RAM is left out. The user of the queue then finds that it lies in no region.
pub fn list(peer: &mut Peer, runs: &Runs, ram_len: u64, base: u64) {
    let queues = peer.queues.iter().take(peer.queue_count as usize);
    let runs = runs.iter().map(|run| run.gpa.0..run.gpa.0 + run.len);
    let mut ranges: Vec<_> = queues.flat_map(|queue| pages(queue, ram_len)).chain(runs).collect();
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut().filter(|last| range.start <= last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => merged.push(range),
        }
    }
    merged.sort_by_key(|range| (u64::MAX - (range.end - range.start), range.start));
    let regions = merged.into_iter().map(|range| Region {
        gpa: Gpa(range.start),
        len: range.end - range.start,
        slot_offset: base + range.start,
    });
    peer.region_count = 0;
    for (listed, region) in peer.regions.iter_mut().zip(regions) {
        *listed = region;
        peer.region_count += 1;
    }
}

/// Returns the pages in which the three areas of `queue` lie.
fn pages(queue: &Queue, ram_len: u64) -> impl Iterator<Item = Range<u64>> {
    let event = size_of::<EventSuppress>() as u64;
    let [desc, driver, device] = if queue.features & F::RING_PACKED.bits() != 0 {
        [ring_len(queue.size), event, event]
    } else {
        [desc_table_len(queue.size), avail::len(queue.size), used::len(queue.size)]
    };
    let at = queue.addresses;
    [(at.desc, desc), (at.driver, driver), (at.device, device)].into_iter().filter_map(move |(at, len)| {
        let end = at.0.checked_add(len)?.checked_next_multiple_of(PAGE)?;
        (end <= ram_len).then_some(at.0 & !(PAGE - 1)..end)
    })
}

/// Returns the ranges of the regions `of`, which are one peer's in any order, that are in no region of `without`.
pub fn difference(of: &[Region], without: &[Region]) -> Vec<Range<u64>> {
    let ranges = |regions: &[Region]| -> Vec<_> { regions.iter().map(|r| r.gpa.0..r.gpa.0 + r.len).collect() };
    ranges(without).into_iter().fold(ranges(of), |left, hole| left.into_iter().flat_map(|r| cut(r, &hole)).collect())
}

/// Returns the parts of `range` that are not in `hole`.
fn cut(range: Range<u64>, hole: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let before = range.start..range.end.min(hole.start);
    let behind = range.start.max(hole.end)..range.end;
    [before, behind].into_iter().filter(|range| !range.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_abi::run::Run;
    use sluice_abi::virtq::QueueAddresses;

    const M: u64 = 1 << 20;
    const RAM: u64 = 16 * M;

    /// Returns the regions listed for a split queue of 256 entries with these areas, and these runs (GPA and length).
    fn listed(areas: [u64; 3], runs: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut known = Runs::default();
        let mut offset = 0;
        for &(gpa, len) in runs {
            known.add(Run { gpa: Gpa(gpa), len, offset }, RAM).unwrap();
            offset += len;
        }
        let [desc, driver, device] = areas.map(Gpa);
        let mut peer = Peer { queue_count: 1, ..Peer::default() };
        peer.queues[0] = Queue { addresses: QueueAddresses { desc, driver, device }, size: 256, ..Queue::default() };
        list(&mut peer, &known, RAM, 7 << 32);
        let regions = &peer.regions[..peer.region_count as usize];
        assert!(regions.iter().all(|region| region.slot_offset == (7 << 32) + region.gpa.0));
        regions.iter().map(|region| (region.gpa.0, region.len)).collect()
    }

    /// The descriptor table takes 4 KiB, the available ring 518 bytes, the used ring 2,054 bytes. Exactly their pages
    /// are listed.
    #[test]
    fn a_ring_without_runs_is_its_pages() {
        assert_eq!(listed([0x1000, 0x3000, 0x5000], &[]), [(0x1000, 0x1000), (0x3000, 0x1000), (0x5000, 0x1000)]);
        assert_eq!(listed([0x1010, 0x8ffe, 0x20_0004], &[]), [(0x1000, 0x2000), (0x8000, 0x2000), (0x20_0000, 0x1000)]);
        assert_eq!(listed([0x1000, 0x2000, 0x2800], &[]), [(0x1000, 0x3000)], "what touches is one");
    }

    #[test]
    fn runs_come_with_the_rings_and_the_longest_first() {
        assert_eq!(listed([0x1000, 0x3000, 0x5000], &[(2 * M, 2 * M)])[0], (2 * M, 2 * M));
        assert_eq!(
            listed([0x1000, 0x2000, 0x2800], &[(4 * M, 4 * M), (8 * M, 2 * M)]),
            [(4 * M, 6 * M), (0x1000, 0x3000)]
        );
        let inside = [4 * M, 4 * M + 0x1000, 4 * M + 0x2000];
        assert_eq!(listed(inside, &[(4 * M, 4 * M)]), [(4 * M, 4 * M)]);
        let before = 4 * M - 0x1000;
        assert_eq!(listed([before, 4 * M, 4 * M + 0x1000], &[(4 * M, 4 * M)]), [(before, 4 * M + 0x1000)]);
    }

    /// No region reaches past the end of RAM, whatever a driver writes.
    #[test]
    fn an_area_that_is_not_in_ram_is_left_out() {
        for nowhere in [RAM, RAM - 0x800, 1 << 46, u64::MAX - 0x800, u64::MAX - 0xf_ffff] {
            assert_eq!(listed([nowhere, 0x3000, 0x5000], &[]), [(0x3000, 0x1000), (0x5000, 0x1000)], "{nowhere:#x}");
        }
        assert_eq!(listed([RAM - 0x1000, 0x3000, 0x4000], &[]), [(0x3000, 0x2000), (RAM - 0x1000, 0x1000)]);
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "these are lists of ranges")]
    fn a_difference_is_what_one_has_and_the_other_has_not() {
        let regions = |ranges: &[Range<u64>]| -> Vec<Region> {
            let region = |r: &Range<u64>| Region { gpa: Gpa(r.start), len: r.end - r.start, slot_offset: r.start };
            ranges.iter().map(region).collect()
        };
        for (of, without, left) in [
            (&[10..20][..], &[][..], &[10..20][..]),
            (&[10..20], &[10..20], &[]),
            (&[10..20], &[0..10, 20..30], &[10..20]),
            (&[10..20], &[12..14, 16..18], &[10..12, 14..16, 18..20]),
            (&[10..20, 30..40], &[15..35], &[10..15, 35..40]),
            (&[10..20], &[0..30], &[]),
            (&[], &[0..30], &[]),
        ] {
            assert_eq!(difference(&regions(of), &regions(without)), left);
        }
    }
}
