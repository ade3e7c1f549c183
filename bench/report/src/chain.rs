//! Rows of service chains, and their table.

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::{Deserialize, Serialize};

/// A measured row of `ring-bench chain`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChainRow {
    /// The implementation that was measured: `sluice`, `memif` or `vhost`.
    pub r#impl: String,
    /// Number of hops.
    pub hops: usize,
    /// Whether each hop forwards by a network service header.
    pub nsh: bool,
    /// Length of a frame in bytes, without its check sequence.
    pub frame: u16,
    /// Ticks of the time-stamp counter a packet and hop: the median of the quiet chunks, nothing without any.
    pub ticks_per_hop: Option<f64>,
    /// The ratio to memif with frames of this length: the median of the ratios chunk by chunk.
    pub ratio_to_memif: Option<f64>,
    /// The ratio to vhost with frames of this length.
    pub ratio_to_vhost: Option<f64>,
    /// Number of chunks that count.
    pub quiet_chunks: usize,
    /// Number of all chunks.
    pub chunks: usize,
}

/// Returns the rows as a table.
pub fn table(rows: &[ChainRow]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["chain", "NSH", "hops", "frame", "ticks/packet, hop", "to memif", "to vhost", "quiet"]);
    let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"));
    for row in rows {
        table.add_row([
            row.r#impl.clone(),
            if row.nsh { "yes".into() } else { "no".into() },
            row.hops.to_string(),
            row.frame.to_string(),
            row.ticks_per_hop.map_or_else(|| "-".into(), |ticks| format!("{ticks:.1}")),
            ratio(row.ratio_to_memif),
            ratio(row.ratio_to_vhost),
            format!("{}/{}", row.quiet_chunks, row.chunks),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = concat!(
        r#"{"impl":"sluice","hops":3,"nsh":true,"frame":98,"ticks_per_hop":40.25,"ratio_to_memif":0.5,"#,
        r#""ratio_to_vhost":null,"quiet_chunks":20,"chunks":30}"#
    );

    #[test]
    fn a_row_has_these_fields_and_no_others() {
        let row: ChainRow = serde_json::from_str(ROW).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), ROW);
        assert!(serde_json::from_str::<ChainRow>(&ROW.replace("hops", "stops")).is_err());
    }

    #[test]
    fn a_line_of_the_table_has_ticks_and_ratios() {
        let row: ChainRow = serde_json::from_str(ROW).unwrap();
        let none = ChainRow { r#impl: "memif".into(), ticks_per_hop: None, nsh: false, ..row.clone() };
        let text = table(&[row, none]);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert!(["sluice", "yes", "40.2", "0.50", "20/30"].iter().all(|it| lines[1].contains(it)), "{text}");
        assert!(lines[2].contains("memif") && lines[2].contains("no") && lines[2].contains(" - "), "{text}");
    }
}
