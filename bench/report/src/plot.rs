//! Rows as a picture: panels, and a line for each thing that is compared.

use crate::rows::{RingRow, Row, frame_name};
use crate::switch::SwitchRow;
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// The colour of each gate and implementation, in every picture.
const COLOURS: [(&str, RGBColor); 22] = [
    ("isolated", RGBColor(200, 40, 40)),
    ("hypercall", RGBColor(60, 60, 60)),
    ("guarded", RGBColor(30, 110, 190)),
    ("direct", RGBColor(40, 150, 80)),
    ("sluice-window", RGBColor(200, 40, 40)),
    ("sluice-native", RGBColor(225, 140, 40)),
    ("sluice-shared", RGBColor(190, 150, 220)),
    ("rte_vhost", RGBColor(30, 110, 190)),
    ("virtio-queue", RGBColor(40, 150, 80)),
    ("copy", RGBColor(120, 120, 120)),
    ("sluice", RGBColor(200, 40, 40)),
    ("dpdk-virtio", RGBColor(30, 110, 190)),
    ("rte_hash, 4 KiB", RGBColor(30, 110, 190)),
    ("c, 4 KiB", RGBColor(30, 110, 190)),
    ("wide, 4 KiB", RGBColor(120, 120, 120)),
    ("wide, 2 MiB", RGBColor(60, 60, 60)),
    ("exact, 4 KiB", RGBColor(225, 140, 40)),
    ("exact, 2 MiB", RGBColor(200, 40, 40)),
    ("subtables, 4 KiB", RGBColor(190, 150, 220)),
    ("subtables, 2 MiB", RGBColor(120, 60, 170)),
    ("front, 4 KiB", RGBColor(120, 200, 140)),
    ("front, 2 MiB", RGBColor(40, 150, 80)),
];
/// Pixels of a panel.
const PANEL: (u32, u32) = (460, 320);

/// Points of burst and cost of a packet, by gate or implementation.
type Lines<'r> = BTreeMap<&'r str, Vec<(f64, f64)>>;
type Error = Box<dyn std::error::Error>;

/// A diagram of its own.
#[derive(Default)]
struct Panel<'r> {
    title: String,
    lines: Lines<'r>,
    /// Equal distances are equal ratios.
    ratios: bool,
    /// What grows from left to right, up to where; packets in a call, up to 256, without it.
    across: Option<(&'r str, f64)>,
}

/// Draws the cost of a packet over burst size: a panel for each frame size, a line for each gate.
pub fn gates(path: &Path, rows: &[Row]) -> Result<()> {
    let counter = rows.first().map_or("ticks", |row| row.counter.as_str());
    let mut panels: BTreeMap<u16, Panel<'_>> = BTreeMap::new();
    for row in rows {
        let panel = panels.entry(row.frame).or_default();
        panel.title = format!("{counter} a packet, frames: {} B", frame_name(row.frame));
        panel.lines.entry(&row.gate).or_default().push((f64::from(row.burst), row.per_packet));
    }
    let columns = panels.len().clamp(1, 2);
    write(path, &panels.into_values().collect::<Vec<_>>(), columns)
}

/// Draws the cost of a packet over burst size, of rings: a panel for each frame size, number of processors and format,
/// a line for each implementation.
pub fn rings(path: &Path, rows: &[RingRow]) -> Result<()> {
    let mut formats: Vec<&str> = Vec::new();
    let mut panels: BTreeMap<(&str, u16, u16, usize), Panel<'_>> = BTreeMap::new();
    for row in rows {
        let place = formats.iter().position(|format| *format == row.ring).unwrap_or(formats.len());
        if place == formats.len() {
            formats.push(&row.ring);
        }
        let panel = panels.entry((&row.side, row.frame, row.cores, place)).or_default();
        let what = if row.side == "driver" { "receive" } else { "enqueue" };
        panel.title =
            format!("TSC ticks, {what}: {}, {} B, processors: {}", row.ring, frame_name(row.frame), row.cores);
        panel.ratios = true;
        panel.lines.entry(&row.r#impl).or_default().push((f64::from(row.burst), row.cycles_per_packet));
    }
    write(path, &panels.into_values().collect::<Vec<_>>(), formats.len().max(1))
}

/// Draws the cost of a packet in the flow cache over the number of flows: a panel for each work, one above the other,
/// a line for each implementation, table and size of pages, without anything beside it.
pub fn switch(path: &Path, rows: &[SwitchRow]) -> Result<()> {
    let names: Vec<String> = rows.iter().map(SwitchRow::line).collect();
    let most = rows.iter().map(|row| f64::from(row.flows)).fold(16.0, f64::max);
    let mut panels: BTreeMap<&str, Panel<'_>> = BTreeMap::new();
    let drawn = |(row, _): &(&SwitchRow, _)| row.pages.is_some() && row.setting.is_none();
    for (row, name) in rows.iter().zip(&names).filter(drawn) {
        let Some(ticks) = row.ticks_per_packet else { continue };
        let panel = panels.entry(&row.work).or_default();
        panel.title = format!("TSC ticks a packet: {}", row.work);
        (panel.ratios, panel.across) = (true, Some(("flows", most)));
        panel.lines.entry(name).or_default().push((f64::from(row.flows), ticks));
    }
    write(path, &panels.into_values().collect::<Vec<_>>(), 1)
}

fn write(path: &Path, panels: &[Panel<'_>], columns: usize) -> Result<()> {
    draw(path, panels, columns).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn draw(path: &Path, panels: &[Panel<'_>], columns: usize) -> Result<(), Error> {
    let lines = panels.len().div_ceil(columns).max(1);
    let area = SVGBackend::new(path, (PANEL.0 * columns as u32, PANEL.1 * lines as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    for (place, panel) in area.split_evenly((lines, columns)).iter().zip(panels) {
        draw_panel(place, panel)?;
    }
    area.present()?;
    Ok(())
}

fn draw_panel(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel<'_>) -> Result<(), Error> {
    let Panel { title, lines, ratios, across } = panel;
    let (what, right) = across.unwrap_or(("packets in a call", 256.0));
    let scale = |cost: f64| if *ratios { cost.max(1.0).log2() } else { cost };
    let most = lines.values().flatten().map(|(_, cost)| scale(*cost)).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(44)
        .build_cartesian_2d((1f64..right).log_scale().base(2.0), 0f64..most * 1.05)?;
    let whole = |value: &f64| format!("{value:.0}");
    let cost = |value: &f64| whole(&if *ratios { value.exp2() } else { *value });
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(what).x_label_formatter(&whole).y_label_formatter(&cost);
    mesh.light_line_style(TRANSPARENT).bold_line_style(BLACK.mix(0.12)).draw()?;
    for (compared, points) in lines {
        let colour = COLOURS.iter().find(|(name, _)| name == compared).map_or(BLACK, |(_, colour)| *colour);
        let line = points.iter().map(|&(burst, cost)| (burst, scale(cost)));
        chart
            .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))?
            .label(*compared)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(line.map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE)
        .draw()?;
    Ok(())
}
