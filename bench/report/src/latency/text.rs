//! Rows for people.

use super::rows::{Calls, Expiries};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use std::fmt::Write;

/// Lines of a histogram.
const LINES: u64 = 12;
/// Characters of its longest bar.
const BAR: u64 = 48;

/// A table of `rows`, of which the first `left` columns are words.
pub fn table(head: &[&str], left: usize, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(head).add_rows(rows);
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// Calls, a line for each kind.
pub fn calls(rows: &[Calls]) -> String {
    let head = ["burst", "frame", "ring's end", "calls", "min", "mean", "max", "variance", "window max"];
    let cells = |row: &Calls| {
        let window = row.window_max.map_or("-".into(), |max| max.to_string());
        vec![
            row.burst.to_string(),
            row.frame.to_string(),
            if row.over_the_end { "over" } else { "-" }.into(),
            row.calls.to_string(),
            row.min.to_string(),
            format!("{:.1}", row.mean),
            row.max.to_string(),
            format!("{:.3}", row.variance).replace("0.000", "0"),
            window,
        ]
    };
    table(&head, 0, rows.iter().map(cells))
}

/// Expiries, a line for each load.
pub fn expiries(rows: &[Expiries]) -> String {
    let head = ["load", "expiries", "missed", "min", "mean", "max", "bound", ""];
    let cells = |row: &Expiries| {
        let holds = row.bound.map_or("", |bound| if row.max <= bound { "holds" } else { "BROKEN" });
        vec![
            row.load.clone(),
            row.expiries.to_string(),
            row.missed.to_string(),
            row.min.to_string(),
            format!("{:.1}", row.mean),
            row.max.to_string(),
            row.bound.map_or("-".into(), |bound| bound.to_string()),
            holds.into(),
        ]
    };
    table(&head, 1, rows.iter().map(cells))
}

/// A histogram: from where on, how many, and a bar.
pub fn histogram(row: &Expiries) -> String {
    let bins = bins(row, LINES);
    let most = bins.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let mut text = format!("{}, {}\n", row.load, row.unit);
    for (floor, count) in bins {
        let bar = "#".repeat((count * BAR).div_ceil(most) as usize);
        // Writing to a String does not fail.
        let _ = writeln!(text, "{floor:>9} {count:>7} {bar}");
    }
    text
}

/// The buckets, gathered in at most `count` runs of equal length from the least latency to the greatest.
pub fn bins(row: &Expiries, count: u64) -> Vec<(u64, u64)> {
    let width = ((row.max - row.min) / count + 1).max(1);
    let mut bins: Vec<(u64, u64)> = (0..=(row.max - row.min) / width).map(|bin| (row.min + bin * width, 0)).collect();
    for (floor, count) in &row.histogram {
        // The least is in a bucket that begins below it.
        let bin = floor.saturating_sub(row.min) / width;
        if let Some((_, sum)) = bins.get_mut(bin as usize) {
            *sum += count;
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(min: u64, max: u64, histogram: &[(u64, u64)]) -> Expiries {
        let (load, unit) = ("idle".into(), "instructions".into());
        let histogram = histogram.to_vec();
        let (period, missed, exit, aborted, bound) = (9, 0, 0, 0, None);
        Expiries { load, unit, period, expiries: 10, missed, min, mean: 1.0, max, exit, aborted, histogram, bound }
    }

    #[test]
    fn every_expiry_is_in_a_bin() {
        let one = row(1852, 1852, &[(1792, 10)]);
        assert_eq!(bins(&one, 12), [(1852, 10)]);
        let spread = row(520, 3629, &[(512, 3), (1792, 4), (3584, 3)]);
        let bins = bins(&spread, 12);
        assert_eq!((bins.len(), bins.iter().map(|(_, count)| count).sum::<u64>()), (12, 10));
        assert!(bins[0].1 == 3 && bins[11] == (520 + 11 * 260, 3), "{bins:?}");
        assert_eq!(histogram(&spread).lines().count(), 13);
    }
}
