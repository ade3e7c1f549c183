//! Metrics, read by the rules of Prometheus' text-based format.

use crate::hostile::{AREAS, Raw};
use crate::lab::*;
use crate::stranger::Stranger;
use sluice_abi::net::F;
use sluice_abi::virtq::used;
use std::collections::{BTreeMap, BTreeSet};

/// A value of a metric: its name, its labels as they are written, and the value.
type Sample<'t> = (&'t str, &'t str, u64);

fn is_name(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && text.bytes().all(rest)
}

/// Reads the labels `a="b",...` of a line.
fn check_labels(labels: &str, line: &str) {
    for pair in labels.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("{line}"));
        let value =
            value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or_else(|| panic!("{line}"));
        assert!(is_name(name) && !value.contains(['"', '\\']), "{line}");
    }
}

/// Reads metrics. Each has one line of help and one of type, both before its values, which stand together and differ
/// in their labels.
fn read(text: &str) -> Vec<Sample<'_>> {
    let (mut types, mut helps, mut samples) = (BTreeMap::new(), BTreeSet::new(), Vec::<Sample<'_>>::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a help");
            assert!(is_name(name) && !help.is_empty() && helps.insert(name), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert!(["counter", "gauge"].contains(&kind) && types.insert(name, kind).is_none(), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (metric, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = metric.split_once('{').unwrap_or((metric, "}"));
            let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
            check_labels(labels, line);
            assert!(is_name(name) && types.contains_key(name) && helps.contains(name), "{line}");
            let is_new = samples.iter().all(|(old, ..)| *old != name);
            assert!(is_new || samples.last().is_some_and(|(last, ..)| *last == name), "{line}: they stand apart");
            assert!(samples.iter().all(|(old, others, _)| (*old, *others) != (name, labels)), "{line}: twice");
            samples.push((name, labels, value.parse().unwrap_or_else(|_| panic!("{line}"))));
        }
    }
    samples
}

#[test]
fn metrics_are_what_prometheus_reads_and_agree_with_the_status() {
    let lab = Lab::new(&(pair() + &vm('c', "")));
    let (mut a, mut b) = (lab.connect('a', SPLIT), lab.connect('b', PACKED));
    send(&mut a, mac('b'), mac('a'), 0..9);
    assert_eq!(take_all(&mut b, 9).len(), 9);
    send(&mut a, mac('c'), mac('a'), 9..11);
    lab.until('a', |a| a["counters"]["taken"] == 11);
    let output = lab.ask(&["status", "--prometheus"]);
    let text = String::from_utf8(output.stdout).expect("text");
    let samples = read(&text);
    let value = |name: &str, labels: &str| {
        let found = samples.iter().find(|(it, of, _)| it.strip_prefix("sluice_") == Some(name) && *of == labels);
        found.unwrap_or_else(|| panic!("no {name} of {labels}: {text}")).2
    };
    assert!(value("uptime_seconds", "") < 60);
    for vm in ['a', 'b', 'c'] {
        let (status, of) = (lab.status(vm), format!("vm=\"{vm}\""));
        for (name, count) in status["counters"].as_object().expect("counters") {
            // How often a driver is notified changes until it sleeps.
            let same = name == "notified" || Some(value(&format!("{name}_total"), &of)) == count.as_u64();
            assert!(same, "{name} of {vm}: {count}: {text}");
        }
        for name in ["connects", "taken_bytes", "forwarded_bytes"] {
            assert_eq!(Some(value(&format!("{name}_total"), &of)), status[name].as_u64(), "{name} of {vm}");
        }
        assert_eq!(value("connected", &of), u64::from(vm != 'c'));
        assert_eq!(value("rings", &of), if vm == 'c' { 0 } else { 2 });
    }
    assert_eq!(value("denied_total", "vm=\"a\""), 2);
    assert_eq!(value("forwarded_bytes_total", "vm=\"b\""), 9 * 64);
}

#[test]
fn metrics_of_windows_say_who_sends_to_whom() {
    let lab = Lab::new(
        &(vm('g', "ram_mib = 4\npeers = [\"b\", \"c\"]")
            + &vm('h', "ram_mib = 4\npeers = [\"b\"]")
            + &vm('b', "")
            + &vm('c', "")),
    );
    let print = || String::from_utf8(lab.ask(&["status", "--prometheus"]).stdout).expect("text");
    assert!(!print().contains("window"), "there is no process");
    let mut b = Raw::connect_as(&lab, 'b');
    b.start_with(2, F::VERSION_1 | F::MQ);
    let (g, _h) = (Stranger::connect(&lab, 'g'), Stranger::connect(&lab, 'h'));
    g.open();
    // The index of the used ring, as if the process had filled three buffers.
    b.memory.slice().write(AREAS[2] + used::IDX, 3_u16).expect("inside");
    lab.until('g', |g| g["windows"][0]["frames"] == 3);
    let text = print();
    let samples = read(&text);
    let values = |name: &str| -> Vec<(&str, u64)> {
        samples.iter().filter(|(it, ..)| *it == name).map(|&(_, labels, value)| (labels, value)).collect()
    };
    let [gb, gc, hb] = ["vm=\"g\",peer=\"b\"", "vm=\"g\",peer=\"c\"", "vm=\"h\",peer=\"b\""];
    assert_eq!(values("sluice_window_frames_total"), [(gb, 3), (gc, 0), (hb, 0)], "{text}");
    assert_eq!(values("sluice_window_open"), [(gb, 1), (gc, 0), (hb, 0)], "{text}");
}

#[test]
fn metrics_are_printed_alone() {
    for other in ["--json", "--watch"] {
        assert_eq!(sluiced(&["status", "--prometheus", other]).0, Some(2), "{other}");
    }
}
