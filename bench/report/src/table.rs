//! Rows for people.

use crate::rows::{RingRow, Row, frame_name};
use comfy_table::{CellAlignment, Table, presets::NOTHING};

/// Returns the rows as a table, with the counter's name in its head.
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
            frame_name(row.frame),
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

/// Round trips that differ by more than this factor make rows incomparable.
const LIKE: f64 = 1.25;

/// Returns rows of rings as a table: a line for each case, a column for each implementation.
pub fn of_rings(rows: &[RingRow]) -> String {
    let mut names: Vec<&str> = Vec::new();
    let mut cases: Vec<(Case<'_>, Vec<&RingRow>)> = Vec::new();
    for row in rows {
        if !names.contains(&row.r#impl.as_str()) {
            names.push(&row.r#impl);
        }
        let case = (row.cores, row.frame, row.burst, row.ring.as_str());
        match cases.iter_mut().find(|(known, _)| *known == case) {
            Some((_, same)) => same.push(row),
            None => cases.push((case, vec![row])),
        }
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    let ours = names.iter().copied().find(|name| ["sluice-window", "sluice"].contains(name));
    let receiving = ours == Some("sluice");
    let ratio = if receiving { "sluice/dpdk" } else { "window/rte_vhost" };
    let last = if receiving { "DPDK's way" } else { "round trip, ns" };
    table.set_header(["cores", "frame", "burst", "ring"].iter().chain(&names).chain(&[ratio, last]));
    for ((cores, frame, burst, ring), same) in cases {
        let cost = |name: &&str| same.iter().find(|row| row.r#impl == **name).map(|row| row.cycles_per_packet);
        let costs = names.iter().map(|name| cost(name).map_or("-".into(), |cost| format!("{cost:.1}")));
        let case = [cores.to_string(), frame_name(frame), burst.to_string(), ring.to_owned()];
        let ratio = same.iter().filter(|row| Some(row.r#impl.as_str()) == ours).find_map(|row| row.ratio_to_dpdk);
        let way = || same.iter().find_map(|row| row.path.clone()).unwrap_or_else(|| "-".into());
        let last = [
            ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}")),
            if receiving { way() } else { round_trips(&same) },
        ];
        table.add_row(case.into_iter().chain(costs).chain(last));
    }
    for (_, column) in table.column_iter_mut().enumerate().filter(|(place, _)| *place != 3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// Processors, frame, burst, ring.
type Case<'r> = (u16, u16, u16, &'r str);

/// Returns the least and the greatest of the rows' round trips, marked where the rows don't compare.
fn round_trips(rows: &[&RingRow]) -> String {
    let trips = || rows.iter().filter_map(|row| row.round_trip_ns);
    let Some(least) = trips().min_by(f64::total_cmp) else { return "-".into() };
    let greatest = trips().fold(least, f64::max);
    let mark = if greatest > LIKE * least { " !" } else { "" };
    format!("{least:.0}-{greatest:.0}{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, round_trip_ns: Option<f64>) -> RingRow {
        RingRow {
            side: "device".into(),
            r#impl: name.into(),
            ring: "split".into(),
            cores: 1 + u16::from(round_trip_ns.is_some()),
            round_trip_ns,
            frame: 64,
            burst: 32,
            cycles_per_packet: 7.0,
            ratio_to_dpdk: None,
            path: None,
        }
    }

    #[test]
    fn the_ratio_is_that_of_the_window_or_of_the_driver() {
        let ratio = |name: &str, ratio| RingRow { ratio_to_dpdk: Some(ratio), ..row(name, None) };
        let text = of_rings(&[ratio("sluice-native", 0.25), ratio("sluice-window", 0.125), row("rte_vhost", None)]);
        assert!(text.contains("window/rte_vhost") && text.contains("0.12") && !text.contains("0.25"), "{text}");
        let theirs = RingRow { path: Some("vectorized".into()), ..row("dpdk-virtio", None) };
        let text = of_rings(&[ratio("sluice", 0.5), theirs]);
        assert!(text.contains("sluice/dpdk") && text.contains("0.50") && text.contains("vectorized"), "{text}");
        assert!(of_rings(&[row("sluice", None)]).lines().nth(1).is_some_and(|line| line.contains(" - ")));
    }

    #[test]
    fn unlike_round_trips_are_marked() {
        let text = of_rings(&[row("a", Some(100.0)), row("b", Some(124.0)), row("a", None)]);
        assert!(text.contains("100-124") && !text.contains('!') && text.lines().count() == 3, "{text}");
        assert!(of_rings(&[row("a", Some(100.0)), row("b", Some(126.0))]).contains("100-126 !"));
    }
}
