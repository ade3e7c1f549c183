//! Rows of service chains, and their table.

use crate::{Report, Row};
use anyhow::{Result, ensure};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::{Deserialize, Serialize};

/// A measured row: of `ring-bench chain`, or of a chain of VMs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChainRow {
    /// The implementation that was measured: `sluice`, `memif` or `vhost`; `sluice-vm` with each hop in a VM.
    pub r#impl: String,
    /// Number of hops.
    pub hops: usize,
    /// Whether each hop forwards by a network service header.
    pub nsh: bool,
    /// Length of a frame in bytes, without its check sequence.
    pub frame: u16,
    /// Ticks of the time-stamp counter a packet and hop: the median of the quiet chunks, if there are any.
    pub ticks_per_hop: Option<f64>,
    /// Instructions a packet and hop, counted by the emulator; of VMs alone.
    pub instructions_per_hop: Option<f64>,
    /// Exits a packet and hop while these were counted.
    pub exits_per_packet: Option<f64>,
    /// The ratio to memif with frames of this length: the median of the ratios chunk by chunk.
    pub ratio_to_memif: Option<f64>,
    /// The ratio to vhost with frames of this length.
    pub ratio_to_vhost: Option<f64>,
    /// Number of chunks that count.
    pub quiet_chunks: usize,
    /// Number of all chunks.
    pub chunks: usize,
}

impl ChainRow {
    /// Returns the row of a chain of VMs, each hop of which printed a row: the mean.
    ///
    /// # Errors
    /// The run did not end well, or a hop counted no instructions.
    pub fn of_vms(report: &Report) -> Result<Self> {
        report.check()?;
        let rows = &report.rows;
        let frame = rows.first().map(|row| row.frame).unwrap_or_default();
        let counts = |row: &Row| row.counter == "instructions" && row.packets > 1 && row.frame == frame;
        ensure!(!rows.is_empty() && rows.iter().all(counts), "no counts of each hop: {rows:?}");
        let mean = |of: fn(&Row) -> f64| Some(rows.iter().map(of).sum::<f64>() / rows.len() as f64);
        Ok(Self {
            r#impl: "sluice-vm".into(),
            hops: rows.len(),
            nsh: true,
            frame,
            instructions_per_hop: mean(|row| row.per_packet),
            exits_per_packet: mean(|row| row.exits_per_packet),
            ..Self::default()
        })
    }
}

/// Returns the rows as a table.
pub fn table(rows: &[ChainRow]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "chain",
        "NSH",
        "hops",
        "frame",
        "ticks",
        "to memif",
        "to vhost",
        "quiet",
        "instructions",
        "exits",
    ]);
    let number = |number: Option<f64>, digits| number.map_or_else(|| "-".into(), |it| format!("{it:.digits$}"));
    for row in rows {
        table.add_row([
            row.r#impl.clone(),
            if row.nsh { "yes".into() } else { "no".into() },
            row.hops.to_string(),
            row.frame.to_string(),
            number(row.ticks_per_hop, 1),
            number(row.ratio_to_memif, 2),
            number(row.ratio_to_vhost, 2),
            if row.chunks > 0 { format!("{}/{}", row.quiet_chunks, row.chunks) } else { "-".into() },
            number(row.instructions_per_hop, 1),
            number(row.exits_per_packet, 4),
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
        r#"{"impl":"sluice","hops":3,"nsh":true,"frame":98,"ticks_per_hop":40.25,"#,
        r#""instructions_per_hop":null,"exits_per_packet":null,"ratio_to_memif":0.5,"ratio_to_vhost":null,"#,
        r#""quiet_chunks":20,"chunks":30}"#
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

    #[test]
    fn a_chain_of_vms_is_the_mean_of_its_hops() {
        let hop = |per_packet, counter: &str| Row {
            gate: "isolated".into(),
            burst: 32,
            frame: 98,
            packets: 64,
            counter: counter.into(),
            per_packet,
            exits_per_packet: 0.0,
            mpps: None,
        };
        let of = |rows: &[Row]| {
            ChainRow::of_vms(&Report { verdict: Some(Ok(())), rows: rows.to_vec(), ..Report::default() })
        };
        let row = of(&[hop(100.0, "instructions"), hop(130.0, "instructions")]).unwrap();
        assert_eq!((row.hops, row.instructions_per_hop, row.exits_per_packet), (2, Some(115.0), Some(0.0)));
        let text = table(&[row]);
        assert!(["sluice-vm", "115.0", "0.0000"].iter().all(|it| text.contains(it)) && !text.contains("0/0"), "{text}");
        assert!(of(&[hop(100.0, "instructions"), hop(130.0, "cycles")]).is_err());
        assert!(of(&[]).is_err());
    }
}
