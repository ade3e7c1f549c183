//! The files of the Debian package.

use crate::lab::sluiced;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNIT: &str = "packaging/sluiced.service";
const SOCKET: &str = "packaging/sluiced.socket";
const POLICY: &str = "packaging/policy.toml";
/// Programs, pages and completions are made before the package is.
const MADE: &str = "target/release/";

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(here(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The sources and folders of the files that the package has.
fn assets() -> Vec<[String; 2]> {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().expect("assets");
    let word = |asset: &toml::Value, at: usize| asset[at].as_str().expect("text").to_owned();
    assets.iter().map(|asset| [word(asset, 0), word(asset, 1)]).collect()
}

/// The values of `key` in the service's unit, in their order.
fn values(key: &str) -> Vec<String> {
    values_of(UNIT, key)
}

fn values_of(unit: &str, key: &str) -> Vec<String> {
    let unit = read(unit);
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
    unit.lines().filter_map(value).collect()
}

#[test]
fn each_file_of_the_package_is_there_or_made_as_the_manual_says() {
    let manual = read("../../docs/operations.md");
    for [source, _] in assets() {
        match source.strip_prefix(MADE) {
            None => assert!(here(&source).is_file(), "{source}"),
            // The command that makes it names the file, or the folder of the pages.
            Some(made) if made != "sluiced" => {
                let named = made.trim_end_matches("/*.1");
                assert!(manual.contains(&format!("{MADE}{named}\n")), "docs/operations.md makes no {MADE}{named}");
            }
            Some(_) => {}
        }
    }
}

#[test]
fn the_policy_of_the_package_is_right_and_the_unit_runs_it() {
    let (code, text, error) = sluiced(&["check", "--json", here(POLICY).to_str().expect("text")]);
    assert_eq!(code, Some(0), "{error}");
    let meaning: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let control = format!("/run/{}/control.sock", values("RuntimeDirectory")[0]);
    assert_eq!(meaning["control"].as_str(), Some(control.as_str()), "it is in the folder that systemd makes");
    assert_eq!(values_of(SOCKET, "ListenStream"), [control], "systemd listens there");
    // Otherwise the folder, and systemd's socket in it, would be gone with the server.
    assert_eq!(values("RuntimeDirectoryPreserve"), ["yes"]);
    let installed = assets().into_iter().find(|[source, _]| source == POLICY).map(|[_, folder]| folder);
    let path = format!("/{}policy.toml", installed.expect("the policy is installed"));
    assert_eq!(
        values("ExecStart"),
        [format!("/usr/bin/sluiced run --writes /var/lib/{} {path}", values("StateDirectory")[0])]
    );
    let reload = values("ExecReload")[0].clone();
    let words = reload.split(' ').skip(1).chain(["--control", "/no/such/socket"]);
    assert_eq!(sluiced(&words.collect::<Vec<_>>()).0, Some(4), "{reload}: a command that finds no server there");
}

/// Returns the calls of systemd's set `name`, unless systemd-analyze is not there.
fn set(name: &str) -> Option<BTreeSet<String>> {
    let output = Command::new("systemd-analyze").args(["syscall-filter", name]).output().ok()?;
    assert!(output.status.success(), "{name}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let words = text.lines().skip(1).map(str::trim).filter(|word| !word.is_empty() && !word.starts_with('#'));
    let mut calls = BTreeSet::new();
    for word in words {
        let more = if word.starts_with('@') { set(word)? } else { BTreeSet::from([word.to_owned()]) };
        calls.extend(more);
    }
    Some(calls)
}

/// systemd's filter stays below the server's own, which names fewer calls.
#[test]
fn the_unit_allows_each_call_that_the_server_makes() {
    let Some(mut allowed) = set("@default") else {
        println!("skipped: systemd-analyze is not installed (apt-get install systemd)");
        return;
    };
    for line in values("SystemCallFilter") {
        let (out, words) = line.strip_prefix('~').map_or((false, line.as_str()), |words| (true, words));
        for word in words.split(' ') {
            let calls = if word.starts_with('@') { set(word).expect("a set") } else { [word.to_owned()].into() };
            allowed = if out { &allowed - &calls } else { &allowed | &calls };
        }
    }
    let own = read("src/sandbox/calls.rs");
    let names = own.split("libc::SYS_").skip(1).filter_map(|rest| {
        let end = rest.find(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric())?;
        Some(rest[..end].to_owned())
    });
    let enter =
        ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"].map(str::to_owned);
    let missing: Vec<_> = names.chain(enter).filter(|name| !allowed.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn systemd_knows_each_line_of_the_units() {
    let (folder, program) = (tempfile::tempdir().expect("a folder"), env!("CARGO_BIN_EXE_sluiced"));
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]);
    for unit in [UNIT, SOCKET] {
        let path = folder.path().join(Path::new(unit).file_name().expect("a name"));
        fs::write(&path, read(unit).replace("/usr/bin/sluiced", program)).expect("a unit");
        command.arg(path);
    }
    let Ok(output) = command.output() else {
        println!("skipped: systemd-analyze is not installed (apt-get install systemd)");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("sluiced."), "{said}");
}
