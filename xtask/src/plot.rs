//! Rows as a picture: one panel for each frame size, one line for each gate.

use crate::Row;
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// A gate has its colour in every picture.
const COLOURS: [(&str, RGBColor); 4] = [
    ("isolated", RGBColor(200, 40, 40)),
    ("hypercall", RGBColor(60, 60, 60)),
    ("guarded", RGBColor(30, 110, 190)),
    ("direct", RGBColor(40, 150, 80)),
];
/// Pixels of a panel.
const PANEL: (u32, u32) = (460, 320);

/// Bursts and what a packet cost, by gate.
type Lines<'r> = BTreeMap<&'r str, Vec<(f64, f64)>>;
type Error = Box<dyn std::error::Error>;

/// Cost of a packet over burst size.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let mut panels: BTreeMap<u16, Lines<'_>> = BTreeMap::new();
    for row in rows {
        let line = panels.entry(row.frame).or_default().entry(&row.gate).or_default();
        line.push((f64::from(row.burst), row.per_packet));
    }
    let counter = rows.first().map_or("ticks", |row| row.counter.as_str());
    draw(path, counter, &panels).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn draw(path: &Path, counter: &str, panels: &BTreeMap<u16, Lines<'_>>) -> Result<(), Error> {
    let columns = panels.len().clamp(1, 2);
    let lines = panels.len().div_ceil(columns).max(1);
    let area = SVGBackend::new(path, (PANEL.0 * columns as u32, PANEL.1 * lines as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    for (place, (frame, lines)) in area.split_evenly((lines, columns)).iter().zip(panels) {
        panel(place, &format!("{counter} a packet, frames of {frame} B"), lines)?;
    }
    area.present()?;
    Ok(())
}

fn panel(area: &DrawingArea<SVGBackend<'_>, Shift>, title: &str, lines: &Lines<'_>) -> Result<(), Error> {
    let most = lines.values().flatten().map(|(_, cost)| *cost).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(44)
        .build_cartesian_2d((1f64..256f64).log_scale().base(2.0), 0f64..most * 1.05)?;
    let whole = |value: &f64| format!("{value:.0}");
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("packets in a call").x_label_formatter(&whole).y_label_formatter(&whole);
    mesh.light_line_style(TRANSPARENT).bold_line_style(BLACK.mix(0.12)).draw()?;
    for (gate, points) in lines {
        let colour = COLOURS.iter().find(|(name, _)| name == gate).map_or(BLACK, |(_, colour)| *colour);
        let line = points.iter().copied();
        chart
            .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))?
            .label(*gate)
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
