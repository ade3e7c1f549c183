//! What a packet costs in the flow cache (crate `fastpath/switch`), beside DPDK's `rte_hash` and Open vSwitch.
//!
//! Frames are TCP and UDP over IPv4, of flows that are drawn evenly; they are warm, as all of them were just written.
//! For each number of flows all that is compared takes turns ([`turns`]).
//!
//! Reading order: [`subject`], [`cache`] and [`hash`] (what is measured), [`rivals`]; [`ovs`] stands apart.

mod cache;
mod changes;
mod frames;
mod hash;
mod ovs;
mod rivals;
mod subject;
mod table;

use crate::quiet::Quiet;
use crate::turns;
use anyhow::{Context, Result};
use cache::{Cache, Missing};
use changes::Changing;
use frames::{Headers, Strangers};
use hash::RteHash;
use rivals::{Number, Rivals};
use serde::Serialize;
use sluice_report::switch::SwitchRow;
use std::collections::BTreeMap;
use subject::Work;
use table::Table;

/// Numbers of flows of the rows about parsing: one, whose frames are alike, and many, half of them TCP and half UDP.
const PARSED_FLOWS: [u32; 2] = [1, 1000];
/// Number of flows of the rows about changes, and of different headers that no entry wants.
const CHANGED_FLOWS: u32 = 1000;
const STRANGERS: u32 = 100_000;

/// Measures what a packet costs in the flow cache; prints rows of JSON, one a line.
#[derive(clap::Args)]
pub struct Options {
    /// Numbers of flows, 1 to 4,194,304, with commas
    #[arg(
        long,
        value_delimiter = ',', default_values_t = [10, 1_000, 64_000, 1_000_000],
        value_parser = clap::value_parser!(u32).range(1..=4_194_304)
    )]
    pub flows: Vec<u32>,
    #[command(flatten)]
    pub turns: turns::Options,
    /// Measure Open vSwitch, too; it takes the library
    #[arg(long)]
    pub ovs: bool,
}

/// Measures on the first of `processors`, where this thread is; each row goes to `print`.
///
/// # Errors
/// A look-up missed, a frame was not sent, or there is no memory.
pub fn run(options: &Options, processors: &[usize], mut print: impl FnMut(&SwitchRow) -> Result<()>) -> Result<()> {
    let mut quiet = Quiet::new()?;
    let theirs = ovs::rows(options, processors);
    theirs.iter().try_for_each(&mut print)?;
    let mut measure = |what: &str, rivals: &dyn Fn() -> Result<Rivals>| {
        let rows = rivals().and_then(|rivals| rivals.measure(&mut quiet, options.turns.seconds));
        let mut rows = rows.with_context(|| what.to_owned())?.into_iter();
        rows.try_for_each(|row| print(&ovs::compare(row, &theirs)))
    };
    measure("parsing", &parsing)?;
    measure("headers of no flow", &headers)?;
    measure("changes", &|| changes(processors))?;
    options.flows.iter().try_for_each(|&flows| measure(&format!("{flows} flows"), &|| look_ups(flows, options)))
}

/// Returns loading and parsing of frames with each kind of headers.
fn parsing() -> Result<Rivals> {
    let mut rivals = Rivals::default();
    for frame in [Headers::Ipv4, Headers::Vlan, Headers::Ipv6, Headers::Nsh] {
        for flows in PARSED_FLOWS {
            rivals.subject(Cache::new(Table::Wide, flows, false, frame)?);
            let row = SwitchRow { frame: name(frame), ..row("sluice", flows) };
            rivals.add(Work::Load, &row, &[]);
            rivals.add(Work::Parse, &row, &[]);
        }
    }
    Ok(rivals)
}

/// Returns one flow alone, and among frames that are of no flow; and the look-up of these.
fn headers() -> Result<Rivals> {
    let mut rivals = Rivals::default();
    let cache = |table| Cache::new(table, 1, false, Headers::Ipv4);
    for table in [Table::Wide, Table::Subtables, Table::Front] {
        let of = |setting: &str| SwitchRow { setting: Some(setting.into()), ..row_of(table, 1, 4) };
        rivals.subject(cache(table)?);
        let alone = rivals.add(Work::All, &of("alone"), &[]);
        // An entry for all flows is for these, too.
        if table != Table::Wide {
            rivals.subject(cache(table)?.among(Strangers::new(STRANGERS)));
            rivals.add(Work::All, &of("headers"), &[("alone", Some(alone))]);
            rivals.subject(Missing(cache(table)?.among(Strangers::new(STRANGERS))));
            rivals.add(Work::Lookup, &of("headers"), &[]);
        }
    }
    Ok(rivals)
}

/// Returns a reader whose table changes, and one whose table does not.
fn changes(processors: &[usize]) -> Result<Rivals> {
    let mut rivals = Rivals::default();
    let &[_, other, ..] = processors else {
        eprintln!("There is one processor here: no rows about changes.");
        return Ok(rivals);
    };
    let of = |setting: &str| SwitchRow { setting: Some(setting.into()), ..row_of(Table::Exact, CHANGED_FLOWS, 4) };
    rivals.subject(Cache::new(Table::Exact, CHANGED_FLOWS, false, Headers::Ipv4)?);
    let alone = [Work::Lookup, Work::All].map(|work| (work, rivals.add(work, &of("alone"), &[])));
    let (cache, host) = Cache::with_host(Table::Exact, CHANGED_FLOWS, false, Headers::Ipv4)?;
    rivals.subject(Changing::new(cache, host, CHANGED_FLOWS, other)?);
    for (work, alone) in alone {
        rivals.add(work, &of("changes"), &[("alone", Some(alone))]);
    }
    Ok(rivals)
}

/// Returns look-ups among `flows` flows, and all other work.
fn look_ups(flows: u32, options: &Options) -> Result<Rivals> {
    let mut rivals = Rivals::default();
    let [hash, c] = theirs(&mut rivals, flows, options);
    for table in Table::ALL {
        for (large, pages) in [(false, 4), (true, 2048)] {
            let cache = Cache::new(table, flows, large, Headers::Ipv4)?;
            let row = SwitchRow { large_share: Some(cache.large_share()?), ..row_of(table, flows, pages) };
            rivals.subject(cache);
            rivals.add(Work::Lookup, &row, &[("rte_hash", hash)]);
            rivals.add(Work::Act, &row, &[]);
            rivals.add(Work::Count, &row, &[]);
            rivals.add(Work::All, &row, &[("c", c)]);
            if !large && table.masks() == 1 {
                let bare = rivals.add(Work::Bare, &row, &[]);
                rivals.add(Work::Consistent, &row, &[("bare", Some(bare))]);
            }
        }
    }
    Ok(rivals)
}

/// Adds the look-up in `rte_hash` and the C program around it, if they can be had, and returns their numbers.
fn theirs(rivals: &mut Rivals, flows: u32, options: &Options) -> [Option<Number>; 2] {
    match options.turns.rte_vhost.as_ref().map(|file| RteHash::new(file, flows)) {
        Some(Ok(hash)) => {
            rivals.subject(hash);
            let row = |who| SwitchRow { pages: Some(4), large_share: Some(0.0), ..row(who, flows) };
            let hash = rivals.add(Work::Lookup, &row("rte_hash"), &[]);
            [Some(hash), Some(rivals.add(Work::All, &row("c"), &[]))]
        }
        Some(Err(why)) => {
            eprintln!("No rows of rte_hash: {why:#}");
            [None; 2]
        }
        None => [None; 2],
    }
}

/// Returns a row of the flow cache, without work and figures.
fn row_of(table: Table, flows: u32, pages: u16) -> SwitchRow {
    let (table, masks) = (Some(name(table)), Some(table.masks()));
    SwitchRow { table, masks, pages: Some(pages), ..row("sluice", flows) }
}

/// Returns a row without work and figures.
fn row(r#impl: &str, flows: u32) -> SwitchRow {
    SwitchRow {
        r#impl: r#impl.into(),
        work: String::new(),
        frame: name(Headers::Ipv4),
        flows,
        table: None,
        setting: None,
        masks: None,
        pages: None,
        large_share: None,
        ticks_per_packet: None,
        ratios: BTreeMap::new(),
        misses: None,
        changes: None,
        quiet_chunks: 0,
        chunks: 0,
    }
}

/// Returns the name of a variant without fields, as rows have it.
fn name(variant: impl Serialize) -> String {
    serde_json::to_value(variant).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests;
