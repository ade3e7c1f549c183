use super::*;
use std::collections::VecDeque;

/// A peer that sends back what it gets, with faults in between.
struct Peer {
    frames: VecDeque<Vec<u8>>,
    fault: fn(u64, &mut VecDeque<Vec<u8>>),
    count: u64,
}

impl Port for Peer {
    fn send(&mut self, _pair: u16, frame: &[u8]) -> Result<bool> {
        self.frames.push_back(frame.to_vec());
        (self.fault)(self.count, &mut self.frames);
        self.count += 1;
        Ok(true)
    }

    fn flush(&mut self, _pair: u16) -> Result<()> {
        Ok(())
    }

    fn receive(&mut self, _pair: u16, into: &mut [u8]) -> Result<Option<usize>> {
        let Some(frame) = self.frames.pop_front() else { return Ok(None) };
        into[..frame.len()].copy_from_slice(&frame);
        Ok(Some(frame.len()))
    }

    fn serve(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Returns what became of 1,000 frames through a peer that commits `fault` after each frame it gets.
fn tally(fault: fn(u64, &mut VecDeque<Vec<u8>>)) -> Tally {
    let mut peer = Peer { frames: VecDeque::new(), fault, count: 0 };
    let mut flow = Flow::new(Plan { pairs: 1, packets: 1_000, long_frames: true, window: 128 });
    while flow.round(&mut peer).unwrap() && peer.count < 1_000 {}
    while flow.take(&mut peer, 0).unwrap() > 0 {}
    flow.tally()
}

#[test]
fn frames_that_come_back_as_they_were_sent_are_clean() {
    assert!(tally(|_, _| {}).is_clean());
}

#[test]
fn each_fault_is_counted_as_what_it_is() {
    let none = Tally { packets: 1_000, ..Tally::default() };
    let lose = |n, frames: &mut VecDeque<Vec<u8>>| drop((n == 500).then(|| frames.pop_back()));
    assert_eq!(tally(lose), Tally { lost: 1, ..none });
    let double = |n, frames: &mut VecDeque<Vec<u8>>| frames.extend((n == 500).then(|| frames[0].clone()));
    assert_eq!(tally(double), Tally { doubled: 1, ..none });
    let reorder = |n, frames: &mut VecDeque<Vec<u8>>| frames.swap(0, if n == 500 { frames.len() - 1 } else { 0 });
    assert!(tally(reorder).reordered > 0 && tally(reorder).lost == 0);
    let tear = |n, frames: &mut VecDeque<Vec<u8>>| {
        frames.iter_mut().for_each(|f| *f.last_mut().unwrap() ^= u8::from(n == 500))
    };
    assert!(tally(tear).torn > 0 && tally(tear).lost == 0);
    let cut =
        |n, frames: &mut VecDeque<Vec<u8>>| frames.back_mut().unwrap().truncate(if n == 500 { 63 } else { LONGEST });
    assert_eq!(tally(cut), Tally { torn: 1, ..none });
}
