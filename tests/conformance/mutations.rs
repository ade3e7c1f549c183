//! Whether tests/mutations fits the sources, and whether each test that matters has a mutation that it finds.

use crate::clauses::{CASES, CLAUSES};
use crate::{named, root, rules, sources, tests_in};
use sluice_mutations::{Mutation, Suite};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Files, and folders, of tests with a hostile other side, or of what keeps one away.
const HOSTILE: [&str; 7] = [
    "trampoline/inside/tests/hostile",
    "trampoline/inside/tests/hostile_formats",
    "trampoline/gate/tests/pages.rs",
    "host/monitor/src/vm/view/tests",
    "host/monitor/src/vmx/vmcs/tests.rs",
    "guest-driver/src/queue/tests/hostile.rs",
    "host/vhost-user/tests/hostile",
];

/// Tests in them with nothing of ours to break: what can be mapped is the kernel's to say.
const NOT_OURS: [&str; 1] = ["memory_of_the_wrong_kind_ends_the_session"];

/// What rules of the "Vhost-user Protocol" begin with: names of messages, and titles of sections.
const VHOST_USER: [&str; 5] = ["SET_", "GET_", "SEND_", "Header", "Ancillary data"];

/// How tests begin that show what goes wrong in a model, and have twins that show what does not.
const MODELS: [&str; 1] = ["without_fences_"];

/// Rules of other standards, and standards, that the examples keep, and who does offloads in software.
const STANDARDS: [&str; 9] = [
    "RFC 1812, section 5.3.1",
    "RFC 1624, equation 3",
    "IEEE 802.1Q, clause 9.6",
    "RFC 768",
    "RFC 791",
    "RFC 1071",
    "RFC 8200",
    "RFC 8300",
    "RFC 9293",
];

/// What examples/firewall promises.
const FIREWALL: [&str; 2] = ["fragments other than the first have no ports", "the first rule that matches decides"];

/// What fastpath/switch promises.
const SWITCH: [&str; 9] = [
    "a key has no header that the bytes do not prove",
    "a hit is an entry that matches in its epoch",
    "a table holds as many flows as it has entries",
    "a list of actions is checked once",
    "no burst uses what a change removed, once the change is done",
    "a report word is an issued epoch, or counts as none",
    "who does not report in time is named",
    "silence of the host ends all hits",
    "the counts of a flow are its own, and never run backwards",
];

/// What in-VM switches and their host promise.
const IN_VM_SWITCH: [&str; 8] = [
    "who does not report loses its windows, and costs the host no time",
    "a flow is never wider than what its full switch says",
    "frames of a flow leave in order, by whichever way",
    "flows that are not used make room",
    "no peer keeps others' frames from going",
    "what comes by the slow path is checked",
    "a station is where it was seen last",
    "what is wrong in a file with flows is named with its line",
];

/// What host/openvswitch promises.
const OPENVSWITCH: [&str; 13] = [
    "a flow in a table is never wider than in Open vSwitch",
    "a list does what Open vSwitch does",
    "what is not understood of Open vSwitch's texts is refused",
    "what Open vSwitch takes of time and memory has a bound",
    "a bridge is read whatever else it has",
    "each change of a flow is told once",
    "no half frame goes to or comes from Open vSwitch",
    "Open vSwitch gets whole frames",
    "a fence token is behind all frames before it",
    "tokens have their rules, whoever takes them away",
    "a table and Open vSwitch together do and count what Open vSwitch alone does",
    "no flow and no address expires that Open vSwitch alone would keep",
    "while Open vSwitch is away flows go on for the lease, and what is lost is counted",
];

/// What fastpath/chain and examples/chain promise.
const CHAIN: [&str; 10] = [
    "a hop that has frames causes no exit",
    "VMs that send to each other do not wait for each other",
    "a packet finds one version of its chain at all hops",
    "a hop that is away is passed by, or drops, as its policy says",
    "an error of a chain file names line and key",
    "a classifier's rule matches what it names",
    "a table of a VNF is bounded",
    "a port of a translator is one source's",
    "a flow keeps its server",
    "a connection begins in the forward direction",
];

/// What fastpath/channel promises.
const CHANNEL: [&str; 4] = [
    "a record arrives as it was written, or not at all",
    "what a reader gets and what it is told that it lost is everything",
    "what a writer says is checked",
    "readers see where another writer's data begins",
];

/// What tests/packages asks of the crates that are published.
const PACKAGES: &str = "what is published is whole, and says what it is";

/// What tests/house and xtask/tests/check.rs ask of the sources.
const CHECK: &str = "what `cargo xtask check` asks of the sources";

/// What docs/interfaces.md promises of the server, of processes and their windows, and of channels.
const SERVER: [&str; 19] = [
    "a session that errs is closed, and no other",
    "a reload changes all or nothing",
    "sockets are their owner's",
    "the log stops nobody, and no VM fills it",
    "a server that is taken over has no more than it needs",
    "what systemd hands over is served and stays, and it is told the truth",
    "what is taken is forwarded or counted, and nothing is left behind",
    "what is installed says what it is",
    "nothing is taken from a window before its last call has ended",
    "a queue is gone on with where the last window left it",
    "no process keeps a peer from going",
    "a window is on what its process has mapped, and the server can follow",
    "a channel has one writer at a time, and readers that write nothing",
    "who has a channel holds nobody",
    "what a channel's file holds is gone on with, if it is a channel",
    "what the server says and hands over is checked",
    "what is wrong in a policy is named with its line",
    "one producer at a time fills a queue",
    "a program in a VM is shown what its VM has, and its VM is not ended",
];

/// What docs/interfaces.md and docs/operations.md promise of taps.
const TAPS: [&str; 5] = [
    "a tap is a port like another",
    "a port to a network has no address of its own",
    "a tap that is lost is closed, and opened again",
    "a tap says what its host and its device lack",
    "what is left to a kernel is what it takes",
];

/// What README.md, docs/interfaces.md, and the `--help` of launcher and xtask, promise beyond rules, clauses and cases.
const PROMISES: [&str; 8] = [
    "what is counted is shown while a run goes on",
    "accepted means delivered",
    "a state says what can be sent",
    "what a run started ends with it",
    "the last line and the exit code say how a run ended",
    "a capture arrives byte for byte",
    "artifacts are where cargo puts them",
    "a host runs as many VMs as a directory has peers",
];

fn suites() -> Vec<Suite> {
    Suite::all(&root()).expect("tables that can be read")
}

/// The tests in `source`, a file or a folder, without their modules.
fn tests_of(source: &Path) -> BTreeSet<String> {
    let (path, mut files, mut tests) = (root().join(source), Vec::new(), BTreeSet::new());
    if path.is_dir() {
        sources(&path, &mut files)
    } else {
        files.push(path)
    }
    files.iter().for_each(|file| tests_in(file, &mut tests));
    tests
}

fn is_rule(rule: &str) -> bool {
    rules::is_known(rule)
        || rule.strip_prefix("VIRTIO ").is_some_and(|clause| CLAUSES.iter().any(|(known, _)| *known == clause))
        || rule.strip_prefix("vhost-user ").is_some_and(|rule| VHOST_USER.iter().any(|begin| rule.starts_with(begin)))
        || CASES.contains(&rule)
        || STANDARDS.contains(&rule)
        || FIREWALL.contains(&rule)
        || SWITCH.contains(&rule)
        || IN_VM_SWITCH.contains(&rule)
        || OPENVSWITCH.contains(&rule)
        || CHAIN.contains(&rule)
        || SERVER.contains(&rule)
        || TAPS.contains(&rule)
        || CHANNEL.contains(&rule)
        || PROMISES.contains(&rule)
        || [PACKAGES, CHECK].contains(&rule)
}

/// All mutations, each with its suite.
fn all(suites: &[Suite]) -> impl Iterator<Item = (&Suite, &Mutation)> {
    suites.iter().flat_map(|suite| suite.mutations.iter().map(move |mutation| (suite, mutation)))
}

#[test]
fn what_a_mutation_replaces_is_in_its_file_once() {
    for (suite, mutation) in all(&suites()) {
        let text = fs::read_to_string(root().join(&mutation.file)).expect("a source file");
        let edited = mutation.apply(&text).unwrap_or_else(|why| panic!("{} {}: {why}", suite.target, mutation.name));
        assert_ne!(edited, text, "{}", mutation.name);
    }
}

#[test]
fn the_tests_that_a_mutation_names_are_where_it_says() {
    for suite in suites() {
        let tests = tests_of(&suite.source);
        for test in suite.tests() {
            let name = test.rsplit("::").next().unwrap_or(test);
            assert!(tests.contains(name), "no test {test} in {}", suite.source.display());
        }
    }
}

#[test]
fn each_mutation_has_a_name_of_its_own_a_rule_and_a_test() {
    let (suites, mut seen) = (suites(), BTreeSet::new());
    for (_, mutation) in all(&suites) {
        assert!(seen.insert(&mutation.name), "twice: {}", mutation.name);
        assert!(is_rule(&mutation.rule), "{}: no rule {:?}", mutation.name, mutation.rule);
        assert!(!mutation.killed_by.is_empty(), "{}", mutation.name);
    }
    assert!(seen.len() > 200);
}

#[test]
fn each_rule_of_the_threat_model_has_a_mutation_that_breaks_it() {
    let suites = suites();
    let broken: BTreeSet<_> = all(&suites).map(|(_, mutation)| mutation.rule.as_str()).collect();
    let kept: Vec<_> = rules::rules().into_iter().filter(|rule| !broken.contains(rule.as_str())).collect();
    assert!(kept.is_empty(), "no mutation breaks these: {kept:?}");
}

/// A test that no mutation turns red may be one that can't fail.
#[test]
fn every_test_with_a_hostile_other_side_or_of_a_clause_finds_a_mutation() {
    let suites = suites();
    let finds: BTreeSet<_> = suites.iter().flat_map(Suite::tests).filter_map(|test| test.rsplit("::").next()).collect();
    let mut tests = named();
    tests.extend(HOSTILE.iter().flat_map(|file| tests_of(Path::new(file))));
    tests.retain(|test| !finds.contains(test.as_str()) && !MODELS.iter().any(|model| test.starts_with(model)));
    let idle: Vec<_> = tests.iter().filter(|test| !NOT_OURS.contains(&test.as_str())).collect();
    assert!(idle.is_empty(), "no mutation turns these red: {idle:#?}");
}
