//! Which windows of time count, and the figures of a row.

use super::cores::Look;
use crate::quiet::LIKE_THE_BEST;
use crate::statistics::median;
use sluice_report::vms::VmsRow;

/// A window of time counts if its processes had at least this share of both processors.
const SHARE: f64 = 0.98;
/// Round trips are alike if the longest is at most this number of times as long as the shortest.
const ALIKE: f64 = 1.25;

/// What came of a turn.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Whether all counts, whatever else was going on.
    pub any: bool,
    /// The processors before and after it.
    pub before: Look,
    pub after: Look,
    /// Of each window of time: millions of frames that were received in a second, and the share of the processors'
    /// time that the processes had.
    pub windows: Vec<(f64, f64)>,
}

impl Turn {
    /// Returns the figures of the windows that count, where `best` is the best reading of all.
    pub fn counting(&self, best: u64) -> impl Iterator<Item = f64> {
        let slower = self.before.slower.max(self.after.slower);
        let fast = slower * 100 <= LIKE_THE_BEST * best;
        let counts = move |(_, share): &&(f64, f64)| self.any || fast && *share >= SHARE;
        self.windows.iter().filter(counts).map(|(frames, _)| *frames)
    }

    /// Returns the ratio to `theirs`, if there are windows of both that count, and the processors stayed equally far
    /// apart.
    fn ratio(&self, theirs: &Self, best: u64) -> Option<f64> {
        let trips = [self, theirs].map(|turn| [turn.before.round_trip, turn.after.round_trip]);
        let trips = trips.as_flattened();
        let (least, most) = (trips.iter().copied().reduce(f64::min)?, trips.iter().copied().reduce(f64::max)?);
        let [ours, theirs] = [self, theirs].map(|turn| median(turn.counting(best).collect()));
        (self.any || most <= ALIKE * least).then_some(ours / theirs).filter(|ratio| ratio.is_finite())
    }
}

/// Returns `row` with the figures of `turns`, and with the ratio to those of `theirs`.
pub fn row(row: VmsRow, turns: &[Turn], theirs: Option<&[Turn]>, best: u64) -> VmsRow {
    let quiet: Vec<f64> = turns.iter().flat_map(|turn| turn.counting(best)).collect();
    let trips = turns.iter().flat_map(|turn| [turn.before.round_trip, turn.after.round_trip]).collect();
    let pairs = turns.iter().zip(theirs.unwrap_or_default());
    let ratios: Vec<f64> = pairs.filter_map(|(ours, theirs)| ours.ratio(theirs, best)).collect();
    VmsRow {
        quiet_windows: quiet.len(),
        windows: turns.iter().map(|turn| turn.windows.len()).sum(),
        mpps: (!quiet.is_empty()).then(|| median(quiet)),
        like_rounds: ratios.len(),
        ratio_to_testpmd: (!ratios.is_empty()).then(|| median(ratios)),
        round_trip_ns: Some(median(trips)),
        ..row
    }
}
