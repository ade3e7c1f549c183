//! Rows of channels, and their table.

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::{Deserialize, Serialize};

/// A measured row of `ring-bench channel`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelRow {
    /// The implementation that was measured: `sluice-channel`, `rte_ring-elements` or `rte_ring-mbufs`.
    pub r#impl: String,
    /// Length of a packet in bytes.
    pub frame: u16,
    /// Packets of a burst.
    pub burst: usize,
    /// Ticks of the time-stamp counter for a packet that is written and read: the median of the quiet chunks, if there
    /// are any.
    pub ticks_per_packet: Option<f64>,
    /// The ratio to rte_ring with elements: the median of the ratios chunk by chunk.
    pub ratio_to_elements: Option<f64>,
    /// The ratio to rte_ring with mbufs.
    pub ratio_to_mbufs: Option<f64>,
    /// Number of chunks that count.
    pub quiet_chunks: usize,
    /// Number of all chunks.
    pub chunks: usize,
}

/// Returns the rows as a table.
pub fn table(rows: &[ChannelRow]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["ring", "frame", "burst", "ticks", "to elements", "to mbufs", "quiet"]);
    let number = |number: Option<f64>, digits| number.map_or_else(|| "-".into(), |it| format!("{it:.digits$}"));
    for row in rows {
        table.add_row([
            row.r#impl.clone(),
            row.frame.to_string(),
            row.burst.to_string(),
            number(row.ticks_per_packet, 1),
            number(row.ratio_to_elements, 2),
            number(row.ratio_to_mbufs, 2),
            format!("{}/{}", row.quiet_chunks, row.chunks),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = concat!(
        r#"{"impl":"sluice-channel","frame":64,"burst":32,"ticks_per_packet":20.25,"#,
        r#""ratio_to_elements":0.5,"ratio_to_mbufs":null,"quiet_chunks":20,"chunks":30}"#
    );

    #[test]
    fn a_row_of_a_channel_has_these_fields_and_no_others() {
        let row: ChannelRow = serde_json::from_str(ROW).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), ROW);
        assert!(serde_json::from_str::<ChannelRow>(&ROW.replace("burst", "crowd")).is_err());
    }

    #[test]
    fn a_line_of_the_table_of_channels_has_ticks_and_ratios() {
        let text = table(&[serde_json::from_str(ROW).unwrap()]);
        assert!(["sluice-channel", "64", "32", "20.2", "0.50", " - ", "20/30"].iter().all(|it| text.contains(it)));
    }
}
