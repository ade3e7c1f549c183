//! Rows of `cargo xtask latency --wakeups`: how long a frame waits for a VNF that has nothing to do.

use super::rows::rows_of;
use super::text::table;
use crate::Report;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// The frames that one receiver took.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Wakeups {
    /// The receiver's way to wait: `poll`, or `sleep`.
    pub rest: String,
    /// The way of the frames: by the sender's `window`, or by the `switch`.
    pub via: String,
    /// The number of frames that came.
    pub frames: u64,
    /// `instructions` or `cycles`.
    pub unit: String,
    /// The least that one waited, from before it was sent until it was received.
    pub min: u64,
    /// The median: the least value of its bucket, which is a sixteenth of a power of two.
    pub median: u64,
    /// The mean.
    pub mean: f64,
    /// The greatest.
    pub max: u64,
    /// Times that the receiver slept.
    pub sleeps: u64,
    /// The share of a processor that the receiver took: of a VM, the time that it did not sleep.
    pub busy_percent: f64,
    /// The number of times that the host notified the receiver's driver, which had asked for it.
    #[serde(default)]
    pub notified: u64,
}

/// Returns the row that a run printed which ended well.
pub fn row(report: &Report) -> Result<Wakeups> {
    report.check()?;
    let mut rows: Vec<Wakeups> = rows_of(report, "[b] wakeups ")?;
    let notified = notified(report, "b");
    let mut row = rows.pop().context("nothing was measured")?;
    ensure!(rows.is_empty(), "more than one row");
    row.notified = notified;
    Ok(row)
}

/// Returns the number of times that the driver of VM `vm` was notified of used buffers.
pub fn notified(report: &Report, vm: &str) -> u64 {
    let line = report.lines.iter().find_map(|line| line.split_once(&format!("] switch {vm} ")));
    let count = line.and_then(|(_, counters)| counters.split(' ').find_map(|word| word.strip_prefix("notified=")));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Returns the rows as a table.
pub fn text(rows: &[Wakeups]) -> String {
    let head = ["by", "receiver", "frames", "min", "median", "mean", "max", "sleeps", "told", "busy %"];
    let cells = |row: &Wakeups| {
        let words = [row.via.clone(), format!("{}s", row.rest)];
        let numbers = [row.frames, row.min, row.median].map(|number| number.to_string());
        let others = [row.max, row.sleeps, row.notified].map(|number| number.to_string());
        let (mean, busy) = (format!("{:.0}", row.mean), format!("{:.1}", row.busy_percent));
        [&words[..], &numbers, &[mean], &others, &[busy]].concat()
    };
    table(&head, 2, rows.iter().map(cells))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = concat!(
        r#"[b] wakeups {"rest":"sleep","via":"switch","frames":9,"unit":"cycles","min":1,"median":2,"#,
        r#""mean":3,"max":4,"sleeps":5,"busy_percent":6.5}"#
    );

    fn report(lines: &str) -> Report {
        Report::parse(&format!("{lines}\n[launcher] RESULT pass\n"), "launcher")
    }

    #[test]
    fn a_row_is_what_the_receiver_noted_and_the_host_counted() {
        let host = "[launcher] switch a taken=3 notified=8\n[launcher] switch b taken=2 forwarded=9 notified=7";
        let row = row(&report(&format!("{LINE}\n{host}"))).unwrap();
        assert_eq!((row.frames, row.sleeps, row.notified, row.busy_percent), (9, 5, 7, 6.5));
        assert!(text(&[row]).contains("sleeps"));
    }

    #[test]
    fn a_run_without_a_row_or_with_two_measured_nothing() {
        assert!(row(&report("")).is_err() && row(&report(&format!("{LINE}\n{LINE}"))).is_err());
        assert!(row(&report(&LINE.replace("sleeps\":5", "naps\":5"))).is_err());
        assert_eq!(notified(&report("[launcher] switch b taken=2"), "b"), 0);
    }
}
