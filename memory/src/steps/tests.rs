//! How far steps go, and what each reads and writes.

extern crate std;
use super::*;
use crate::PeerSlice;
use sluice_abi::PeerIdx;

/// Takes the steps in order until `work` refuses one, and returns how many it took.
fn take_while<R: Entries>(steps: &Steps<'_, R>, work: impl Fn(&Step<'_, R>) -> Option<()>) -> usize {
    let mut step = steps.first();
    while steps.count() > 0 && work(&step).is_some() && step.advance() {}
    step.number()
}

#[test]
fn steps_go_as_far_as_all_three_do_and_no_further() {
    let (mut request, mut rings) = (std::vec![0u64; 6], std::vec![0u64; 16]);
    let request = PeerSlice::from_mut(&mut request).table::<Packet>(0, 6).unwrap();
    let all = PeerSlice::from_mut(&mut rings);
    let rings = Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 4).unwrap()).unwrap();
    let table = all.table::<Desc>(64, 4).unwrap();
    for (from, next, most) in
        (0..=7).flat_map(|from| [0, 1, 3, 4, 65_535].map(|next| (0..=7).map(move |most| (from, next, most)))).flatten()
    {
        let expected = 6u16.saturating_sub(from).min(most).min(4 - next % 4);
        assert_eq!(rings.steps(&request.from(from), next, most).count(), usize::from(expected));
        for first in [0, 3, 4, 65_535] {
            all.write(2 * u64::from(next % 4), first).unwrap();
            let in_order = rings.steps_in_order(&table, &request.from(from), next, most).count();
            assert_eq!(in_order, usize::from(expected.min(4u16.saturating_sub(first))));
        }
    }
    assert!(Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 2).unwrap()).is_none());
}

#[test]
fn slots_go_as_far_as_ring_packets_and_shadow_do() {
    let (mut request, mut ring) = (std::vec![0u64; 6], std::vec![0u64; 10]);
    let (request, all) = (PeerSlice::from_mut(&mut request), PeerSlice::from_mut(&mut ring));
    let (request, ring) = (request.table::<Packet>(0, 6).unwrap(), all.table::<packed::Desc>(0, 5).unwrap());
    let shadow = [const { Cell::new(0) }; 3];
    for (from, slot, room, expected) in
        [(0, 0, 3, 3), (4, 0, 3, 2), (0, 3, 3, 2), (0, 5, 3, 0), (0, 9, 3, 0), (0, 0, 1, 1)]
    {
        assert_eq!(Steps::slots(&ring, &request.from(from), slot, &shadow[..room]).count(), expected);
    }
    all.write(16, packed::Desc { addr: Gpa(7), len: 80, id: 3, flags: 2 }).unwrap();
    let taken = take_while(&Steps::slots(&ring, &request, 1, &shadow[1..2]), |step| {
        let available = |flags, len| (step.available::<false>(flags, len), step.available::<true>(flags, 76));
        assert_eq!(available(2, 80), (Some(3), Some(3)));
        assert_eq!([(2, 81), (3, 80), (0, 80)].map(|(flags, len)| step.available::<false>(flags, len)), [None; 3]);
        assert_eq!(step.available::<true>(0x8002, 76), None);
        assert_eq!(step.addr(), Gpa(7));
        step.note(5);
        Some(())
    });
    assert_eq!((taken, shadow.each_ref().map(Cell::get)), (1, [0, 5, 0]));
    all.write(24, 75 | 3u64 << 32 | 2 << 48).unwrap();
    let short = Steps::slots(&ring, &request, 1, &shadow[1..2]);
    assert_eq!(take_while(&short, |step| step.available::<true>(2, 76).map(|_| ())), 0);
}

#[test]
fn a_step_reads_and_writes_its_own_entries() {
    let (mut request, mut ring) = (std::vec![0u64; 4], std::vec![0u64; 8]);
    let (request, all) = (PeerSlice::from_mut(&mut request), PeerSlice::from_mut(&mut ring));
    request.write(16, Packet::new(7, 60, PeerIdx(3))).unwrap();
    all.write(6, 0x1234u16).unwrap();
    let rings = Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 4).unwrap()).unwrap();
    let steps = rings.steps(&request.table(0, 4).unwrap().from(2), 3, 4);
    let taken = take_while(&steps, |step| {
        assert_eq!((step.offset(), step.len_and_peer(), step.head()), (7, 60 | 3 << 16, 0x1234));
        assert_eq!([60 | 3 << 16, 60, 61 | 3 << 16].map(|word| step.is(word)), [true, false, false]);
        assert!(step.ahead(1).is_none());
        step.set_used_id(5);
        step.set_used_len(6);
        Some(())
    });
    assert_eq!((taken, all.read(32 + 3 * 8)), (1, Ok(UsedElem { id: 5, len: 6 })));
    assert_eq!(take_while(&steps, |_| None), 0);
}

#[test]
fn a_step_in_order_has_the_descriptor_that_follows() {
    let (mut request, mut ring) = (std::vec![0u64; 4], std::vec![0u64; 16]);
    let (request, all) = (PeerSlice::from_mut(&mut request), PeerSlice::from_mut(&mut ring));
    all.write(2, 2u16).unwrap();
    all.write(64 + 3 * 16, Desc { addr: Gpa(9), len: 80, flags: 2, next: 0 }).unwrap();
    let rings = Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 4).unwrap()).unwrap();
    let steps = rings.steps_in_order(&all.table(64, 4).unwrap(), &request.table(0, 4).unwrap(), 1, 4);
    let taken = take_while(&steps, |step| {
        step.set_used_id();
        step.set_used_len(76);
        let last = step.ahead(1).is_none();
        assert_eq!(step.is_writable::<false>(76), last);
        assert_eq!(step.addr().0, if last { 9 } else { 0 });
        assert_eq!(step.ahead(1).map(|step| step.addr().0), (!last).then_some(9));
        Some(())
    });
    assert_eq!((taken, all.read(32 + 2 * 8)), (2, Ok(UsedElem { id: 3, len: 76 })));
}
