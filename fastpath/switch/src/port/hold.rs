//! Frames that wait for earlier ones of their flow, which are on the slow path.
//!
//! If they went the slow way, too, a flow under load would never leave it: there would always be a frame on the way.

use super::order::{Order, PLACES};
use super::slow::AGAIN;
use core::array;
use sluice::{Burst, MAX_BURST, Mempool};

/// Number of bursts that wait.
const BURSTS: usize = 4;
/// Where a frame's mark has the place of its flow.
const PLACE: u32 = 20;
const _: () = assert!(PLACES << PLACE <= 1 << 31 && AGAIN < 1 << PLACE);
/// Number of calls without a word of the host's after which the first frame asks for one: an answer may be lost.
const PATIENCE: u32 = 1 << 16;

/// The frames that wait, in the order in which they came.
pub struct Hold<'p> {
    /// The first is the oldest, behind it are those that are full, and behind these empty ones.
    bursts: [Burst<'p>; BURSTS],
    /// Number of frames of each place.
    counts: [u16; PLACES],
    /// Number of calls since a frame was let go.
    calls: u32,
}

impl<'p> Hold<'p> {
    pub fn new(pool: &'p Mempool<'p>) -> Self {
        Self { bursts: array::from_fn(|_| pool.burst()), counts: [0; PLACES], calls: 0 }
    }

    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.bursts[0].is_empty()
    }

    /// Returns whether a frame of this place has to wait behind others.
    #[inline(always)]
    pub fn holds(&self, place: usize) -> bool {
        self.counts[place % PLACES] > 0
    }

    /// Takes frame `index` of `burst`, which is of `place`. Returns whether there was room.
    pub fn push(&mut self, burst: &mut Burst<'_>, index: usize, place: usize) -> bool {
        let Some(last) = self.bursts.iter().position(|burst| burst.room() > 0) else { return false };
        let Ok(mut frame) = burst.frame_mut(index) else { return false };
        let mark = frame.mark();
        frame.set_mark(mark | (place as u32) << PLACE);
        let taken = burst.move_to(index, &mut self.bursts[last]).is_ok();
        self.counts[place % PLACES] += u16::from(taken);
        taken
    }

    /// Lets the first frames go that wait for nothing any more, at most `most`, to the end of `into`. Returns whether
    /// the first one asks the host for a word.
    pub fn let_go(&mut self, order: &Order, most: usize, into: &mut Burst<'_>) -> bool {
        if self.is_empty() {
            return false;
        }
        self.calls += 1;
        let asks = self.calls > PATIENCE;
        let is_free = |mark: u32| !order.holds(place_of(mark));
        let free = self.bursts[0].frames().take(most).take_while(|frame| is_free(frame.mark())).count();
        let count = if asks { free.max(1) } else { free };
        for frame in self.bursts[0].frames().take(count) {
            self.counts[place_of(frame.mark())] -= 1;
        }
        let before = into.len();
        if into.append(&mut self.bursts[0], count) != Ok(count) {
            return false;
        }
        for index in before..into.len() {
            if let Ok(mut frame) = into.frame_mut(index) {
                let mark = frame.mark();
                frame.set_mark(mark & ((1 << PLACE) - 1));
            }
        }
        if count > 0 {
            self.calls = 0;
        }
        if self.bursts[0].is_empty() {
            self.bursts.rotate_left(1);
        }
        asks
    }
}

const fn place_of(mark: u32) -> usize {
    (mark >> PLACE) as usize % PLACES
}

const _: () = assert!(BURSTS * MAX_BURST <= u16::MAX as usize);
