//! Rows of the flow cache, and their table.

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::{Deserialize, Serialize};

/// A measured row of `ring-bench switch`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchRow {
    /// The implementation that was measured: `sluice` or `rte_hash`.
    pub r#impl: String,
    /// What the clock ran over: `load`, `parse`, `lookup`, `act`, `count`, or `all` of these.
    pub work: String,
    /// Headers of the frames: `IPv4`, `VLAN`, `IPv6` or `NSH`.
    pub frame: String,
    /// Number of flows.
    pub flows: u32,
    /// The entries of the flow cache: `wide`, one for all flows; `exact`, one for each; `subtables`, 32 under 16 masks;
    /// `front`, the same behind an exact-match front.
    pub table: Option<String>,
    /// Number of masks of the table.
    pub masks: Option<u16>,
    /// Size of the pages that were asked for, in KiB.
    pub pages: Option<u16>,
    /// Share of the table's memory that is in pages of 2 MiB.
    pub large_share: Option<f64>,
    /// Ticks of the time-stamp counter: the median of the quiet chunks, nothing without any.
    pub ticks_per_packet: Option<f64>,
    /// The ratio to the look-up of `rte_hash` among as many flows: the median of the ratios chunk by chunk.
    pub ratio_to_rte_hash: Option<f64>,
    /// Number of chunks that count.
    pub quiet_chunks: usize,
    /// Number of all chunks.
    pub chunks: usize,
}

impl SwitchRow {
    /// Returns the table, or the implementation that has its own, and the size of its pages.
    pub fn line(&self) -> String {
        let pages = match self.pages {
            Some(pages) if pages >= 1024 => format!(", {} MiB", pages / 1024),
            Some(pages) => format!(", {pages} KiB"),
            None => String::new(),
        };
        format!("{}{pages}", self.table.as_ref().unwrap_or(&self.r#impl))
    }
}

/// Returns the rows as a table.
pub fn table(rows: &[SwitchRow]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["work", "frame", "table", "in 2 MiB", "masks", "flows", "ticks/packet", "to rte_hash", "quiet"]);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    for row in rows {
        table.add_row([
            row.work.clone(),
            row.frame.clone(),
            row.line(),
            or_none(row.large_share.map(|share| format!("{:.0} %", 100.0 * share))),
            or_none(row.masks.map(|masks| masks.to_string())),
            row.flows.to_string(),
            or_none(row.ticks_per_packet.map(|ticks| format!("{ticks:.1}"))),
            or_none(row.ratio_to_rte_hash.map(|ratio| format!("{ratio:.2}"))),
            format!("{}/{}", row.quiet_chunks, row.chunks),
        ]);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = concat!(
        r#"{"impl":"sluice","work":"lookup","frame":"IPv4","flows":64000,"table":"front","masks":16,"pages":2048,"#,
        r#""large_share":0.5,"ticks_per_packet":12.25,"ratio_to_rte_hash":0.5,"quiet_chunks":20,"chunks":30}"#
    );

    #[test]
    fn a_row_has_these_fields_and_no_others() {
        let row: SwitchRow = serde_json::from_str(ROW).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), ROW);
        assert!(serde_json::from_str::<SwitchRow>(&ROW.replace("0.5", "null")).is_ok());
        assert!(serde_json::from_str::<SwitchRow>(&ROW.replace("masks\":16", "subtables\":16")).is_err());
    }

    #[test]
    fn a_line_of_the_table_says_which_pages_there_were_and_how_many_chunks_count() {
        let row: SwitchRow = serde_json::from_str(ROW).unwrap();
        let theirs = SwitchRow {
            r#impl: "rte_hash".into(),
            table: None,
            pages: Some(4),
            ticks_per_packet: None,
            ratio_to_rte_hash: None,
            ..row.clone()
        };
        let text = table(&[row, theirs]);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert!(["front, 2 MiB", "50 %", "12.2", "0.50", "20/30"].iter().all(|it| lines[1].contains(it)), "{text}");
        assert!(lines[2].contains("rte_hash, 4 KiB") && lines[2].contains(" - "), "{text}");
    }

    #[test]
    fn a_picture_has_a_panel_for_each_work_and_a_line_for_each_table() {
        let row: SwitchRow = serde_json::from_str(ROW).unwrap();
        let all = SwitchRow { work: "all".into(), table: Some("exact".into()), ..row.clone() };
        let path = std::env::temp_dir().join(format!("switch-{}.svg", std::process::id()));
        crate::plot::switch(&path, &[row, all]).unwrap();
        let picture = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let texts = ["a packet: lookup", "a packet: all", "front, 2 MiB", "exact, 2 MiB", "flows"];
        assert!(texts.iter().all(|text| picture.contains(text)), "{picture}");
    }
}
