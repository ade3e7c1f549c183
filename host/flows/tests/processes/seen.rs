//! What a test saw, for its reader.

use std::fmt::Write;

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub changes: u64,
    pub frames: u64,
    pub stops: u64,
    pub kills: u64,
    /// Frames of killed switches that were delivered, and not counted.
    pub lost: u64,
}

impl Seen {
    /// Says what came since `before`, and the times in nanoseconds that changes took.
    pub fn since(&self, before: &Self, waits: &[u64]) -> String {
        let Self { changes, frames, stops, kills, lost } = *self;
        let mut text = format!(
            "{} changes, {} frames, {} stops, {} kills, {} frames of killed switches not counted",
            changes - before.changes,
            frames - before.frames,
            stops - before.stops,
            kills - before.kills,
            lost - before.lost,
        );
        let mut sorted = waits.to_vec();
        sorted.sort_unstable();
        if let Some(max) = sorted.last() {
            let at = |part: usize| sorted[(sorted.len() - 1) * part / 100] / 1_000;
            let _ = write!(text, "; done after p50 {} us, p99 {} us, max {} us", at(50), at(99), max / 1_000);
        }
        text
    }
}
