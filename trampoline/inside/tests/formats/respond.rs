//! Requests out of a control queue, and the bytes that answer them.

use super::*;
use sluice_abi::Gpa;
use sluice_abi::call::Clause;
use sluice_inside::{DeviceQueue, Regions};

/// Room for a request.
const ROOM: usize = 40;

/// Takes the next request and answers it by `answer`: what was read.
fn respond(queue: &mut DeviceQueue, regions: &Regions, answer: u8) -> Result<Option<Option<Vec<u8>>>, Clause> {
    let mut seen = None;
    let done = queue.respond(regions, &mut [0xee; ROOM], |bytes| {
        seen = Some(bytes.map(<[u8]>::to_vec));
        answer
    })?;
    assert_eq!(done, seen.is_some());
    Ok(seen)
}

fn byte(regions: &Regions, at: u64) -> u8 {
    regions.find(Gpa(at), 1).and_then(|byte| byte.read(0)).expect("inside")
}

#[test]
fn a_request_of_any_shape_is_read_whole_and_answered_by_one_byte() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features | F::INDIRECT_DESC);
        let (mut queue, regions) = driver.device();
        for round in 0..100 {
            assert_eq!(respond(&mut queue, &regions, 1), Ok(None));
            let request = bytes(round, 8 + round % 32);
            let lens = [vec![request.len()], vec![1, request.len() - 1], vec![2, 3, request.len() - 5]];
            let mut pieces: Vec<_> = lens[round % 3].iter().map(|&len| driver.piece(len as u32, false)).collect();
            driver.put(&pieces, &request);
            let room = [driver.piece(2, true), driver.piece(1, true)];
            pieces.extend(room);
            driver.give(&pieces, round % 2 == 0);
            assert_eq!(respond(&mut queue, &regions, round as u8), Ok(Some(Some(request))));
            assert_eq!(driver.take().map(|(len, _)| len), Some(1));
            assert_eq!([room[0].0, room[0].0 + 1, room[1].0].map(|at| byte(&regions, at)), [round as u8, 0, 0]);
            driver.put(&room, &[0; 3]);
        }
    }
}

#[test]
fn a_request_longer_than_the_room_for_it_is_answered_and_not_carried_out() {
    for (features, size) in FORMATS {
        let mut driver = Driver::new(size, features);
        let (mut queue, regions) = driver.device();
        for (len, whole) in [(ROOM, true), (ROOM + 1, false), (60_000, false)] {
            let pieces = [driver.piece(30, false), driver.piece(len as u32 - 30, false), driver.piece(1, true)];
            driver.give(&pieces, false);
            let seen = respond(&mut queue, &regions, 1).expect("no fault").expect("a request");
            assert_eq!(seen.map(|bytes| bytes.len()), whole.then_some(len));
            assert!(driver.take().is_some());
        }
    }
}

#[test]
fn a_request_that_can_not_be_answered_is_blamed() {
    for (features, size) in FORMATS {
        // (pieces: bytes, whether the device writes them), and what is wrong.
        for (pieces, clause) in [
            (&[(8, false)][..], Clause::TooShort),
            (&[(8, false), (0, true)], Clause::TooShort),
            (&[(1, true), (8, false)], Clause::NotReadable),
            (&[(4, false), (1, true), (4, false)], Clause::NotReadable),
        ] {
            let mut driver = Driver::new(size, features);
            let (mut queue, regions) = driver.device();
            let pieces: Vec<_> = pieces.iter().map(|&(len, writable)| driver.piece(len, writable)).collect();
            driver.give(&pieces, false);
            assert_eq!(respond(&mut queue, &regions, 1), Err(clause));
            assert_eq!(driver.take(), None, "nothing of it comes back");
        }
        let mut driver = Driver::new(size, features);
        let (mut queue, regions) = driver.device();
        let pieces = [driver.piece(8, false), (u64::MAX - 3, 8, true)];
        driver.give(&pieces, false);
        assert_eq!(respond(&mut queue, &regions, 1), Err(Clause::Region));
    }
}

/// Frames that were filled and not shown yet are shown, rather than that a request is carried out twice.
#[test]
fn a_request_finds_room_for_its_answer() {
    let mut driver = Driver::new(4, F::RING_PACKED);
    let (mut queue, regions) = driver.device();
    let memory = Memory::new(&[64]);
    let buffer = driver.piece(100, true);
    driver.give(&[buffer], false);
    let filled = queue.enqueue(&regions, &PLAIN, memory.run(0), 64, sluice_memory::Words);
    assert_eq!(filled, Ok(sluice_inside::Enqueue::Filled));
    let pieces = [driver.piece(8, false), driver.piece(1, false), driver.piece(1, true)];
    driver.give(&pieces, false);
    assert_eq!(respond(&mut queue, &regions, 0).map(|seen| seen.is_some()), Ok(true));
    assert_eq!([driver.take(), driver.take(), driver.take()].map(|taken| taken.is_some()), [true, true, false]);
}
