//! `cargo xtask peers`: our rings with DPDK's testpmd at the other end, in every combination.

use crate::progress::step;
use crate::tools;
use anyhow::{Result, bail};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use vhost_peers::{Combination, Format, Row, Side};

/// Which combinations, and how long each.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Packets for each combination
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    packets: u64,
    /// Only combinations whose names contain all of these words, with commas: device, driver, split, packed, mergeable,
    /// in-order, vectorized, 1024, "4 pairs"
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Print rows as one JSON array
    #[arg(long)]
    json: bool,
}

/// Runs them and prints a row for each.
pub fn run(options: &Options) -> Result<()> {
    tools::testpmd().map_err(anyhow::Error::msg)?;
    let wanted = |one: &Combination| {
        let name = one.to_string().to_lowercase();
        options.only.iter().all(|word| name.contains(&word.to_lowercase()))
    };
    let combinations: Vec<_> = Combination::all().into_iter().filter(wanted).collect();
    if combinations.is_empty() {
        bail!("no combination has all of {:?} in its name", options.only);
    }
    let total = combinations.len();
    let mut rows = Vec::new();
    for (done, combination) in (1..).zip(&combinations) {
        rows.push(step(&format!("{done} of {total}: {combination}"), || combination.run(options.packets))?);
    }
    println!("{}", if options.json { serde_json::to_string_pretty(&rows)? } else { table(&rows) });
    let unclean = rows.iter().filter(|row| !row.is_clean()).count();
    if unclean > 0 {
        bail!("{unclean} of {total} combinations lost, doubled, reordered or tore packets");
    }
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let head =
        "our side,ring,mergeable,in-order,vectorized,its Rx path,size,pairs,packets,lost,doubled,reordered,torn,s";
    table.set_header(head.split(','));
    for row in rows {
        let Combination { side, ring, mergeable, in_order, vectorized, queue_size, pairs } = row.combination;
        let yes = |on: bool| if on { "yes" } else { "-" }.to_owned();
        let names = [
            if side == Side::Device { "device" } else { "driver" }.to_owned(),
            if ring == Format::Split { "split" } else { "packed" }.to_owned(),
            yes(mergeable),
            yes(in_order),
            yes(vectorized),
            row.receive_path.clone().unwrap_or_else(|| "-".into()),
        ];
        let counts = [u64::from(queue_size), pairs.into(), row.packets, row.lost, row.doubled, row.reordered, row.torn];
        let counts = counts.map(|count| count.to_string());
        table.add_row(names.into_iter().chain(counts).chain([format!("{:.1}", row.seconds)]));
    }
    for column in table.column_iter_mut().skip(6) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}
