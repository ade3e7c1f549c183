//! Bursts and their frames.

#[allow(dead_code, reason = "another test needs the rest")]
mod world;

use sluice::{
    BufferLen, FrameError, HEADROOM, MAX_BURST, Mempool, PacketMemory, PeerIdx, PeerPort, PoolError, RingFormat,
    Scatter, Transmit,
};
use sluice_abi::Gpa;
use sluice_test_memory::zeroed;
use world::{World, contents, frame, pool, push};

/// Returns a pool of `buffers`.
fn small(buffers: usize) -> &'static Mempool<'static> {
    pool(Gpa(0), zeroed(1 << 20), BufferLen::KiB2, buffers)
}

#[test]
fn every_buffer_is_in_the_pool_or_in_one_burst() {
    let (gate, pool, _receivers) = World::all(8, RingFormat::default());
    let mut port = PeerPort::new(&gate, PeerIdx(0));
    let (mut one, mut two) = (pool.burst(), pool.burst());
    (0..6).for_each(|number| push(&mut one, number, 64));
    assert_eq!((port.tx_burst(&mut one, MAX_BURST), pool.available()), (Ok(6), 2));
    (0..2).for_each(|number| push(&mut two, number, 64));
    assert_eq!(two.push(64).err(), Some(FrameError::PoolEmpty), "the rest is with the other burst");
    (0..6).for_each(|number| push(&mut one, number, 64));
    one.drop_front(4);
    one.release();
    assert_eq!(pool.available(), 4);
    drop(one);
    assert_eq!(pool.available(), 6);
    drop(two);
    assert_eq!(pool.available(), pool.capacity());
}

#[test]
fn the_bytes_of_a_burst_are_those_of_its_frames() {
    let pool = small(8);
    let mut burst = pool.burst();
    (0..6).for_each(|number| push(&mut burst, number, 60 + number as u16));
    burst.drop_front(2);
    assert_eq!((burst.len(), burst.bytes()), (4, 62 + 63 + 64 + 65));
    assert!(burst.remove(1));
    assert_eq!((burst.len(), burst.bytes()), (3, 62 + 64 + 65));
    assert_eq!(contents(&burst), [frame(2, 62), frame(4, 64), frame(5, 65)]);
    burst.drop_front(9);
    assert_eq!((burst.len(), burst.bytes(), burst.remove(0)), (0, 0, false));
    // The buffer of the frame that was removed is a spare one of the burst.
    assert_eq!(pool.available(), 2);
    burst.release();
    assert_eq!(pool.available(), pool.capacity());
}

#[test]
fn frames_are_sorted_by_peer_and_stay_in_order_for_each() {
    let mut burst = small(16).burst();
    for (number, peer) in [2, 0, 1, 0, 2, 1, 0, 5].into_iter().enumerate() {
        push(&mut burst, number, 60 + number as u16);
        burst.set_peer(number, PeerIdx(peer)).expect("a frame");
        burst.frame_mut(number).expect("a frame").set_mark(number as u32);
    }
    burst.sort_by_peer(6);
    let marks = |burst: &sluice::Burst<'_>| burst.frames().map(|frame| frame.mark()).collect::<Vec<_>>();
    assert_eq!(marks(&burst), [1, 3, 2, 5, 0, 4, 6, 7], "the last two do not count");
    burst.sort_by_peer(usize::MAX);
    assert_eq!(marks(&burst), [1, 3, 6, 2, 5, 0, 4, 7]);
    let lens: Vec<_> = burst.frames().map(|frame| (frame.peer().0, frame.len())).collect();
    assert_eq!(lens, [(0, 61), (0, 63), (0, 66), (1, 62), (1, 65), (2, 60), (2, 64), (5, 67)]);
}

#[test]
fn there_is_no_empty_frame_and_none_longer_than_a_buffer_holds() {
    let pool = small(4);
    let mut burst = pool.burst();
    let most = BufferLen::KiB2.bytes() - HEADROOM;
    for (len, error) in [
        (0, FrameError::Empty),
        (most as u16 + 1, FrameError::NoRoom { wanted: most + 1, room: most }),
        (u16::MAX, FrameError::NoRoom { wanted: 65_535, room: most }),
    ] {
        assert_eq!((burst.push(len).err(), burst.len(), pool.available()), (Some(error), 0, 4));
    }
    let error = burst.push_bytes(&[0; 70_000]).err();
    assert_eq!(error, Some(FrameError::NoRoom { wanted: 70_000, room: most }));
    push(&mut burst, 0, most as u16);
    assert_eq!((burst.push(0).err(), burst.len(), burst.bytes()), (Some(FrameError::Empty), 1, most.into()));
}

#[test]
fn a_full_burst_and_an_empty_pool_say_so() {
    let pool = small(MAX_BURST + 1);
    let (mut burst, mut other) = (pool.burst(), pool.burst());
    (0..MAX_BURST).for_each(|number| push(&mut burst, number, 60));
    assert_eq!(burst.push(60).err(), Some(FrameError::BurstFull));
    push(&mut other, 1000, 60);
    assert_eq!(other.push(60).err(), Some(FrameError::PoolEmpty));
    assert_eq!(other.duplicate(0, &mut burst), Err(FrameError::BurstFull));
    assert_eq!(other.move_to(0, &mut burst), Err(FrameError::BurstFull));
    assert_eq!(burst.duplicate(0, &mut other), Err(FrameError::PoolEmpty));
    assert_eq!((burst.append(&mut other, 7), burst.len(), other.len()), (Ok(0), MAX_BURST, 1));
    assert_eq!(contents(&other), [frame(1000, 60)]);
}

#[test]
fn a_pool_without_a_buffer_is_none() {
    let run = zeroed(1 << 20);
    let new = |len: u64, buffer_len: BufferLen, free: &mut [u32]| {
        let memory = PacketMemory::new(Gpa(0), run.sub(0, len).expect("inside")).expect("small");
        Mempool::new(memory, buffer_len, free).map(|pool| (pool.capacity(), pool.available())).err()
    };
    for buffer_len in BufferLen::ALL {
        let buffer = buffer_len.bytes();
        let none = PoolError::Memory { len: u64::from(buffer) - 1, offset: 0, buffer };
        assert_eq!(new(u64::from(buffer) - 1, buffer_len, &mut [0; 4]), Some(none));
        assert_eq!(new(buffer.into(), buffer_len, &mut [0; 4]), None);
        assert_eq!(new(buffer.into(), buffer_len, &mut []), Some(PoolError::List));
    }
    assert_eq!(BufferLen::for_frame(1514), Some(BufferLen::KiB2));
    assert_eq!((BufferLen::for_frame(9014), BufferLen::for_frame(u16::MAX)), (Some(BufferLen::KiB16), None));
}

/// Buffers are aligned in packet memory, whatever part of it the pool has.
#[test]
fn a_pool_has_no_buffer_that_is_not_wholly_in_its_memory() {
    let all = PacketMemory::new(Gpa(0), zeroed(1 << 16)).expect("small");
    for (before, len, buffers) in
        [(1, 3 * 2048, 2), (1, 4 * 2048 - 1, 3), (2048, 4096, 2), (2047, 2048, 0), (1, 2047, 0)]
    {
        let (_, rest) = all.split_at(before).expect("inside");
        let (mine, _) = rest.split_at(len).expect("inside");
        let mut free = [0; 8];
        let pool = Mempool::new(mine, BufferLen::KiB2, &mut free);
        assert_eq!(pool.map_or(0, |pool| pool.capacity()), buffers, "{len} bytes at {before}");
    }
}

#[test]
fn what_is_kept_stays_in_order_and_the_buffers_of_the_rest_are_used_again() {
    let pool = small(8);
    let mut burst = pool.burst();
    (0..8).for_each(|number| push(&mut burst, number, 60 + number as u16));
    burst.retain(|frame| {
        let number = frame.len() - 60;
        frame.set_mark(number.into());
        assert!(number != 5 || frame.truncate(10).is_ok());
        number % 3 != 1
    });
    assert_eq!(contents(&burst), [frame(0, 60), frame(2, 62), frame(3, 63), frame(5, 65)[..10].to_vec(), frame(6, 66)]);
    assert!(burst.frames().map(|frame| frame.mark()).eq([0, 2, 3, 5, 6]));
    assert_eq!((burst.bytes(), pool.available()), (60 + 62 + 63 + 10 + 66, 0));
    (0..3).for_each(|number| push(&mut burst, 10 + number, 70));
    assert_eq!((burst.push(60).err(), burst.frame(5).map(|frame| frame.mark())), (Some(FrameError::PoolEmpty), Ok(0)));
    assert_eq!(contents(&burst)[4..], [frame(6, 66), frame(10, 70), frame(11, 70), frame(12, 70)]);
    burst.retain(|_| false);
    assert_eq!((burst.len(), burst.bytes()), (0, 0));
    drop(burst);
    assert_eq!(pool.available(), 8);
}

#[test]
fn a_frame_moves_with_its_buffer_and_what_is_known_of_it() {
    let pool = small(16);
    let (mut from, mut to) = (pool.burst(), pool.burst());
    (0..5).for_each(|number| push(&mut from, number, 60 + number as u16));
    for number in 0..5 {
        let mut frame = from.frame_mut(number).expect("there");
        frame.set_mark(100 + number as u32);
        frame.set_peer(PeerIdx(number as u8));
    }
    (0..2).for_each(|number| push(&mut to, 10 + number, 64));
    to.clear();
    assert_eq!((from.move_to(3, &mut to), from.move_to(0, &mut to)), (Ok(()), Ok(())));
    assert_eq!(from.move_to(3, &mut to), Err(FrameError::NoFrame { index: 3, len: 3 }));
    assert_eq!(contents(&from), [frame(1, 61), frame(2, 62), frame(4, 64)]);
    assert_eq!(contents(&to), [frame(3, 63), frame(0, 60)]);
    assert!(to.frames().map(|frame| (frame.mark(), frame.peer())).eq([(103, PeerIdx(3)), (100, PeerIdx(0))]));
    assert!(from.frames().map(|frame| (frame.mark(), frame.peer().0)).eq([(101, 1), (102, 2), (104, 4)]));
    assert_eq!((to.append(&mut from, 2), from.len(), to.len()), (Ok(2), 1, 4));
    assert_eq!((contents(&from), from.bytes()), (vec![frame(4, 64)], 64));
    assert_eq!(contents(&to), [frame(3, 63), frame(0, 60), frame(1, 61), frame(2, 62)]);
    assert_eq!((to.bytes(), pool.available()), (63 + 60 + 61 + 62, 16 - 5));
    from.clear();
    (0..11).for_each(|number| push(&mut from, number, 64));
    assert_eq!((pool.available(), from.push(64).is_ok()), (1, true));
    assert_eq!((from.push(64).err(), to.push(64).err()), (Some(FrameError::PoolEmpty), Some(FrameError::PoolEmpty)));
    drop((from, to));
    assert_eq!(pool.available(), 16);
}

#[test]
fn a_copy_is_a_frame_of_its_own() {
    let pool = small(4);
    let (mut burst, mut to) = (pool.burst(), pool.burst());
    push(&mut burst, 0, 1000);
    let mut original = burst.frame_mut(0).expect("there");
    original.prepend(116).expect("headroom");
    original.set(0, &frame(9, 116)).expect("inside");
    original.set_mark(7);
    original.set_peer(PeerIdx(1));
    let all = [frame(9, 116), frame(0, 1000)].concat();
    assert_eq!((burst.duplicate(0, &mut to), burst.duplicate(0, &mut to)), (Ok(()), Ok(())));
    assert_eq!(burst.duplicate(1, &mut to), Err(FrameError::NoFrame { index: 1, len: 1 }));
    burst.frame_mut(0).expect("there").set(0, &[0; 1116]).expect("inside");
    assert_eq!(contents(&to), [all.clone(), all]);
    assert!(to.frames().all(|frame| (frame.mark(), frame.peer()) == (7, PeerIdx(1))));
    assert_eq!((to.bytes(), pool.available()), (2232, 1));
}

/// A frame that grew into its headroom is longer than any new one. The copy has no byte outside its buffer,
/// either.
#[test]
fn a_copy_of_a_frame_that_grew_is_within_its_buffer() {
    let pool = small(2);
    let (mut burst, mut copies) = (pool.burst(), pool.burst());
    let grow = (HEADROOM - 12) as u16;
    let mut frame = burst.push(pool.longest_frame()).expect("room");
    frame.prepend(grow).expect("room");
    let bytes = world::frame(7, frame.len());
    frame.set(0, &bytes).expect("inside");
    assert_eq!(burst.duplicate(0, &mut copies), Ok(()));
    assert_eq!([&burst, &copies].map(contents), [vec![bytes.clone()], vec![bytes]]);
    let mut copy = copies.frame_mut(0).expect("there");
    assert_eq!((copy.append(1).is_err(), copy.prepend(1).is_err(), copy.trim_front(grow)), (true, true, Ok(())));
    assert_eq!((copy.prepend(grow), copy.append(1).is_err()), (Ok(()), true));
}

#[test]
fn frames_of_one_pool_never_get_into_a_burst_of_another() {
    let (one, two) = (small(4), small(4));
    let (mut from, mut to) = (one.burst(), two.burst());
    push(&mut from, 0, 64);
    assert_eq!(from.move_to(0, &mut to), Err(FrameError::ForeignPool));
    assert_eq!(from.duplicate(0, &mut to), Err(FrameError::ForeignPool));
    assert_eq!(to.append(&mut from, 1), Err(FrameError::ForeignPool));
    assert_eq!((from.len(), to.len(), one.available(), two.available()), (1, 0, 3, 4));
}

#[test]
fn a_frame_that_moved_still_goes_to_the_peer_that_it_names() {
    let (gate, pool, mut receivers) = World::all(MAX_BURST, RingFormat::default());
    let (mut from, mut to, mut scatter) = (pool.burst(), pool.burst(), Scatter::new(&gate));
    // The burst was sent to peer 0 alone, again and again.
    push(&mut to, 0, 60);
    assert_eq!(PeerPort::new(&gate, PeerIdx(0)).tx_burst(&mut to, 1), Ok(1));
    (0..4).for_each(|number| push(&mut from, number, 64));
    (0..4).for_each(|index| from.set_peer(index, PeerIdx(index as u8 % 2)).expect("there"));
    assert_eq!((from.move_to(1, &mut to), to.append(&mut from, 9)), (Ok(()), Ok(3)));
    assert_eq!(scatter.tx_burst(&mut to, MAX_BURST), Ok(4));
    assert_eq!(receivers[0].take(), [frame(0, 60), frame(0, 64), frame(2, 64)]);
    assert_eq!(receivers[1].take(), [frame(1, 64), frame(3, 64)]);
}

/// Wherever the last frame of a buffer started, the next one has all the room before and behind
/// it.
#[test]
fn a_buffer_that_is_used_again_has_all_its_room() {
    let pool = small(1);
    let mut burst = pool.burst();
    let grow = (HEADROOM - 12) as u16;
    for round in 0..4 {
        let mut frame = burst.push(pool.longest_frame()).expect("room");
        assert_eq!((frame.append(1).is_err(), frame.prepend(grow), frame.prepend(1).is_err()), (true, Ok(()), true));
        if round % 2 == 0 {
            assert_eq!(frame.trim_front(grow + 40), Ok(()));
        }
        burst.clear();
        if round == 1 {
            burst.release();
        }
    }
}

#[test]
fn what_is_known_of_a_frame_stays_with_it_when_those_before_it_are_dropped() {
    let pool = small(8);
    let mut burst = pool.burst();
    for number in 0..6 {
        push(&mut burst, number, 60);
        burst.frame_mut(number).expect("there").set_mark(number as u32);
    }
    burst.drop_front(2);
    assert!(burst.remove(1));
    assert!(burst.frames().map(|frame| frame.mark()).eq([2, 4, 5]));
    assert_eq!(contents(&burst), [2, 4, 5].map(|number| frame(number, 60)));
    burst.drop_front(9);
    assert_eq!((burst.len(), burst.bytes(), burst.frame(0).is_err()), (0, 0, true));
}

/// A port to one peer sends to that peer, whatever its frames name and wherever they were before.
#[test]
fn a_frame_that_names_another_peer_goes_where_its_port_leads() {
    let (gate, pool, mut receivers) = World::all(MAX_BURST, RingFormat::default());
    let [mut burst, mut other] = [pool.burst(), pool.burst()];
    for round in 0..3 {
        push(&mut other, 0, 60);
        other.set_peer(0, PeerIdx(1)).expect("there");
        match round {
            0 => other.move_to(0, &mut burst).expect("room"),
            1 => other.duplicate(0, &mut burst).expect("room"),
            _ => assert_eq!(burst.append(&mut other, 1), Ok(1)),
        }
        assert_eq!(PeerPort::new(&gate, PeerIdx(0)).tx_burst(&mut burst, 9), Ok(1));
        assert_eq!((receivers[0].take(), receivers[1].take()), (vec![frame(0, 60)], vec![]), "{round}");
        other.clear();
    }
}

#[test]
fn a_frame_grows_and_shrinks_at_both_ends_within_its_buffer() {
    let pool = small(1);
    let mut burst = pool.burst();
    push(&mut burst, 1, 100);
    let mut frame = burst.frame_mut(0).expect("there");
    assert_eq!(frame.head::<4>(0), Some([31, 38, 45, 52]));
    assert_eq!((frame.head::<4>(97), frame.head::<4>(usize::MAX), frame.head::<0>(100)), (None, None, Some([])));
    assert_eq!(frame.prepend(117), Err(FrameError::NoRoom { wanted: 117, room: 116 }));
    assert_eq!((frame.prepend(116), frame.set(0, &[1, 2, 3]), frame.len()), (Ok(()), Ok(()), 216));
    assert_eq!(frame.prepend(1), Err(FrameError::NoRoom { wanted: 1, room: 0 }));
    assert_eq!((frame.head::<3>(0), frame.head::<2>(116)), (Some([1, 2, 3]), Some([31, 38])));
    assert_eq!((frame.trim_front(118), frame.head::<2>(0)), (Ok(()), Some([45, 52])));
    assert_eq!(frame.trim_front(98), Err(FrameError::Empty));
    assert_eq!(frame.trim_front(99), Err(FrameError::NoRoom { wanted: 99, room: 98 }));
    let room = 2048 - 128 - 100;
    assert_eq!(frame.append(room + 1), Err(FrameError::NoRoom { wanted: u32::from(room) + 1, room: room.into() }));
    assert_eq!((frame.append(room), frame.len()), (Ok(()), 98 + room));
    assert_eq!((frame.set(97 + usize::from(room), &[9]), frame.head(97 + usize::from(room))), (Ok(()), Some([9])));
    assert_eq!(
        frame.set(98, &vec![0; usize::from(room) + 1]).err(),
        Some(FrameError::NoRoom { wanted: u32::from(room) + 1, room: room.into() })
    );
    assert_eq!((frame.truncate(0), frame.truncate(5000), frame.len()), (Err(FrameError::Empty), Ok(()), 98 + room));
    assert_eq!((frame.truncate(2), frame.len(), frame.head::<3>(0)), (Ok(()), 2, None));
    assert_eq!((burst.bytes(), burst.set_peer(1, PeerIdx(0))), (2, Err(FrameError::NoFrame { index: 1, len: 1 })));
    drop(burst);
    assert_eq!(pool.burst().push(1920).map(|frame| frame.len()), Ok(1920), "the next frame starts where each does");
}
