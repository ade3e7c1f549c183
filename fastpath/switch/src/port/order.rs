//! Which flows have frames on the slow path, so that no later frame overtakes them.

use crate::key::Key;

/// Number of places; a power of two.
pub const PLACES: usize = 256;

/// The numbers of frames on the slow path.
///
/// Flows share places. A flow whose place is taken by another's frame waits, too, until the host is through with that
/// one: this costs time, and never order.
pub struct Order {
    /// The number that was given last.
    sent: u64,
    /// All frames up to this number are decided.
    done: u64,
    /// The number of the last frame of each place.
    last: [u64; PLACES],
}

impl Order {
    pub const fn new() -> Self {
        Self { sent: 0, done: 0, last: [0; PLACES] }
    }

    /// Returns the place of a flow. Fields that differ among the frames of one flow, such as the time to live, do not
    /// count.
    #[inline(always)]
    pub fn place(key: &Key) -> usize {
        let [a, b, addresses, _, ports, ..] = *key.words();
        // Of the fifth word source and destination port count alone.
        let mixed =
            (a ^ b.rotate_left(23) ^ addresses.rotate_left(41) ^ ports << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as usize % PLACES
    }

    /// Returns whether any frame is on the slow path.
    #[inline(always)]
    pub const fn is_open(&self) -> bool {
        self.done != self.sent
    }

    /// Returns whether a frame of this place is on the slow path.
    #[inline(always)]
    pub fn holds(&self, place: usize) -> bool {
        self.last[place % PLACES] > self.done
    }

    /// Returns the number of a frame of this place that goes by the slow path.
    pub fn next(&mut self, place: usize) -> u64 {
        self.sent += 1;
        self.last[place % PLACES] = self.sent;
        self.sent
    }

    /// Notes that all frames up to `number` are decided. A number that was not given is as good as the last one.
    pub fn done(&mut self, number: u64) {
        self.done = self.done.max(number.min(self.sent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::network_endian::U16;

    #[test]
    fn a_place_is_held_until_its_last_frame_is_decided() {
        let mut order = Order::new();
        assert!(!order.holds(3));
        assert_eq!([3, 4, 3].map(|place| order.next(place)), [1, 2, 3]);
        let held = |order: &Order| [3, 4, 5].map(|place| order.holds(place));
        for (number, expected) in [(0, [true, true, false]), (2, [true, false, false]), (1, [true, false, false])] {
            order.done(number);
            assert_eq!(held(&order), expected, "{number}");
        }
        order.done(u64::MAX);
        assert_eq!(held(&order), [false; 3]);
        // A number from nowhere does not let later frames pass.
        order.next(5);
        assert_eq!(held(&order), [false, false, true]);
    }

    #[test]
    fn what_differs_among_the_frames_of_a_flow_does_not_move_it() {
        let key = Key { source_port: U16::new(1000), destination_port: U16::new(53), ttl: 64, ..Key::default() };
        let place = Order::place(&key);
        for other in [Key { ttl: 3, ..key }, Key { tos: 8, ..key }, Key { tcp_flags: U16::new(0x12), ..key }] {
            assert_eq!(Order::place(&other), place, "{other:?}");
        }
        let places = (0..256).map(|port| Order::place(&Key { source_port: U16::new(port), ..key }));
        assert!(places.collect::<std::collections::HashSet<_>>().len() > 100);
    }
}
