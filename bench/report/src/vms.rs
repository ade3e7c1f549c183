//! Rows of hops between VMs, and their table.

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::{Deserialize, Serialize};

/// A measured row of `ring-bench vms`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VmsRow {
    /// What brings frames from one VM to the next: `testpmd` or `sluiced` as a switch, or a `window`.
    pub r#impl: String,
    /// The VMs in the order in which frames pass them. `a` and `b` are testpmd's, `g` and `f` are processes.
    pub path: String,
    /// Format of the receive queues: `split` or `packed`.
    pub ring: String,
    /// Length of a frame in bytes, without its check sequence.
    pub frame: u16,
    /// Frames of a burst.
    pub burst: usize,
    /// Number of hops that count. Through a switch there are two, as frames go to and fro.
    pub hops: usize,
    /// How often a frame is copied in a hop.
    pub copies: usize,
    /// Who has the first of the two processors, and who the second.
    pub cores: String,
    /// Millions of frames a second, of all hops together: the median of the windows of time that count, if any do.
    pub mpps: Option<f64>,
    /// The ratio to testpmd as a switch, with rings of this format: the median of the ratios of turns of one round.
    pub ratio_to_testpmd: Option<f64>,
    /// Number of rounds that the ratio is of: those in which the processors were equally far apart in both turns.
    pub like_rounds: usize,
    /// Nanoseconds that a cache line takes from one processor to the other and back: the median of all turns.
    pub round_trip_ns: Option<f64>,
    /// Number of windows of time that count.
    pub quiet_windows: usize,
    /// Number of all windows of time.
    pub windows: usize,
}

/// Returns the rows as a table.
pub fn table(rows: &[VmsRow]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "by",
        "path",
        "ring",
        "processors",
        "frame",
        "burst",
        "hops",
        "copies",
        "Mpps",
        "to testpmd",
        "rounds",
        "round trip, ns",
        "quiet",
    ]);
    let number = |number: Option<f64>, digits| number.map_or_else(|| "-".into(), |it| format!("{it:.digits$}"));
    for row in rows {
        let name = [&row.r#impl, &row.path, &row.ring, &row.cores].map(String::clone);
        let counts = [row.frame.into(), row.burst, row.hops, row.copies].map(|count| count.to_string());
        let figures = [
            number(row.mpps, 2),
            number(row.ratio_to_testpmd, 2),
            row.like_rounds.to_string(),
            number(row.round_trip_ns, 0),
            format!("{}/{}", row.quiet_windows, row.windows),
        ];
        table.add_row(name.into_iter().chain(counts).chain(figures));
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = concat!(
        r#"{"impl":"window","path":"g-b","ring":"split","frame":64,"burst":32,"hops":1,"copies":1,"cores":"g | b","#,
        r#""mpps":12.5,"ratio_to_testpmd":2.25,"like_rounds":7,"round_trip_ns":98.0,"quiet_windows":20,"windows":30}"#
    );

    #[test]
    fn a_row_of_vms_has_these_fields_and_no_others() {
        let row: VmsRow = serde_json::from_str(ROW).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), ROW);
        assert!(serde_json::from_str::<VmsRow>(&ROW.replace("hops", "stops")).is_err());
    }

    #[test]
    fn a_line_of_the_table_of_vms_has_a_rate_and_a_ratio_if_windows_of_time_count() {
        let row: VmsRow = serde_json::from_str(ROW).unwrap();
        let nothing = VmsRow { mpps: None, ratio_to_testpmd: None, ..row.clone() };
        let text = table(&[row, nothing]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(["g-b", "g | b", "12.50", "2.25", " 98", "20/30"].iter().all(|it| lines[1].contains(it)), "{text}");
        assert!(lines.len() == 3 && lines[2].contains(" - "), "{text}");
    }
}
