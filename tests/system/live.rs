//! `cargo xtask run` shows what is counted: while it runs, at its end, as JSON and as a picture.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use xtask::artifacts;

/// Runs an example as processes, with a picture in `svg`.
fn run(manifest: &str, svg: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(artifacts::program());
    command.current_dir(artifacts::root()).args(["xtask", "run", "--processes", "--files", "examples/captures"]);
    command.arg(format!("examples/manifests/{manifest}.toml")).arg("--svg").arg(svg).args(options);
    command.stdin(Stdio::null()).output().expect("cargo xtask run")
}

#[test]
fn a_chain_is_shown_while_it_runs_and_drawn_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let svg = folder.path().join("chain.svg");
    let output = run("service-chain", &svg, &["--watch", "--json"]);
    let shown = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("packets/s") && shown.contains("web version 1, forward ─ "), "{shown}");
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let hops = all["counters"]["hops"].as_array().expect("hops");
    let is_it = |hop: &&serde_json::Value| hop["vm"] == "stateful" && hop["direction"] == "forward";
    let stateful = hops.iter().find(is_it).expect("a hop");
    assert_eq!((&stateful["place"], &stateful["of"], &stateful["chain"]), (&2.into(), &6.into(), &"web".into()));
    assert!(stateful["packets"].as_u64() > Some(30) && stateful["dropped"]["refused"] == 2, "{stateful}");
    let consoles = all["vms"].as_array().expect("VMs").iter().flat_map(|vm| vm["console"].as_array().expect("lines"));
    let is_counter = |line: &&serde_json::Value| {
        line.as_str().is_some_and(|line| line.starts_with("chain web version 1, forward, 2 of 6: "))
    };
    assert_eq!(consoles.filter(is_counter).count(), 1, "the last line of each is enough");
    let picture = fs::read_to_string(&svg).expect("a picture");
    assert!(["stateful", "nat44", "dropped: refused 2"].iter().all(|words| picture.contains(words)), "{picture}");
}

#[test]
fn without_a_chain_there_is_no_picture_and_the_outcome_is_said_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let svg = folder.path().join("chain.svg");
    let output = run("chain", &svg, &[]);
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("\npass, ") && errors.contains("no VM of a chain printed counters"), "{said}{errors}");
    assert_eq!((output.status.code(), svg.exists()), (Some(1), false));
}
