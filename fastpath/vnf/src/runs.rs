//! The runs of a VNF's RAM that are registered as packet memory, and the place of the next one.

use sluice::{PacketMemory, PeerSlice};
use sluice_abi::Gpa;
use sluice_abi::map::PACKETS_LEN;
use sluice_abi::run::{MAX_RUNS, RUN_ALIGN, Run};

/// Largest length of the run that a VNF registers first, in bytes.
pub const FIRST_LEN: u64 = 16 << 20;

/// RAM that is for packets alone, and the runs of it that are registered.
pub struct Runs {
    gpa: Gpa,
    ram: PeerSlice<'static>,
    runs: [Option<Run>; MAX_RUNS],
}

impl Runs {
    /// Returns `ram` without a run. It begins at `gpa`, a multiple of [`RUN_ALIGN`].
    pub const fn new(gpa: Gpa, ram: PeerSlice<'static>) -> Self {
        Self { gpa, ram, runs: [None; MAX_RUNS] }
    }

    /// Returns the length of the RAM in bytes, registered or not.
    pub const fn ram_len(&self) -> u64 {
        self.ram.len()
    }

    /// Returns a run of `len` bytes in the first gaps of RAM and of packet memory; `None` without such gaps.
    pub fn place(&self, len: u64) -> Option<Run> {
        let gpa = self.gap(self.gpa.0, self.gpa.0 + self.ram.len(), len, |run| run.gpa.0)?;
        Some(Run { gpa: Gpa(gpa), len, offset: self.gap(0, PACKETS_LEN, len, |run| run.offset)? })
    }

    /// Returns the first gap of `len` bytes between `from` and `end`, among runs that begin at their `start`.
    fn gap(&self, from: u64, end: u64, len: u64, start: impl Fn(&Run) -> u64) -> Option<u64> {
        let mut at = from;
        let hits = |run: &&Run, at: u64| at < start(run) + run.len && start(run) < at.saturating_add(len);
        while let Some(run) = self.runs.iter().flatten().find(|run| hits(run, at)) {
            at = start(run) + run.len;
        }
        at.checked_add(len).is_some_and(|last| last <= end).then_some(at)
    }

    /// Notes that `run` is registered, and returns its memory; `None` if it is not of this RAM, or there are too many.
    pub fn insert(&mut self, run: Run) -> Option<PacketMemory> {
        let memory = self.memory(&run)?;
        *self.runs.iter_mut().find(|slot| slot.is_none())? = Some(run);
        Some(memory)
    }

    /// Returns the run that has `memory`; `None` if it is not registered.
    pub fn find(&self, memory: &PacketMemory) -> Option<Run> {
        let is_it = |run: &&Run| (run.offset, run.len) == (memory.offset.into(), memory.memory.len());
        self.runs.iter().flatten().find(is_it).copied()
    }

    /// Notes that `run` is no longer registered.
    pub fn remove(&mut self, run: Run) {
        self.runs.iter_mut().filter(|slot| **slot == Some(run)).for_each(|slot| *slot = None);
    }

    /// Gives `use_them` all packet memory, with runs that follow one another in RAM and in packet memory as one.
    pub fn merged<R>(&self, use_them: impl FnOnce(&[PacketMemory]) -> R) -> Option<R> {
        let mut merged = [PacketMemory::new(self.gpa, self.ram.sub(0, 0).ok()?)?; MAX_RUNS];
        let starts = self.runs.iter().flatten().filter(|run| self.follower_of(|other| ends_at(other, run)).is_none());
        let mut count = 0;
        for (slot, start) in merged.iter_mut().zip(starts) {
            let mut whole = *start;
            while let Some(next) = self.follower_of(|next| ends_at(&whole, next)) {
                whole.len += next.len;
            }
            (*slot, count) = (self.memory(&whole)?, count + 1);
        }
        Some(use_them(&merged[..count]))
    }

    fn follower_of(&self, is_it: impl Fn(&Run) -> bool) -> Option<&Run> {
        self.runs.iter().flatten().find(|run| is_it(run))
    }

    /// Returns the memory of `run`; `None` if it is not of this RAM.
    pub fn memory(&self, run: &Run) -> Option<PacketMemory> {
        let memory = self.ram.sub(run.gpa.0.checked_sub(self.gpa.0)?, run.len).ok()?;
        Some(PacketMemory { offset: u32::try_from(run.offset).ok()?, ..PacketMemory::new(run.gpa, memory)? })
    }
}

/// Returns whether `next` follows `run`, in RAM and in packet memory.
fn ends_at(run: &Run, next: &Run) -> bool {
    run.gpa.0 + run.len == next.gpa.0 && run.offset + run.len == next.offset
}

/// Returns the length of the shortest run that holds `len` bytes; `None` if no run does.
pub const fn whole(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(RUN_ALIGN)
}

#[cfg(all(test, not(target_os = "none")))]
mod tests {
    use super::*;

    const M: u64 = 1 << 20;

    fn ram(gpa: u64, len: u64) -> Runs {
        Runs::new(Gpa(gpa), PeerSlice::from_mut(vec![0u64; len as usize / 8].leak()))
    }

    fn merged(runs: &Runs) -> Vec<(u64, u32, u64)> {
        let list = |all: &[PacketMemory]| all.iter().map(|one| (one.gpa.0, one.offset, one.memory.len())).collect();
        runs.merged(list).unwrap()
    }

    #[test]
    fn runs_fill_gaps_and_those_that_follow_one_another_are_one() {
        let mut runs = ram(4 * M, 10 * M);
        let placed: Vec<_> = [2, 4, 2].map(|mib| runs.place(mib * M).unwrap()).into();
        assert!(placed.iter().all(|run| (run.gpa, run.offset) == (Gpa(4 * M), 0)), "nothing is registered yet");
        let mut add = |mib: u64| {
            let run = runs.place(mib * M).unwrap();
            let memory = runs.insert(run).unwrap();
            assert_eq!(runs.find(&memory), Some(run));
            run
        };
        let [first, second, third] = [2, 4, 2].map(&mut add);
        assert_eq!([first, second, third].map(|run| run.offset), [0, 2 * M, 6 * M]);
        assert_eq!(merged(&runs), [(4 * M, 0, 8 * M)]);
        assert_eq!((runs.place(4 * M), runs.place(2 * M).map(|run| run.gpa.0)), (None, Some(12 * M)));
        runs.remove(second);
        assert_eq!(merged(&runs), [(4 * M, 0, 2 * M), (10 * M, 6 * M as u32, 2 * M)]);
        assert_eq!(runs.place(2 * M).map(|run| (run.gpa.0, run.offset)), Some((6 * M, 2 * M)));
    }

    #[test]
    fn what_no_run_holds_has_no_place() {
        assert_eq!([1, 2 * M, 2 * M + 1].map(whole), [Some(2 * M), Some(2 * M), Some(4 * M)]);
        assert_eq!([u64::MAX, u64::MAX - 2 * M + 2].map(whole), [None; 2]);
        let mut runs = ram(4 * M, 10 * M);
        for _ in 0..2 {
            assert_eq!([u64::MAX - 2 * M + 1, PACKETS_LEN, 12 * M].map(|len| runs.place(len)), [None; 3]);
            let run = runs.place(2 * M).unwrap();
            runs.insert(run).unwrap();
        }
    }

    /// Runs that follow one another in RAM alone, or in packet memory alone, stay two.
    #[test]
    fn only_what_follows_in_both_is_one() {
        let mut runs = ram(0, 64 * M);
        let run = |gpa: u64, offset: u64| Run { gpa: Gpa(gpa * M), len: 2 * M, offset: offset * M };
        for run in [run(0, 0), run(2, 8), run(20, 2), run(22, 4)] {
            runs.insert(run).unwrap();
        }
        let found = merged(&runs);
        assert_eq!(found, [(0, 0, 2 * M), (2 * M, 8 * M as u32, 2 * M), (20 * M, 2 * M as u32, 4 * M)]);
        assert!(runs.insert(run(64, 10)).is_none(), "not of this RAM");
    }
}
