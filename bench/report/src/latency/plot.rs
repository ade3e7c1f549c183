//! Histograms as a picture: a panel for each load.

use super::rows::Expiries;
use super::text::bins;
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// Pixels of a panel.
const PANEL: (u32, u32) = (460, 280);
/// Bars of a panel, at most.
const BARS: u64 = 60;

type Error = Box<dyn std::error::Error>;

/// Draws `rows` to `path`.
pub fn draw(path: &Path, rows: &[Expiries]) -> Result<()> {
    panels(path, rows).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn panels(path: &Path, rows: &[Expiries]) -> Result<(), Error> {
    let (columns, lines) = (rows.len().clamp(1, 2), rows.len().div_ceil(2).max(1));
    let area = SVGBackend::new(path, (PANEL.0 * columns as u32, PANEL.1 * lines as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    for (place, row) in area.split_evenly((lines, columns)).iter().zip(rows) {
        panel(place, row)?;
    }
    area.present()?;
    Ok(())
}

fn panel(area: &DrawingArea<SVGBackend<'_>, Shift>, row: &Expiries) -> Result<(), Error> {
    let bars = bins(row, BARS);
    let width = bars.get(1).map_or(1, |(floor, _)| floor - row.min);
    let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let right = row.bound.unwrap_or(0).max(row.max) * 21 / 20 + width;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{}: {} to {} {}", row.load, row.min, row.max, row.unit), ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(44)
        .build_cartesian_2d(0..right, 0..most * 21 / 20 + 1)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("from expiry to handler").y_desc("expiries").x_labels(6).y_labels(6);
    mesh.light_line_style(TRANSPARENT).bold_line_style(BLACK.mix(0.12)).draw()?;
    let bar = |(floor, count): (u64, u64)| {
        Rectangle::new([(floor, 0), (floor + width, count)], RGBColor(30, 110, 190).filled())
    };
    chart.draw_series(bars.into_iter().map(bar))?;
    if let Some(bound) = row.bound {
        let line = [(bound, 0), (bound, most)];
        chart.draw_series([PathElement::new(line, RGBColor(200, 40, 40).stroke_width(2))])?;
    }
    Ok(())
}
