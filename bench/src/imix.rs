//! A mix of lengths: of twelve frames seven have 64 bytes, four 594 and one 1518, in an order that a fixed seed
//! shuffles.
//!
//! See: RFC 6985 "IMIX Genome", which names this mix among others.

/// The length that stands for the mix.
pub const IMIX: u16 = 0;
/// The name of the mix on a command line.
pub const NAME: &str = "imix";
/// Frames of the mix.
const FRAMES: [u16; 12] = [64, 64, 64, 64, 64, 64, 64, 594, 594, 594, 594, 1518];
/// The number of times that the frames are repeated, each time in another order.
const ROUNDS: usize = 8;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

static SHUFFLED: [[u16; FRAMES.len()]; ROUNDS] = shuffled();

const fn shuffled() -> [[u16; FRAMES.len()]; ROUNDS] {
    let (mut all, mut state, mut round) = ([FRAMES; ROUNDS], SEED, 0);
    while round < ROUNDS {
        let mut last = FRAMES.len() - 1;
        while last > 0 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            all[round].swap(last, (state % (last as u64 + 1)) as usize);
            last -= 1;
        }
        round += 1;
    }
    all
}

/// Bytes of frame `index` of a stream: `frame`, or what the mix has there.
pub fn len(frame: u16, index: u64) -> u16 {
    if frame != IMIX {
        return frame;
    }
    let index = (index % (ROUNDS * FRAMES.len()) as u64) as usize;
    SHUFFLED[index / FRAMES.len()][index % FRAMES.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_frames_are_the_mix_in_another_order_each_time() {
        for round in 0..10 {
            let mut frames = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(|at| len(IMIX, 12 * round + at));
            assert!(frames != FRAMES && (round == 0 || frames[..] != SHUFFLED[0][..] || round == 8));
            frames.sort_unstable();
            assert_eq!(frames, FRAMES);
        }
        assert_eq!((len(100, 0), len(100, 7)), (100, 100));
    }
}
