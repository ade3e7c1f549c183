//! Open vSwitch with DPDK at the same work: frames come from DPDK's driver net_null and go to it, and a callback that
//! feeds them times all that lies between two bursts (rte_vhost/feeder.c). What testpmd takes, which passes packets on
//! without looking at them, is taken off each reading: net_null, the callback's call, and a loop.
//!
//! Reading order: [`feed`] (what is measured, and the file that says so), [`program`] (what is fed).

mod feed;
mod program;

use super::table::Table;
use super::{Options, name, row};
use crate::statistics::median;
use anyhow::{Context, Result, bail};
use feed::{Feed, Series};
use program::{Switch, Testpmd};
use sluice_report::switch::SwitchRow;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How the switch is configured: a name, the inverse probability with which its exact match cache takes a flow (0: it
/// takes none), and whether it has its signature match cache.
const SETTINGS: [(&str, u32, bool); 3] = [("default", 100, false), ("smc", 0, true), ("dpcls", 0, false)];
/// The tables that it is measured with, and numbers of flows up to which: it keeps 200,000 of its own entries.
const TABLES: [(Table, u32); 3] = [(Table::Wide, u32::MAX), (Table::Exact, 100_000), (Table::Subtables, 100_000)];
/// Fewest flows: with few, rows of all settings are alike.
const FLOWS: u32 = 1000;
/// Destination addresses of the frames. The switch matches what it overwrites, so for one entry there is one.
const DESTINATIONS: u32 = 32;
/// Fewest chunks that count; for them it may take four times as long.
const FEWEST: usize = 40;
/// Time for a switch to know all flows.
const PATIENCE: Duration = Duration::from_secs(90);
/// What is done to each frame, as in the flow cache.
const ACTIONS: &str = "dec_ttl,set_field:02:02:02:02:02:02->eth_dst,set_field:04:04:04:04:04:04->eth_src,output:2";
/// An action that changes nothing: the hash of a frame's addresses, protocol and ports is put where nobody reads it, so
/// the switch makes an entry for each flow.
const EACH_FLOW: &str = "multipath(symmetric_l4,0,modulo_n,1,0,NXM_NX_REG0[0..15]),";
/// What is done to each frame, in the words of the datapath, before the port's number.
const DATAPATH_ACTIONS: &str = "set(eth(src=04:04:04:04:04:04,dst=02:02:02:02:02:02)),set(ipv4(ttl=63)),";

/// Returns the rows of Open vSwitch; none if they are not asked for, or it can't be had, which a line says.
pub fn rows(options: &Options, processors: &[usize]) -> Vec<SwitchRow> {
    let (Some(library), true) = (&options.turns.rte_vhost, options.ovs) else { return Vec::new() };
    measured(options, library, processors).unwrap_or_else(|why| {
        eprintln!("No rows of Open vSwitch: {why:#}");
        Vec::new()
    })
}

/// Returns `row` with ratios to those of `theirs` that are about the same work of the same table.
pub fn compare(mut row: SwitchRow, theirs: &[SwitchRow]) -> SwitchRow {
    let table = row.table.as_deref().map(|table| if table == "front" { "subtables" } else { table });
    let same = |other: &&SwitchRow| other.work == row.work && other.flows == row.flows;
    let same = theirs.iter().filter(same).filter(|other| table.is_some() && other.table.as_deref() == table);
    let ticks =
        |other: &SwitchRow| Some((other.setting.clone()?, other.ticks_per_packet.filter(|ticks| *ticks > 0.0)?));
    let others: Vec<_> = same.filter_map(ticks).collect();
    let default = others.iter().find(|(setting, _)| setting == SETTINGS[0].0).map(|(_, ticks)| *ticks);
    let best = others.iter().map(|(_, ticks)| *ticks).reduce(f64::min);
    if let (Some(ours), None) = (row.ticks_per_packet, &row.setting) {
        let ratio = |name: &str, theirs: Option<f64>| Some((name.to_owned(), ours / theirs?));
        row.ratios.extend([ratio("ovs", default), ratio("ovs-best", best)].into_iter().flatten());
    }
    row
}

/// A row without figures, and what was measured.
type Measured = (SwitchRow, Series);

fn measured(options: &Options, library: &Path, processors: &[usize]) -> Result<Vec<SwitchRow>> {
    let &[commands, work, ..] = processors else { bail!("there is one processor here") };
    let enough = Duration::from_millis(300) * options.turns.seconds.max(1);
    let (passed_on, best) = pass_on(library, [commands, work], enough)?;
    let mut all = vec![passed_on];
    let folder = tempfile::tempdir()?;
    let mut feed = Feed::new(folder.path())?;
    feed.best = best;
    let switch = Switch::start(library, &feed, folder.path(), work)?;
    let mut bench = Bench { feed, switch, enough };
    for (table, most) in TABLES {
        let flows: Vec<u32> = options.flows.iter().copied().filter(|flows| (FLOWS..=most).contains(flows)).collect();
        if let Some(&largest) = flows.iter().max() {
            bench.make(table, largest).with_context(|| name(table))?;
        }
        for flows in flows {
            for setting in SETTINGS {
                let row = bench.measure(table, flows, setting);
                all.push(row.with_context(|| format!("{}, {flows} flows, {}", name(table), setting.0))?);
            }
        }
    }
    Ok(figures(all, bench.feed.best))
}

/// Measures what packets take that testpmd passes on. The second value is the best reading of the loop of fixed work.
fn pass_on(library: &Path, cpus: [usize; 2], enough: Duration) -> Result<(Measured, u64)> {
    let folder = tempfile::tempdir()?;
    let mut feed = Feed::new(folder.path())?;
    feed.give(FLOWS, DESTINATIONS)?;
    let _testpmd = Testpmd::start(library, &feed, folder.path(), cpus)?;
    let row = SwitchRow { work: "all".into(), ..row("testpmd", FLOWS) };
    let series = feed.measure(enough, FEWEST).context("testpmd")?;
    Ok(((row, series), feed.best))
}

/// Returns the rows with figures, of the chunks that count by the `best` reading of all. Those of the first row are
/// taken off all others.
fn figures(all: Vec<Measured>, best: u64) -> Vec<SwitchRow> {
    let mut off = None;
    let figures = |(row, series): Measured| {
        let quiet = series.quiet(best);
        let (quiet_chunks, ticks) = (quiet.len(), (!quiet.is_empty()).then(|| median(quiet)));
        let net = ticks.zip(off).map(|(ticks, off): (f64, Option<f64>)| off.map(|off| ticks - off));
        let ticks_per_packet = if off.is_none() { ticks } else { net.flatten() };
        off.get_or_insert(ticks);
        SwitchRow { ticks_per_packet, quiet_chunks, chunks: series.count(), ..row }
    };
    all.into_iter().map(figures).collect()
}

/// The switch, and what it is fed by.
struct Bench {
    feed: Feed,
    switch: Switch,
    enough: Duration,
}

impl Bench {
    /// Gives the switch the rules of `table`, and forgets all that it knew.
    fn make(&mut self, table: Table, flows: u32) -> Result<()> {
        let each = if table == Table::Exact { EACH_FLOW } else { "" };
        self.feed.give(0, 0)?;
        self.switch.openflow("del-flows", &[])?;
        self.switch.openflow("add-flow", &[&format!("in_port=1,ip,actions={each}{ACTIONS}")])?;
        self.switch.ask(&["dpctl/del-flows"])?;
        if table == Table::Subtables {
            let [from, to] = self.switch.ports()?;
            let entry = |number| {
                let actions = format!("{DATAPATH_ACTIONS}{to}");
                self.switch.ask(&["dpctl/add-flow", &one_of_sixteen(number, from), &actions])
            };
            (0..DESTINATIONS).try_for_each(|number| entry(number).map(drop))?;
        }
        self.feed.give(flows, if table == Table::Wide { 1 } else { DESTINATIONS })
    }

    /// Measures the switch with the rules that it has.
    fn measure(&mut self, table: Table, flows: u32, (setting, inverse, smc): (&str, u32, bool)) -> Result<Measured> {
        let (emc, smc) =
            (format!("other_config:emc-insert-inv-prob={inverse}"), format!("other_config:smc-enable={smc}"));
        self.switch.configure(&["set", "Open_vSwitch", ".", &emc, &smc])?;
        self.feed.give(flows, if table == Table::Wide { 1 } else { DESTINATIONS })?;
        self.warm_up()?;
        let series = self.feed.measure(self.enough, FEWEST)?;
        let misses = Some(self.misses()?);
        // Entries for each flow are under the masks that the switch chose.
        let masks = (table != Table::Exact).then(|| table.masks());
        let (table, setting) = (Some(name(table)), Some(setting.into()));
        let row = SwitchRow { work: "all".into(), table, setting, masks, misses, pages: Some(4), ..row("ovs", flows) };
        Ok((row, series))
    }

    /// Waits until the switch knows all flows: for a second it has missed none.
    fn warm_up(&self) -> Result<()> {
        let start = Instant::now();
        loop {
            self.switch.ask(&["dpif-netdev/pmd-stats-clear"])?;
            sleep(Duration::from_secs(1));
            if self.misses()? == 0 {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("packets still miss after {PATIENCE:?}");
            }
        }
    }

    fn misses(&self) -> Result<u64> {
        misses(&self.switch.ask(&["dpif-netdev/pmd-stats-show"])?).context("dpif-netdev/pmd-stats-show has no misses")
    }
}

/// Returns the packets that missed, by the text of dpif-netdev/pmd-stats-show: "  miss with success upcall: 32".
fn misses(text: &str) -> Option<u64> {
    let counts = text.lines().filter_map(|line| line.trim().strip_prefix("miss with ")?.rsplit_once(": "));
    counts.map(|(_, count)| count.split_whitespace().next()?.parse::<u64>().ok()).reduce(|a, b| Some(a? + b?))?
}

/// Returns the key and the mask of an entry that one of [`DESTINATIONS`] has, in the words of the datapath: one of 16
/// masks, each of which has another bit of what is 0 in all frames. All that the rule needs is in each, or the switch
/// would remove the entry.
fn one_of_sixteen(number: u32, port: u32) -> String {
    let bit = 1 << (number % 8);
    let field = if number % 16 < 8 { format!("tos=0/{bit:#x}") } else { format!("src=0.0.0.0/{bit}.0.0.0") };
    let (protocol, ports) = if number.is_multiple_of(2) { (6, "tcp") } else { (17, "udp") };
    format!(
        "recirc_id(0),in_port({port}),packet_type(ns=0,id=0),\
         eth(src=06:06:00:00:00:01,dst=02:00:00:00:00:{number:02x}),eth_type(0x0800),\
         ipv4({field},proto={protocol},ttl=64,frag=no),{ports}(src=0/0,dst=0/0)"
    )
}

#[cfg(test)]
mod tests;
