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
    /// The first is the oldest. Between it and the last one with frames all are full.
    bursts: [Burst<'p>; BURSTS],
    /// Number of frames of each place, with those that were announced.
    counts: [u16; PLACES],
    /// The sum of `counts`.
    total: u16,
    /// Number of calls since a frame was let go.
    calls: u32,
}

impl<'p> Hold<'p> {
    pub fn new(pool: &'p Mempool<'p>) -> Self {
        Self { bursts: array::from_fn(|_| pool.burst()), counts: [0; PLACES], total: 0, calls: 0 }
    }

    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Returns whether a frame of this place has to wait behind others.
    #[inline(always)]
    pub fn holds(&self, place: usize) -> bool {
        self.counts[place % PLACES] > 0
    }

    /// Announces a frame of `place`, which [`Hold::push`] takes once the whole burst is decided: the frames behind it
    /// in the burst have to wait, too.
    pub fn announce(&mut self, place: usize) {
        self.counts[place % PLACES] += 1;
        self.total += 1;
    }

    fn forget(&mut self, place: usize) {
        self.counts[place % PLACES] -= 1;
        self.total -= 1;
    }

    /// Takes frame `index` of `burst`, which was announced as one of `place`. Returns whether there was room; if there
    /// was none it is announced no more.
    pub fn push(&mut self, burst: &mut Burst<'_>, index: usize, place: usize) -> bool {
        // The first one may have room in front of those behind it: a part of it was let go.
        let last = self.bursts.iter().rposition(|burst| !burst.is_empty()).unwrap_or(0);
        let last = last + usize::from(self.bursts[last].room() == 0);
        let is_taken = self.bursts.get_mut(last).is_some_and(|last| {
            let marked = burst.frame_mut(index).map(|mut frame| {
                let mark = frame.mark();
                frame.set_mark(mark | (place as u32) << PLACE);
            });
            marked.is_ok() && burst.move_to(index, last).is_ok()
        });
        if !is_taken {
            self.forget(place);
        }
        is_taken
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
        let before = into.len();
        if into.append(&mut self.bursts[0], count) != Ok(count) {
            return false;
        }
        for index in before..into.len() {
            if let Ok(mut frame) = into.frame_mut(index) {
                let mark = frame.mark();
                frame.set_mark(mark & ((1 << PLACE) - 1));
                self.forget(place_of(mark));
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

#[cfg(test)]
mod tests {
    use super::*;
    use sluice::{BufferLen, PacketMemory};
    use sluice_abi::Gpa;
    use sluice_test_memory::zeroed;

    #[test]
    fn frames_wait_in_the_order_in_which_they_came_whatever_was_let_go_meanwhile() {
        const BUFFERS: usize = (BURSTS + 1) * MAX_BURST;
        let memory = PacketMemory::new(Gpa(0), zeroed((BUFFERS as u64) << 11)).expect("small");
        let mut free = vec![0; BUFFERS];
        let pool = Mempool::new(memory, BufferLen::KiB2, &mut free).expect("room");
        let (mut hold, mut burst, mut order) = (Hold::new(&pool), pool.burst(), Order::new());
        order.next(3);
        let (mut came, mut gone) = (0..u32::MAX, Vec::new());
        let mut push = |hold: &mut Hold<'_>, count: usize| {
            for number in came.by_ref().take(count) {
                burst.push_bytes(&[&number.to_be_bytes()[..], &[0; 60]].concat()).expect("room");
                hold.announce(3);
                assert!(hold.push(&mut burst, 0, 3), "no room for {number}");
            }
        };
        let mut let_go = |hold: &mut Hold<'_>, order: &Order, most: usize| {
            let mut freed = pool.burst();
            hold.let_go(order, most, &mut freed);
            gone.extend(freed.frames().filter_map(|frame| frame.head::<4>(0)).map(u32::from_be_bytes));
        };
        push(&mut hold, BURSTS * MAX_BURST - 30);
        let_go(&mut hold, &order, 40);
        order.done(1);
        let_go(&mut hold, &order, 40);
        push(&mut hold, 30);
        while !hold.is_empty() {
            let_go(&mut hold, &order, 100);
        }
        push(&mut hold, 2 * MAX_BURST);
        while !hold.is_empty() {
            let_go(&mut hold, &order, 100);
        }
        assert_eq!(gone, Vec::from_iter(0..(BURSTS + 2) as u32 * MAX_BURST as u32));
    }
}
