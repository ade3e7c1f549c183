//! Sets of registers that aim at the gate and the window.

use super::leap::{AC, DF, FLAGS, NT, State, ZF};
use sluice_abi::{PeerIdx, map};

/// The number of sets for each entry.
pub const SETS: usize = 16;

const fn slot(offset: u64) -> u64 {
    map::SLOT_VA + offset
}

/// The addresses that a register could be aimed at: the list and its neighbours, and all that is mapped in gate or
/// window.
const TARGETS: [u64; 16] = [
    slot(map::LIST),
    slot(map::LIST + 8),
    slot(map::LIST + 16),
    // A push from here writes slot 2.
    slot(map::LIST + 24),
    slot(map::LIST + map::PAGE),
    slot(map::CONSTANT + map::CONSTANT_WORD),
    slot(map::GATE),
    slot(map::CODE),
    slot(map::STATE),
    slot(map::STATE + 32),
    slot(map::STACK + map::STACK_LEN),
    slot(map::REQUEST),
    slot(map::TABLES),
    slot(map::PACKETS),
    slot(map::peer_base(PeerIdx(0))) + (2 << 20),
    0x1000,
];

const _: () = assert!(TARGETS.len() == SETS);

/// Returns a set of registers. One set in two aims all registers at each of the [`TARGETS`] in turn; the others aim
/// them at random, or have any value. `turn` makes the sets differ from call to call.
pub fn sets(turn: u64) -> impl Iterator<Item = State> {
    let mut random = Random::new(turn);
    (0..SETS).map(move |set| match set as u64 + turn {
        number if number.is_multiple_of(2) => aimed(TARGETS[set], &mut random),
        number => any(number, &mut random),
    })
}

/// Returns a set with all registers at `target`, as a call's arguments never are.
fn aimed(target: u64, random: &mut Random) -> State {
    State { general: [target; 16], rsp: target, rflags: flags(random), ..State::at(0) }
}

fn any(number: u64, random: &mut Random) -> State {
    let mut one = || match number % 8 {
        1 => u64::MAX,
        3 => 0,
        5 => random.next(),
        _ => TARGETS[random.next() as usize % TARGETS.len()],
    };
    State { general: core::array::from_fn(|_| one()), rsp: one(), rflags: flags(random), ..State::at(0) }
}

/// Returns any of the flags that a program may set, but TF, which alone would end every entry before it begins.
fn flags(random: &mut Random) -> u64 {
    const ARITHMETIC: u64 = 1 | 1 << 2 | 1 << 4 | ZF | 1 << 7 | 1 << 11;
    FLAGS | random.next() & (ARITHMETIC | DF | NT | AC)
}

/// A generator of numbers without pattern. See: Marsaglia, "Xorshift RNGs".
pub struct Random(u64);

impl Random {
    /// Returns a generator from any seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
