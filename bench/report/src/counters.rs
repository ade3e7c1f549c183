//! What hosts and VMs say of in-VM switches and service chains, while they run and at their end.
//!
//! Reading order: [`Counters`] (from lines to counters, and tables of them), `draw` (chains as text and as a picture).

mod draw;

use crate::RunHost;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::Serialize;
use std::collections::BTreeMap;

/// Counters by name.
type Named = BTreeMap<String, u64>;

/// The counters of a run, as its lines say.
#[derive(Clone, Debug)]
pub struct Counters {
    host: RunHost,
    switches: BTreeMap<String, Named>,
    /// By path, place on it, and VM. That is what the VMs say: two may claim one place.
    hops: BTreeMap<(Path, usize, String), Hop>,
}

/// Largest number of places of which counters are kept. A VM may say anything.
const MOST: usize = 4096;

/// One direction of one version of a chain.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Path {
    chain: String,
    version: u8,
    direction: String,
}

/// What a VM counted on a path.
#[derive(Clone, Debug, Serialize)]
struct Hop {
    /// Number of VMs on the path, both classifiers included.
    of: usize,
    packets: u64,
    bytes: u64,
    bypassed: u64,
    /// By cause.
    dropped: Named,
    #[serde(skip)]
    prints: Prints,
}

/// Times in seconds, and packets, of prints.
#[derive(Clone, Copy, Debug)]
struct Prints {
    /// The last before packets came.
    first: (f64, u64),
    /// The last that was shown before.
    before: (f64, u64),
    last: (f64, u64),
    /// The last that had more packets than the one before.
    grown: (f64, u64),
}

/// Counters of an in-VM switch that say why frames took the slow path.
const MISSES: [&str; 4] = ["missed", "lapsed", "torn", "refreshed"];
/// Those that say why frames were dropped.
const DROPS: [&str; 13] = [
    "full",
    "not_ready",
    "refused",
    "stale",
    "no_output",
    "expired",
    "unfit",
    "no_room",
    "hold_full",
    "slow_full",
    "slow_refused",
    "slow_bad",
    "again_lost",
];

impl Counters {
    /// Returns no counters, of a run on `host`.
    pub const fn new(host: RunHost) -> Self {
        Self { host, switches: BTreeMap::new(), hops: BTreeMap::new() }
    }

    /// Takes what a line of a console says that was printed `at` seconds after the start. Returns whether it says
    /// anything of counters.
    pub fn read(&mut self, line: &str, at: f64) -> bool {
        let Some((tag, text)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) else { return false };
        match text.strip_prefix("flows ").filter(|_| tag == self.host.tag) {
            Some(words) => self.switch(words).is_some(),
            None => self.hop(tag, text, at).is_some(),
        }
    }

    fn switch(&mut self, words: &str) -> Option<()> {
        let (name, words) = words.split_once(' ')?;
        let counts = words.split(' ').filter_map(|word| word.split_once('='));
        let counts = counts.filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
        self.switches.insert(name.to_owned(), counts.collect());
        Some(())
    }

    fn hop(&mut self, vm: &str, text: &str, at: f64) -> Option<()> {
        let (path, counts) = text.strip_prefix("chain ")?.split_once(": ")?;
        let (name, place) = path.split_once(" version ")?;
        let [version, direction, place] = place.split(", ").collect::<Vec<_>>().try_into().ok()?;
        let (place, of) = place.split_once(" of ")?;
        let (place, of, version) = (place.parse().ok()?, of.parse().ok()?, version.parse().ok()?);
        let (counts, causes) = counts.split_once(" dropped: ").unwrap_or((counts, ""));
        let count = |name: &str| counts.split(", ").find_map(|count| count.strip_suffix(name)?.trim().parse().ok());
        let causes = causes.split(", ").filter_map(|cause| cause.rsplit_once(' '));
        let dropped = causes.filter_map(|(cause, count)| Some((cause.to_owned(), count.parse().ok()?))).collect();
        let (packets, bytes, bypassed) = (count("packets")?, count("bytes")?, count("bypassed")?);
        let path = Path { chain: name.to_owned(), version, direction: direction.to_owned() };
        let (now, key) = ((at, packets), (path, place, vm.to_owned()));
        let known = self.hops.get(&key).map(|hop| hop.prints);
        if known.is_none() && self.hops.len() >= MOST {
            return None;
        }
        let prints = match known {
            Some(prints) if packets == prints.first.1 => Prints { first: now, last: now, grown: now, ..prints },
            Some(prints) if packets > prints.last.1 => Prints { last: now, grown: now, ..prints },
            Some(prints) if packets == prints.last.1 => Prints { last: now, ..prints },
            // A VM that started anew counts from 0.
            _ => Prints { first: now, before: now, last: now, grown: now },
        };
        self.hops.insert(key, Hop { of, packets, bytes, bypassed, dropped, prints });
        Some(())
    }

    /// Notes that the counters were shown: the next live rates are from here on.
    pub fn shown(&mut self) {
        self.hops.values_mut().for_each(|hop| hop.prints.before = hop.prints.last);
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.switches.is_empty() && self.hops.is_empty()
    }

    /// Returns the tables: of in-VM switches, and of the VMs of chains. Rates are those since [`Counters::shown`] if
    /// `live`, and else those of all the time in which packets came.
    pub fn tables(&self, live: bool) -> String {
        let mut tables = Vec::new();
        if !self.switches.is_empty() {
            tables.push(self.table_of_switches());
        }
        if !self.hops.is_empty() {
            tables.push(self.table_of_hops(live));
            tables.push(self.drawing(live));
        }
        tables.join("\n\n")
    }

    fn table_of_switches(&self) -> String {
        let (unit, per) = self.host.time;
        let mut table = Table::new();
        table.load_style(NOTHING);
        let times = ["age", "lease left"].map(|what| format!("{what}, {unit}"));
        let head = ["in-VM switch", "flows", "epoch", "done", &times[0], &times[1], "hits", "subtables/look-up"];
        table.set_header(head.iter().copied().chain(["packets", "bytes", "slow path", "dropped", "lies"]));
        for (name, counts) in &self.switches {
            let count = |name: &str| counts.get(name).copied().unwrap_or(0);
            let number = |name| count(name).to_string();
            let time = |name| (count(name) / per).to_string();
            let looked_up = count("hits").saturating_add(count("missed"));
            let depth = count("searched") as f64 / looked_up.max(1) as f64;
            table.add_row([
                name.clone(),
                number("entries"),
                number("epoch"),
                number("done"),
                time("age"),
                time("lease"),
                number("hits"),
                format!("{depth:.2}"),
                number("packets"),
                number("bytes"),
                named(MISSES.iter().map(|name| (*name, count(name)))),
                named(DROPS.iter().map(|name| (*name, count(name)))),
                number("lies"),
            ]);
        }
        align(&mut table, 1..10);
        table.to_string()
    }

    fn table_of_hops(&self, live: bool) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(["chain", "direction", "vm", "packets", "packets/s", "bytes", "bypassed", "dropped"]);
        for ((path, _, vm), hop) in &self.hops {
            table.add_row([
                format!("{} version {}", path.chain, path.version),
                path.direction.clone(),
                vm.clone(),
                hop.packets.to_string(),
                self.rate(hop, live).map_or_else(|| "-".into(), |rate| format!("{rate:.0}")),
                hop.bytes.to_string(),
                hop.bypassed.to_string(),
                named(hop.dropped.iter().map(|(cause, count)| (cause.as_str(), *count))),
            ]);
        }
        align(&mut table, 3..7);
        table.to_string()
    }

    /// Returns packets a second; nothing where there was one print only, or the host's time is not that of a clock.
    fn rate(&self, hop: &Hop, live: bool) -> Option<f64> {
        let Prints { first, before, last, grown } = hop.prints;
        let (from, to) = if live { (before, last) } else { (first, grown) };
        let passed = to.0 - from.0;
        (self.host.has_clock && passed > 0.0).then(|| (to.1 - from.1) as f64 / passed)
    }

    /// Returns the counters as JSON: `switches` and `hops`. See: docs/interfaces.md.
    pub fn json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct Row<'c> {
            #[serde(flatten)]
            path: &'c Path,
            place: usize,
            vm: &'c str,
            #[serde(flatten)]
            hop: &'c Hop,
            packets_per_second: Option<f64>,
        }
        let switches = self.switches.iter().map(|(vm, counts)| serde_json::json!({ "vm": vm, "counts": counts }));
        let hops = self.hops.iter().map(|((path, place, vm), hop)| {
            let packets_per_second = self.rate(hop, false);
            Row { path, place: *place, vm, hop, packets_per_second }
        });
        serde_json::json!({ "switches": switches.collect::<Vec<_>>(), "hops": hops.collect::<Vec<_>>() })
    }
}

/// Returns the counters that are not 0, in words.
fn named<'n>(counts: impl Iterator<Item = (&'n str, u64)>) -> String {
    let counts = counts.filter(|(_, count)| *count > 0);
    let words: Vec<_> = counts.map(|(name, count)| format!("{name} {count}")).collect();
    if words.is_empty() { "-".into() } else { words.join(", ") }
}

fn align(table: &mut Table, columns: std::ops::Range<usize>) {
    for number in columns {
        table.column_mut(number).into_iter().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const HOST: RunHost =
        RunHost { name: "here", tag: "launcher", time: ("ms", 1_000_000), has_clock: true };

    pub(super) fn read(lines: &[(&str, f64)]) -> Counters {
        let mut counters = Counters::new(HOST);
        lines.iter().for_each(|(line, at)| assert!(counters.read(line, *at), "{line}"));
        counters
    }

    const FIRST: &str = "[fw] chain web version 1, forward, 2 of 4: 100 packets, 6400 bytes, 0 bypassed, 0 dropped";
    const LAST: &str = "[fw] chain web version 1, forward, 2 of 4: 300 packets, 19200 bytes, 1 bypassed, \
                        3 dropped: no header 1, TTL 2";
    const FLOWS: &str = "[launcher] flows a entries=2 epoch=7 done=6 age=5000000 lease=9999999999 packets=90 \
                         bytes=5400 lies=0 hits=90 missed=10 torn=1 full=2 searched=150";

    #[test]
    fn the_last_line_of_each_counts() {
        let counters = read(&[(FIRST, 1.0), (FLOWS, 1.5), (LAST, 2.0)]);
        let tables = counters.tables(false);
        for words in
            ["web version 1", "300", "200", "19200", "TTL 2, no header 1", "missed 10, torn 1", "full 2", "1.50"]
        {
            assert!(tables.contains(words), "{words}: {tables}");
        }
        assert!(tables.contains("9999") && !tables.contains("99999"), "milliseconds: {tables}");
        let json = counters.json();
        assert_eq!((&json["hops"][0]["dropped"]["TTL"], &json["hops"][0]["chain"]), (&2.into(), &"web".into()));
        assert_eq!(json["hops"][0]["packets_per_second"], 200.0);
        assert_eq!((&json["switches"][0]["counts"]["epoch"], &json["switches"][0]["vm"]), (&7.into(), &"a".into()));
    }

    /// The time in which a VM was idle, before or after, and one that started anew, give no rate.
    #[test]
    fn a_rate_is_that_of_the_time_in_which_packets_came() {
        let rates = |lines: &[(&str, f64)]| {
            let counters = read(lines);
            let hop = counters.hops.values().next().expect("a hop");
            [true, false].map(|live| counters.rate(hop, live))
        };
        assert_eq!(rates(&[(FIRST, 1.0), (LAST, 2.0)]), [Some(200.0); 2]);
        assert_eq!(rates(&[(FIRST, 1.0), (FIRST, 9.0), (LAST, 10.0), (LAST, 99.0)])[1], Some(200.0));
        assert_eq!(rates(&[(FIRST, 1.0)]), [None; 2]);
        assert_eq!(rates(&[(LAST, 1.0), (FIRST, 2.0)]), [None; 2]);
        let mut counters = read(&[(FIRST, 1.0)]);
        counters.shown();
        assert!(counters.read(LAST, 1.5) && counters.read(LAST, 2.0));
        let live = |counters: &Counters| counters.rate(counters.hops.values().next().expect("a hop"), true);
        assert_eq!(live(&counters), Some(200.0), "since the last view");
        counters.shown();
        assert_eq!(live(&counters), None);
    }

    /// A VM may claim another's place, and any number of chains.
    #[test]
    fn what_one_vm_says_changes_nothing_of_another() {
        let mut counters = read(&[(FIRST, 1.0), (&LAST.replace("[fw]", "[evil]"), 2.0)]);
        assert_eq!(counters.json()["hops"].as_array().map(Vec::len), Some(2));
        for number in 0..2 * MOST {
            counters.read(&FIRST.replace("web", &format!("web{number}")), 3.0);
        }
        assert_eq!(counters.hops.len(), MOST);
        let most = u64::MAX;
        let flows = format!("[launcher] flows a hits={most} missed={most} lies=5 age={most}");
        assert!(counters.read(&flows, 1.0) && counters.tables(false).contains(&most.to_string()));
        let place = format!("[fw] chain c version 0, forward, 0 of {most}: {most} packets, {most} bytes, 0 bypassed");
        assert!(!counters.read(&place, 1.0), "no more places");
        let mut counters = Counters::new(HOST);
        assert!(counters.read(&place, 1.0) && counters.tables(true).len() < 4096);
    }

    #[test]
    fn each_counter_of_a_switch_that_is_a_miss_or_a_drop_has_its_column() {
        let others = ["hits", "held", "returned", "forwarded", "searched"];
        let shown: Vec<_> = MISSES.iter().chain(&DROPS).chain(&others).copied().collect();
        assert!(sluice_switch::SwitchStats::NAMES.iter().all(|name| shown.contains(name)));
        assert_eq!(shown.len(), sluice_switch::SwitchStats::NAMES.len());
    }

    #[test]
    fn what_says_nothing_of_counters_is_passed_over() {
        let mut counters = Counters::new(HOST);
        let others = [
            "[a] flows a entries=2",
            "[launcher] flows",
            "[launcher] switch a received=3",
            "[fw] chain web version 1, forward: 1 packets, 2 bytes, 3 bypassed, 0 dropped",
            "[fw] chain web version x, forward, 2 of 4: 1 packets, 2 bytes, 3 bypassed, 0 dropped",
            "[fw] chain web version 1, forward, 2 of 4: 1 packets, 2 bytes",
            "chain web version 1, forward, 2 of 4: 1 packets, 2 bytes, 3 bypassed, 0 dropped",
            "",
        ];
        assert!(!others.iter().any(|line| counters.read(line, 1.0)) && counters.is_empty());
    }
}
