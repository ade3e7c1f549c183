//! Who may use whom: crates, the folders of the monitor, and files of one folder.

use crate::uses::Crate;
use crate::{Source, none, root, sources};
use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};

/// Folders with packages, from the lowest layer to the highest. A package uses packages of its own layer and of those
/// before.
const CRATES: [&[&str]; 8] = [
    &["abi"],
    &["memory"],
    &["trampoline"],
    &["guest-driver"],
    &["fastpath"],
    &["host"],
    &["examples", "bench", "tests"],
    &["xtask"],
];
/// The monitor's sources.
const MONITOR: &str = "host/monitor/src";
/// Folders in which no files use each other in a circle.
const NO_CIRCLES: [&str; 4] = ["host/monitor/src", "xtask/src", "abi/src", "trampoline/inside/src"];

/// Returns the layer of `folder`.
fn layer(folder: &str) -> Option<usize> {
    let holds = |layer: &str| folder == layer || folder.strip_prefix(layer).is_some_and(|rest| rest.starts_with('/'));
    CRATES.iter().position(|layers| layers.iter().any(|layer| holds(layer)))
}

/// Returns the pairs of folders of packages of which the first may not use the second.
fn upward(pairs: &[(String, String)]) -> Vec<String> {
    let wrong = |(from, to): &&(String, String)| match (layer(from), layer(to)) {
        (Some(from), Some(to)) => from < to,
        _ => true,
    };
    pairs.iter().filter(wrong).map(|(from, to)| format!("{from} uses {to}")).collect()
}

/// Returns the folders of packages of this workspace of which the first depends on the second, not for tests alone.
fn dependencies() -> Vec<(String, String)> {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo metadata");
    let inside =
        |path: &cargo_metadata::camino::Utf8Path| Some(path.strip_prefix(&metadata.workspace_root).ok()?.to_string());
    let mut pairs = Vec::new();
    for package in &metadata.packages {
        let from = package.manifest_path.parent().and_then(inside).expect("a folder");
        let normal = package.dependencies.iter().filter(|it| it.kind != DependencyKind::Development);
        pairs.extend(normal.filter_map(|it| Some((from.clone(), inside(it.path.as_ref()?)?))));
    }
    pairs
}

/// Returns the layers in the table of host/README.md, from the highest to the lowest: names of modules.
fn monitor_layers(readme: &str) -> Vec<Vec<String>> {
    let rows = readme.lines().skip_while(|line| !line.starts_with("| layer |")).skip(2);
    let cell = |row: &str| row.split('|').nth(1).unwrap_or_default().to_owned();
    let names = |cell: String| {
        let quoted = cell.split('`').skip(1).step_by(2);
        quoted.map(|name| name.trim_end_matches('/').trim_end_matches(".rs").to_owned()).collect()
    };
    rows.take_while(|line| line.starts_with('|')).map(cell).map(names).collect()
}

/// Returns the pairs of files of which the first uses one of a layer above. The crate's root is above all.
fn upward_files(layers: &[Vec<String>], folder: &str, pairs: &BTreeSet<(&str, &str)>) -> Vec<String> {
    let layer = |path: &str| {
        let top = path.strip_prefix(folder)?.trim_start_matches('/').split(['/', '.']).next()?;
        layers
            .iter()
            .position(|names| names.iter().any(|name| name == top))
            .map(|at| at + 1)
            .or((top == "main").then_some(0))
    };
    let wrong = |(from, to): &&(&str, &str)| match (layer(from), layer(to)) {
        (Some(from), Some(to)) => to < from,
        _ => true,
    };
    pairs.iter().filter(wrong).map(|(from, to)| format!("{from} uses {to}")).collect()
}

/// Returns the groups of files that use each other in a circle, a line for each.
fn circles(pairs: &BTreeSet<(&str, &str)>) -> Vec<String> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    pairs.iter().for_each(|(from, to)| next.entry(from).or_default().push(to));
    let reached = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), next.get(from).cloned().unwrap_or_default());
        while let Some(file) = open.pop() {
            if seen.insert(file) {
                open.extend(next.get(file).into_iter().flatten());
            }
        }
        seen
    };
    let all: BTreeMap<_, _> = next.keys().map(|file| (*file, reached(file))).collect();
    let group = |file: &&str| -> Vec<&str> {
        let other = |other: &&&str| all.get(**other).is_some_and(|seen| seen.contains(file));
        all[file].iter().filter(other).copied().collect()
    };
    let groups: BTreeSet<_> = all.keys().map(group).filter(|group| group.len() > 1).collect();
    groups.into_iter().map(|group| group.join(", ")).collect()
}

#[test]
fn crates_use_only_layers_below() {
    let pairs = dependencies();
    assert!(pairs.len() > 40, "{pairs:?}");
    none("crates", &upward(&pairs));
}

#[test]
fn the_monitors_folders_use_only_layers_below() {
    let readme = &sources("host", &["md"])[0];
    let layers = monitor_layers(&readme.text);
    assert_eq!(layers.len(), 4, "{layers:?}");
    let sources = sources(MONITOR, &["rs"]);
    let monitor = Crate::read(MONITOR, &sources);
    none("the monitor's layers", &upward_files(&layers, MONITOR, &monitor.pairs()));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let of = |folder: &&str| circles(&Crate::read(folder, &sources(folder, &["rs"])).pairs());
    none("circles", &NO_CIRCLES.iter().flat_map(of).collect::<Vec<_>>());
}

/// The files of `sources` whose code has the name `flows`, of the module of [`sluice-abi`] with the layout of tables.
fn with_tables(sources: &[Source]) -> Vec<String> {
    let words = |source: &Source| source.text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|it| it == "flows");
    sources.iter().filter(|source| words(source)).map(|source| source.path.clone()).collect()
}

/// Windows do not depend on flow tables: entries are advice, windows are rights.
#[test]
fn consistency_c9_no_code_of_gate_or_window_reads_a_flow_table() {
    let sources = sources("trampoline", &["rs", "S", "toml"]);
    assert!(sources.len() > 40);
    none("code of gate or window that names flow tables", &with_tables(&sources));
    let bad = Source::sample("trampoline/inside/src/a.rs", "use sluice_abi::flows::Header;");
    assert_eq!(with_tables(&[bad]).len(), 1);
}

#[test]
fn a_crate_that_uses_one_above_is_found() {
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let good = [pair("memory", "abi"), pair("bench/latency", "bench/clock"), pair("xtask", "tests/mutations/runner")];
    assert_eq!(upward(&good), [""; 0]);
    let bad = [pair("abi", "memory"), pair("fastpath/vnf", "host/control"), pair("abi", "nowhere")];
    assert_eq!(upward(&bad).len(), 3);
}

#[test]
fn a_file_of_the_monitor_that_uses_a_layer_above_is_found() {
    let layers =
        monitor_layers("text\n| layer | what |\n|---|---|\n| `start.rs`, `load.rs` | a |\n| `vm/` | b |\n\n| x |\n");
    assert_eq!(layers, [vec!["start", "load"], vec!["vm"]]);
    let sources = [
        Source::sample("m/src/main.rs", "mod start; mod vm; fn main() { start::start(); }"),
        Source::sample("m/src/start.rs", "use crate::vm::Vm; pub fn start() {}"),
        Source::sample("m/src/vm/mod.rs", "mod a; pub struct Vm;"),
        Source::sample("m/src/vm/a.rs", "use crate::start;"),
    ];
    let found = upward_files(&layers, "m/src", &Crate::read("m/src", &sources).pairs());
    assert_eq!(found, ["m/src/vm/a.rs uses m/src/start.rs"]);
}

#[test]
fn a_circle_of_files_is_found() {
    let pairs = BTreeSet::from([("a", "b"), ("b", "c"), ("c", "b"), ("c", "d"), ("e", "a")]);
    assert_eq!(circles(&pairs), ["b, c"]);
    assert_eq!(circles(&BTreeSet::from([("a", "b"), ("b", "d"), ("a", "d")])), [""; 0]);
}
