//! The examples on captures, compared frame by frame with independent tools: Linux's routing, nftables on Linux's
//! bridge, tcprewrite, scapy.

use crate::{embedded, example, in_bochs, passed};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use tempfile::TempDir;
use xtask::{Report, Scenario, artifacts, tools};

/// Returns the folder with the captures that oracle/frames.py writes.
static CAPTURES: LazyLock<TempDir> = LazyLock::new(|| {
    tools::oracles().expect("the tools that say what is right");
    let folder = tempfile::tempdir().expect("a folder");
    run(oracle("frames.py").arg(folder.path()));
    folder
});

pub(crate) fn oracle(name: &str) -> Command {
    Command::new(artifacts::root().join("tests/system/oracle").join(name))
}

#[track_caller]
pub(crate) fn run(command: &mut Command) {
    let output = command.output().expect("a program");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the capture `name` of those that oracle/frames.py writes.
pub(crate) fn capture(name: &str) -> Vec<u8> {
    fs::read(CAPTURES.path().join(name).with_extension("pcap")).expect("a capture")
}

/// Returns the frames of a little-endian capture file.
pub(crate) fn frames(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = file.get(24..).expect("a file header");
    let mut frames = Vec::new();
    while let Some((header, data)) = rest.split_at_checked(16).filter(|(header, _)| header.len() == 16) {
        let len = u32::from_le_bytes(header[8..12].try_into().expect("four bytes")) as usize;
        frames.push(&data[..len]);
        rest = &data[len..];
    }
    assert_eq!(rest.len(), 0, "half a record");
    frames
}

/// Returns the example `name`, whose sender replays `input`.
pub(crate) fn replaying(name: &str, input: Vec<u8>) -> Scenario {
    let mut scenario = example(name);
    let module = scenario.modules.iter_mut().find(|(module, _)| module == "mixed.pcap").expect("a capture");
    module.1 = input;
    scenario
}

/// Asserts that the file `name` of `report` has exactly the frames of `expected`.
#[track_caller]
fn same(report: &Report, name: &str, expected: &[u8]) {
    passed(report);
    let file = report.files.get(name).unwrap_or_else(|| panic!("{name}: {:?}", report.files.keys()));
    let (found, expected) = (frames(file), frames(expected));
    assert!(!expected.is_empty());
    let differing = found.iter().zip(&expected).position(|(found, expected)| found != expected);
    if let Some(at) = differing {
        panic!("{name}, frame {at}:\n{:02x?}, want\n{:02x?}", found[at], expected[at]);
    }
    assert_eq!(found.len(), expected.len(), "{name}: {:#?}", report.lines);
}

#[track_caller]
pub(crate) fn says(report: &Report, text: &str) {
    assert!(report.lines.iter().any(|line| line.contains(text)), "want {text:?}: {:#?}", report.lines);
}

// ---- router: Linux

/// Returns what Linux sends to b and to c.
static ROUTED: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let input = CAPTURES.path().join("routed.pcap");
    let routes = artifacts::root().join("examples/captures/routes.txt");
    run(oracle("linux.sh").arg("router").arg(input).arg(folder.path()).arg(routes));
    ["b.pcap", "c.pcap"].map(|name| fs::read(folder.path().join(name)).expect("a capture"))
});

#[track_caller]
fn routes_as_linux_does(runs: impl Fn(&Scenario) -> Report) {
    let report = runs(&replaying("router", capture("routed")));
    same(&report, "received-b.pcap", &ROUTED[0]);
    same(&report, "received-c.pcap", &ROUTED[1]);
    let dropped = r#""bad checksum": 2, "bad header": 6, "bad length": 4, "expired": 4, "martian": 13, "no route": "#;
    says(&report, dropped);
    says(&report, r#""not IP": 8, "other address": 4}, queue full: 0"#);
}

#[test]
fn the_router_forwards_what_linux_forwards() {
    routes_as_linux_does(embedded);
}

#[test]
fn the_router_forwards_what_linux_forwards_in_bochs() {
    routes_as_linux_does(in_bochs);
}

// ---- firewall: nftables

/// Returns what a Linux bridge with oracle/rules.nft lets pass.
static PASSED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, rules) = (CAPTURES.path().join("packets.pcap"), Path::new("tests/system/oracle/rules.nft"));
    let rules = artifacts::root().join(rules);
    run(oracle("linux.sh").arg("firewall").arg(input).arg(folder.path()).arg(rules));
    fs::read(folder.path().join("b.pcap")).expect("a capture")
});

#[test]
fn the_firewall_passes_what_nftables_passes() {
    same(&embedded(&replaying("firewall", capture("packets"))), "received.pcap", &PASSED);
}

#[test]
fn the_firewall_passes_what_nftables_passes_in_bochs() {
    same(&in_bochs(&replaying("firewall", capture("packets"))), "received.pcap", &PASSED);
}

/// Of two rules that match, the first decides. Rules may be arguments.
#[test]
fn the_firewall_takes_rules_as_arguments() {
    let input = capture("packets");
    let with = |rules: &str| replaying("firewall", input.clone()).args("firewall", rules).expect("a manifest");
    same(&embedded(&with("b allow; deny")), "received.pcap", &input);
    let last_only = embedded(&with(
        "b deny udp; deny icmp; allow tcp any any 192.0.2.77 80; deny tcp; deny any 0.0.0.0/0; deny any ::/0",
    ));
    passed(&last_only);
    let file = &last_only.files["received.pcap"];
    assert!(
        frames(file).iter().all(|frame| frame[23] == 6 && frame[30..34] == [192, 0, 2, 77]) && frames(file).len() >= 3
    );
}

#[test]
fn a_wrong_rule_is_named_with_its_line() {
    for (rules, error) in [
        ("# nothing\n\nalow tcp\n", r#"rules.txt, line 3: "alow": want allow or deny"#),
        ("allow ipv4", r#"rules.txt, line 1: "ipv4": want a protocol, or any"#),
        (
            "allow\ndeny tcp 10.0.0.1/8",
            r#"rules.txt, line 2: "10.0.0.1/8": want an address or a prefix without bits behind it, or any"#,
        ),
        ("allow tcp any 90-80", r#"rules.txt, line 1: "90-80": want a port or a range of ports, or any"#),
        ("allow tcp any 65536", r#"rules.txt, line 1: "65536": want a port or a range of ports, or any"#),
        ("allow tcp any any any any log", r#"rules.txt, line 1: "log": want the end of the rule"#),
    ] {
        let mut scenario = replaying("firewall", capture("packets"));
        scenario.modules.iter_mut().find(|(name, _)| name == "rules.txt").expect("rules").1 = rules.into();
        says(&embedded(&scenario), &format!("error: {error}"));
    }
}

#[test]
fn a_wrong_route_is_named_with_its_line() {
    for (routes, error) in [
        ("10.0.0.0/8 02:00:00:00:0b:01", "routes.txt, line 1: want PREFIX MAC PEER"),
        ("\n10.0.0.0/8 02:00:00:00:0b b", r#"routes.txt, line 2: "02:00:00:00:0b": want an Ethernet address"#),
        ("10.0.0.0/8 02:00:00:00:0b:01 d", r#"routes.txt, line 1: peer "d": not in the window directory"#),
        ("::1/128 02:00:00:00:0b:01 b", "routes.txt, line 1: ::1/128: there is a route before"),
        ("10.0.0.0/33 02:00:00:00:0b:01 b", r#"routes.txt, line 1: "10.0.0.0/33": "#),
    ] {
        let mut scenario = replaying("router", capture("packets"));
        scenario.modules.iter_mut().find(|(name, _)| name == "routes.txt").expect("routes").1 = routes.into();
        says(&embedded(&scenario), &format!("error: {error}"));
    }
}

// ---- vlan: tcprewrite and scapy

/// Returns what tcprewrite makes of `input` with `options`.
fn tcprewrite(input: &[u8], options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let [from, to] = ["in.pcap", "out.pcap"].map(|name| folder.path().join(name));
    fs::write(&from, input).expect("a file");
    run(Command::new("tcprewrite").args(options).arg("-i").arg(from).arg("-o").arg(&to));
    fs::read(to).expect("a capture")
}

fn vlan(work: &str, input: Vec<u8>) -> Scenario {
    replaying("vlan", input).args("vlan", work).expect("a manifest")
}

const PUSH: [&str; 4] = ["--enet-vlan=add", "--enet-vlan-tag=10", "--enet-vlan-cfi=0", "--enet-vlan-pri=5"];

#[test]
fn a_tag_is_pushed_and_popped_as_tcprewrite_does() {
    let untagged = capture("ipv4");
    let tagged = tcprewrite(&untagged, &PUSH);
    same(&embedded(&vlan("b push 10 5", untagged)), "received.pcap", &tagged);
    let popped = tcprewrite(&tagged, &["--enet-vlan=del"]);
    same(&embedded(&vlan("b pop", tagged)), "received.pcap", &popped);
}

#[test]
fn a_tag_is_pushed_as_tcprewrite_does_in_bochs() {
    let untagged = capture("ipv4");
    let tagged = tcprewrite(&untagged, &PUSH);
    same(&in_bochs(&vlan("b push 10 5", untagged)), "received.pcap", &tagged);
}

/// Returns tagged, short, damaged and other frames.
#[test]
fn a_tag_is_pushed_onto_any_frame_and_popped_as_scapy_does() {
    same(&embedded(&vlan("b push 10 5", capture("packets"))), "received.pcap", &capture("pushed"));
    let report = embedded(&vlan("b pop", capture("packets")));
    same(&report, "received.pcap", &capture("popped"));
    says(&report, "changed: 6, untagged: 229, too_short: 0");
}

/// Writes a file of `frames`.
fn file(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = capture("packets")[..24].to_vec();
    for frame in frames {
        let len = (frame.len() as u32).to_le_bytes();
        file.extend([[0; 4], [0; 4], len, len].as_flattened());
        file.extend(frame);
    }
    file
}

#[test]
fn a_frame_that_can_have_no_tag_more_is_counted() {
    let frame = |len: usize, tags: usize| {
        let mut frame = vec![2; 12];
        (0..tags).for_each(|_| frame.extend([0x81, 0, 0, 1]));
        frame.extend([8, 0]);
        frame.resize(len, 7);
        frame
    };
    let last = frame(60, 0);
    // The last three frames are as long as the peer takes, with 0, 1 and 2 tags. A third tag makes a frame too long for
    // the peer.
    let input = file(&[vec![2; 13], vec![2; 1], frame(1514, 0), frame(1518, 1), frame(1522, 2), last.clone()]);
    let report = embedded(&vlan("b push 10", input));
    passed(&report);
    let lens: Vec<_> = frames(&report.files["received.pcap"]).iter().map(|frame| frame.len()).collect();
    assert_eq!(lens, [1518, 1522, 64], "{:#?}", report.lines);
    says(
        &report,
        "sent 3 frames, 1 too long for the peer: Counters { changed: 4, untagged: 0, too_short: 2, no_room: 0 }",
    );
    let cut = [&[2; 12][..], &[0x81, 0, 0, 1]].concat();
    let report = embedded(&vlan("b pop", file(&[vec![2; 13], cut, last])));
    says(
        &report,
        "sent 1 frames, 0 too long for the peer: Counters { changed: 0, untagged: 1, too_short: 2, no_room: 0 }",
    );
}

#[test]
fn arguments_that_are_none_are_refused() {
    for words in ["b push 0", "b push 4095", "b push 10 8", "b push", "b pop 1", "b swap"] {
        let report = embedded(&vlan(words, capture("packets")));
        says(&report, "error: arguments: want PEER push VID [PRIORITY], or PEER pop");
    }
}

// ---- mirror and generator

#[track_caller]
fn mirrors(runs: impl Fn(&Scenario) -> Report) {
    let input = capture("packets");
    let report = runs(&replaying("mirror", input.clone()));
    same(&report, "received.pcap", &input);
    same(&report, "mirror.pcap", &input);
    // The classes are those of RFC 2819, "etherStats".
    let mut counts = [0; 7];
    for frame in frames(&input) {
        counts[[64, 127, 255, 511, 1023, 1518].partition_point(|&longest| longest < frame.len())] += 1;
    }
    says(&report, &format!("arrived, by length: {counts:?}"));
}

#[test]
fn the_mirror_writes_what_it_forwards() {
    mirrors(embedded);
}

#[test]
fn the_mirror_writes_what_it_forwards_in_bochs() {
    mirrors(in_bochs);
}

#[track_caller]
fn generates(runs: impl Fn(&Scenario) -> Report) {
    let report = runs(&example("generator"));
    passed(&report);
    let frames = frames(&report.files["received.pcap"]);
    assert_eq!(frames.len(), 1200);
    for (number, frame) in frames.iter().enumerate() {
        let len = [64, 64, 64, 64, 64, 64, 64, 594, 594, 594, 594, 1514][number % 12];
        assert_eq!(
            (frame.len(), &frame[12..22]),
            (len, &[&[0x88, 0xb5][..], &(number as u64).to_be_bytes()].concat()[..])
        );
    }
    says(&report, "sent 1200 frames, 433800 bytes, ");
}

#[test]
fn the_generator_sends_numbered_frames_of_a_mix() {
    generates(embedded);
}

#[test]
fn the_generator_sends_numbered_frames_of_a_mix_in_bochs() {
    generates(in_bochs);
}

// ---- all

#[test]
fn an_example_has_a_hundred_lines() {
    let hops = ["balancer", "classifier", "echo", "nat44", "proxy", "stateful"].map(|name| format!("chain/{name}"));
    let others = ["firewall", "forward", "generator", "mirror", "router", "switch", "vlan"].map(String::from);
    for name in hops.into_iter().chain(others) {
        let path = artifacts::root().join("examples").join(&name).join("src/main.rs");
        assert!(fs::read_to_string(&path).expect("a file").lines().count() <= 100, "{}", path.display());
        assert_eq!(fs::read_dir(path.parent().expect("a folder")).expect("a folder").count(), 1, "{name}");
    }
}
