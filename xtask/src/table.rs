//! Rows for people.

use crate::Row;
use comfy_table::{CellAlignment, Table, presets::NOTHING};

/// The rows as a table, with what was counted in its head.
pub fn of(rows: &[Row]) -> String {
    let counter = rows.first().map_or("ticks", |row| row.counter.as_str());
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["gate", "burst", "frame", "packets", &format!("{counter}/packet"), "exits/packet", "Mpps"]);
    for row in rows {
        let mpps = row.mpps.map_or("-".into(), |mpps| format!("{mpps:.1}"));
        table.add_row([
            row.gate.clone(),
            row.burst.to_string(),
            row.frame.to_string(),
            row.packets.to_string(),
            format!("{:.1}", row.per_packet),
            format!("{:.4}", row.exits_per_packet),
            mpps,
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}
