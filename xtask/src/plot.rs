//! Rows as a picture.

use crate::Row;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Cost of a packet over burst size, one line per gate and frame size.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let mut lines: BTreeMap<(&str, u16), Vec<(f64, f64)>> = BTreeMap::new();
    for row in rows {
        lines.entry((&row.gate, row.frame)).or_default().push((f64::from(row.burst), row.per_packet));
    }
    let counter = rows.first().map_or("ticks", |row| row.counter.as_str());
    let most = rows.iter().map(|row| row.per_packet).fold(1.0, f64::max);
    draw(path, counter, most, &lines).map_err(|error| anyhow!("{}: {error}", path.display()))
}

type Error = Box<dyn std::error::Error>;

fn draw(path: &Path, counter: &str, most: f64, lines: &BTreeMap<(&str, u16), Vec<(f64, f64)>>) -> Result<(), Error> {
    let area = SVGBackend::new(path, (900, 560)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Cost of a packet", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((1f64..256f64).log_scale().base(2.0), 0f64..most * 1.05)?;
    chart.configure_mesh().x_desc("packets in a call").y_desc(format!("{counter} per packet")).draw()?;
    for (number, ((gate, frame), points)) in lines.iter().enumerate() {
        let colour = Palette99::pick(number).to_rgba();
        let label = format!("{gate}, {frame} B");
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    area.present()?;
    Ok(())
}
