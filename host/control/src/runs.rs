//! The runs of one VM's packet memory. See: `sluice_abi::run`.

use alloc::vec::Vec;
use core::fmt;
use sluice_abi::map::PACKETS_LEN;
use sluice_abi::run::{MAX_RUNS, RUN_ALIGN, Run, RunRefusal};

/// The runs of a VM, ordered by offset.
#[derive(Clone, Debug, Default)]
pub struct Runs(Vec<Run>);

/// Why a run was not added or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunError {
    /// The run of the request. A request to remove a run has no GPA; it is 0 here.
    pub run: Run,
    /// The reason.
    pub why: RunRefusal,
    /// The run that overlaps, with [`RunRefusal::Overlap`].
    pub other: Option<Run>,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            RunRefusal::NoSuchRun => write!(f, "run of {:#x} bytes at offset {:#x}", self.run.len, self.run.offset)?,
            _ => write!(f, "run of {}", self.run)?,
        }
        write!(f, ": {}", self.why)?;
        self.other.map_or(Ok(()), |other| write!(f, ", {other}"))
    }
}

impl Runs {
    /// Adds `run`, of a VM with `ram_len` bytes of RAM. All three numbers of the run are checked.
    pub fn add(&mut self, run: Run, ram_len: u64) -> Result<(), RunError> {
        let other = self.0.iter().copied().find(|other| overlap(&run, other));
        let why = match look(&run, ram_len) {
            Some(why) => why,
            None if other.is_some() => return Err(RunError { run, why: RunRefusal::Overlap, other }),
            None if self.0.len() == MAX_RUNS => RunRefusal::TooMany,
            None => {
                let at = self.0.partition_point(|other| other.offset < run.offset);
                self.0.insert(at, run);
                return Ok(());
            }
        };
        Err(RunError { run, why, other: None })
    }

    /// Removes the run of `len` bytes at `offset`, and returns it.
    pub fn remove(&mut self, offset: u64, len: u64) -> Result<Run, RunError> {
        let at = self.0.iter().position(|run| run.offset == offset && run.len == len);
        let run = Run { gpa: sluice_abi::Gpa(0), len, offset };
        at.map(|at| self.0.remove(at)).ok_or(RunError { run, why: RunRefusal::NoSuchRun, other: None })
    }

    /// Returns all runs, ordered by offset.
    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.0.iter()
    }

    /// Returns all packet memory as ranges without a gap: offset and length of each.
    pub fn extents(&self) -> Vec<(u64, u64)> {
        self.0.iter().fold(Vec::new(), |mut extents: Vec<(u64, u64)>, run| {
            match extents.last_mut().filter(|(offset, len)| offset + len == run.offset) {
                Some((_, len)) => *len += run.len,
                None => extents.push((run.offset, run.len)),
            }
            extents
        })
    }

    /// Forgets all runs.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Returns why `run` is refused whatever other runs there are, if it is.
fn look(run: &Run, ram_len: u64) -> Option<RunRefusal> {
    let within = |at: u64, end: u64| at.checked_add(run.len).is_some_and(|last| last <= end);
    let aligned = [run.gpa.0, run.len, run.offset].iter().all(|number| number.is_multiple_of(RUN_ALIGN));
    match () {
        () if !aligned || run.len == 0 => Some(RunRefusal::Unaligned),
        () if !within(run.gpa.0, ram_len) => Some(RunRefusal::OutsideRam),
        () if !within(run.offset, PACKETS_LEN) => Some(RunRefusal::OutsideSpace),
        () => None,
    }
}

/// Returns whether two runs share a byte of RAM or an offset. The sums of `other`, which was added, do not wrap.
fn overlap(run: &Run, other: &Run) -> bool {
    let shared = |at: u64, start: u64| at < start + other.len && start < at.saturating_add(run.len);
    shared(run.gpa.0, other.gpa.0) || shared(run.offset, other.offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use sluice_abi::Gpa;

    const M: u64 = 1 << 20;
    const RAM: u64 = 64 * M;

    fn run(gpa: u64, len: u64, offset: u64) -> Run {
        Run { gpa: Gpa(gpa), len, offset }
    }

    fn two() -> Runs {
        let mut runs = Runs::default();
        assert_eq!(runs.add(run(8 * M, 4 * M, 6 * M), RAM), Ok(()));
        assert_eq!(runs.add(run(4 * M, 4 * M, 2 * M), RAM), Ok(()));
        runs
    }

    #[test]
    fn runs_are_kept_by_offset_and_removed_whole() {
        let mut runs = two();
        assert!(runs.iter().map(|run| run.offset).eq([2 * M, 6 * M]));
        for (offset, len) in [(2 * M, 2 * M), (4 * M, 2 * M), (2 * M, 8 * M), (0, 2 * M), (2 * M, 0)] {
            assert_eq!(runs.remove(offset, len).map_err(|error| error.why), Err(RunRefusal::NoSuchRun));
        }
        assert_eq!(runs.extents(), [(2 * M, 8 * M)]);
        assert_eq!(runs.remove(6 * M, 4 * M), Ok(run(8 * M, 4 * M, 6 * M)));
        assert_eq!(runs.add(run(12 * M, 4 * M, 6 * M), RAM), Ok(()), "where one was");
        runs.clear();
        assert_eq!(runs.iter().count(), 0);
    }

    #[test]
    fn a_run_that_is_none_is_refused() {
        use RunRefusal::{OutsideRam, OutsideSpace, Unaligned};
        for (bad, why) in [
            (run(1, 2 * M, 20 * M), Unaligned),
            (run(M, 2 * M, 20 * M), Unaligned),
            (run(20 * M, 3 * M, 20 * M), Unaligned),
            (run(20 * M, 2 * M, 21 * M), Unaligned),
            (run(20 * M, 0, 20 * M), Unaligned),
            (run(62 * M, 4 * M, 20 * M), OutsideRam),
            (run(64 * M, 2 * M, 20 * M), OutsideRam),
            (run(0u64.wrapping_sub(2 * M), 4 * M, 20 * M), OutsideRam),
            (run(20 * M, 0u64.wrapping_sub(2 * M), 20 * M), OutsideRam),
            (run(20 * M, 2 * M, PACKETS_LEN), OutsideSpace),
            (run(20 * M, 4 * M, PACKETS_LEN - 2 * M), OutsideSpace),
            (run(20 * M, 2 * M, 0u64.wrapping_sub(2 * M)), OutsideSpace),
        ] {
            let mut runs = two();
            let error = runs.add(bad, RAM).unwrap_err();
            assert_eq!((error.why, error.run, runs.iter().count()), (why, bad, 2));
        }
        assert_eq!(two().add(run(62 * M, 2 * M, PACKETS_LEN - 2 * M), RAM), Ok(()));
    }

    #[test]
    fn no_two_runs_share_memory_or_offsets() {
        for (gpa, offset, other) in [
            (6 * M, 20 * M, 2 * M),
            (2 * M, 20 * M, 2 * M),
            (10 * M, 20 * M, 6 * M),
            (20 * M, 0, 2 * M),
            (20 * M, 4 * M, 2 * M),
            (20 * M, 8 * M, 6 * M),
        ] {
            let error = two().add(run(gpa, 4 * M, offset), RAM).unwrap_err();
            assert_eq!((error.why, error.other.map(|run| run.offset)), (RunRefusal::Overlap, Some(other)));
        }
        assert_eq!(
            two().add(run(4 * M, 4 * M, 20 * M), RAM).unwrap_err().to_string(),
            "run of 0x400000 bytes at GPA 0x400000, offset 0x1400000: the run shares RAM or offsets with another run, \
             0x400000 bytes at GPA 0x400000, offset 0x200000"
        );
        let error = two().remove(0, 2 * M).unwrap_err().to_string();
        assert_eq!(error, "run of 0x200000 bytes at offset 0x0: no run of this length starts at this offset");
    }

    #[test]
    fn there_are_only_so_many() {
        let mut runs = Runs::default();
        let nth = |index: u64| run(2 * M * index, 2 * M, 4 * M * index);
        (0..MAX_RUNS as u64).for_each(|index| assert_eq!(runs.add(nth(index), RAM), Ok(())));
        assert_eq!(runs.extents().len(), MAX_RUNS, "gaps between all of them");
        assert_eq!(runs.add(nth(MAX_RUNS as u64), RAM).unwrap_err().why, RunRefusal::TooMany);
    }
}
