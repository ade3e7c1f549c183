//! Rows of the flow cache, and their table.

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A measured row of `ring-bench switch`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchRow {
    /// The implementation that was measured: `sluice`; `rte_hash`; `c`, a C program around `rte_hash`; `ovs`, Open
    /// vSwitch; `testpmd`, what net_null, the callback and the loop take, which rows of `ovs` are without.
    pub r#impl: String,
    /// What the clock ran over: `load`, `parse`, `lookup`, `act`, `count`, or `all` of these; `bare`, a look-up in a
    /// known epoch; `consistent`, the same with epoch, lease, time and report.
    pub work: String,
    /// Headers of the frames: `IPv4`, `VLAN`, `IPv6` or `NSH`.
    pub frame: String,
    /// Number of flows.
    pub flows: u32,
    /// The entries of the flow cache: `wide`, one for all flows; `exact`, one for each; `subtables`, 32 under 16 masks;
    /// `front`, the same behind an exact-match front.
    pub table: Option<String>,
    /// How Open vSwitch is configured: `default`; `smc`, its signature match cache instead of the exact match cache;
    /// `dpcls`, neither. Or what goes on beside the flow cache: `changes`, `headers`; `alone`, nothing.
    pub setting: Option<String>,
    /// Number of masks of the table.
    pub masks: Option<u16>,
    /// Size of the pages that were asked for, in KiB.
    pub pages: Option<u16>,
    /// Share of the table's memory that is in pages of 2 MiB.
    pub large_share: Option<f64>,
    /// Ticks of the time-stamp counter: the median of the quiet chunks, nothing without any.
    pub ticks_per_packet: Option<f64>,
    /// Ratios to others at as many flows, by their names. Those to rows of this program are medians of the ratios chunk
    /// by chunk; those to `ovs`, as it is by default, and to `ovs-best`, its fastest setting, are ratios of
    /// medians.
    pub ratios: BTreeMap<String, f64>,
    /// Packets that a switch did not find in its caches while it was measured.
    pub misses: Option<u64>,
    /// Changes of the table in a second, while it was measured.
    pub changes: Option<f64>,
    /// Number of chunks that count.
    pub quiet_chunks: usize,
    /// Number of all chunks.
    pub chunks: usize,
}

impl SwitchRow {
    /// Returns the implementation if it is another one, the table, the setting, and the size of its pages.
    pub fn line(&self) -> String {
        let pages = match self.pages {
            Some(pages) if pages >= 1024 => Some(format!("{} MiB", pages / 1024)),
            Some(pages) => Some(format!("{pages} KiB")),
            None => None,
        };
        let other = (self.r#impl != "sluice" || self.table.is_none()).then(|| self.r#impl.clone());
        let parts = [other, self.table.clone(), self.setting.clone(), pages];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Returns the ratios, as a table has them.
    fn ratios(&self) -> Option<String> {
        let each = self.ratios.iter().map(|(name, ratio)| format!("{name} {ratio:.2}"));
        (!self.ratios.is_empty()).then(|| each.collect::<Vec<_>>().join(", "))
    }
}

/// Returns the rows as a table.
pub fn table(rows: &[SwitchRow]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["work", "frame", "table", "in 2 MiB", "masks", "flows", "ticks/packet", "quiet", "ratios"]);
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
            format!("{}/{}", row.quiet_chunks, row.chunks),
            or_none(row.ratios()),
        ]);
    }
    for column in table.column_iter_mut().skip(3).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = concat!(
        r#"{"impl":"sluice","work":"lookup","frame":"IPv4","flows":64000,"table":"front","setting":null,"masks":16,"#,
        r#""pages":2048,"large_share":0.5,"ticks_per_packet":12.25,"ratios":{"rte_hash":0.25},"misses":null,"#,
        r#""changes":null,"quiet_chunks":20,"chunks":30}"#
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
        let theirs =
            SwitchRow { r#impl: "rte_hash".into(), table: None, pages: Some(4), ticks_per_packet: None, ..row.clone() };
        let text = table(&[row, theirs]);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert!(
            ["front, 2 MiB", "50 %", "12.2", "rte_hash 0.25", "20/30"].iter().all(|it| lines[1].contains(it)),
            "{text}"
        );
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
