//! Whether the published crates can be packed and documented as they are, and what a reader finds first.

mod pages;

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};
use xtask::artifacts;

/// The crates that are published, in an order in which they can be.
const PUBLISHED: [&str; 13] = [
    "sluice-abi",
    "sluice-memory",
    "sluice-gate",
    "sluice-inside",
    "sluice-driver",
    "sluice-fastpath",
    "sluice-switch",
    "sluice-build",
    "sluice-vnf",
    "sluice-chain",
    "sluice-vhost-user",
    "sluice-channel",
    "sluice-channels",
];

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(artifacts::program());
    command.current_dir(artifacts::root()).args(arguments).args(["--locked", "--offline"]);
    command
}

#[track_caller]
fn succeeded(command: &mut Command) -> Output {
    let output = command.output().expect("cargo");
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Returns the metadata of each package of the workspace.
fn packages() -> Vec<Value> {
    let output = succeeded(&mut cargo(&["metadata", "--format-version=1", "--no-deps"]));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    serde_json::from_value(metadata["packages"].take()).expect("a list")
}

fn published() -> Vec<Value> {
    packages().into_iter().filter(|package| PUBLISHED.iter().any(|name| package["name"] == *name)).collect()
}

/// Returns the folder of a package.
fn folder(package: &Value) -> PathBuf {
    let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
    manifest.parent().expect("a folder").to_owned()
}

/// Returns the strings of a list, or the string itself.
fn strings(value: &Value) -> Vec<&str> {
    let list = value.as_array().map(|list| list.iter().filter_map(Value::as_str).collect());
    list.unwrap_or_else(|| value.as_str().into_iter().collect())
}

/// A crate that may not be published says so: `publish = false`.
#[test]
fn what_is_published_is_what_vnfs_and_hosts_need() {
    let all = packages();
    let may = all.iter().filter(|package| package["publish"] != Value::Array(Vec::new()));
    let names: BTreeSet<_> = may.filter_map(|package| package["name"].as_str()).collect();
    assert_eq!(names, PUBLISHED.into());
}

/// The limits are from The Cargo Book, "The Manifest Format".
#[test]
fn each_package_says_what_it_is() {
    for package in published() {
        let name = package["name"].as_str().expect("a name");
        for (key, most) in [
            ("description", 1),
            ("license", 1),
            ("readme", 1),
            ("documentation", 1),
            ("rust_version", 1),
            ("keywords", 5),
            ("categories", 5),
        ] {
            let found = strings(&package[key]);
            assert!(!found.is_empty() && found.len() <= most, "{name}: {key}: {found:?}");
            assert!(found.iter().all(|text| !text.trim().is_empty()), "{name}: {key}: {found:?}");
        }
        assert!(strings(&package["keywords"]).iter().all(|keyword| keyword.len() <= 20), "{name}");
        assert_eq!(package["documentation"], format!("https://docs.rs/{name}"));
        assert!(folder(&package).join(package["readme"].as_str().unwrap_or_default()).is_file(), "{name}");
    }
}

/// A dependency of this workspace needs a version, too, and has to be published before its user. Dependencies of tests
/// need neither.
#[test]
fn each_dependency_can_be_had_when_its_user_is_published() {
    for package in published() {
        let name = package["name"].as_str().expect("a name");
        let before = PUBLISHED.iter().position(|published| *published == name).expect("published");
        for dependency in package["dependencies"].as_array().expect("a list") {
            if dependency["kind"] == "dev" {
                continue;
            }
            let (other, version) = (&dependency["name"], &dependency["req"]);
            assert_ne!(version, "*", "{name} needs {other} of any version");
            let known = PUBLISHED[..before].iter().any(|published| other == published);
            assert!(dependency["path"].is_null() || known, "{name} needs {other}, which is not published before");
        }
    }
}

/// Each package is built alone, with the packages of the others, in a folder of its own: cargo takes what it built of
/// one version of a package for that version, whatever is in the package now.
#[test]
fn packages_are_whole() {
    let built = artifacts::results().join("packages");
    let _ = fs::remove_dir_all(&built);
    forget_unpacked();
    let mut command = cargo(&["package", "--quiet", "--allow-dirty"]);
    command.arg("--target-dir").arg(built).args(PUBLISHED.iter().flat_map(|name| ["--package", name]));
    succeeded(&mut command);
}

/// Removes the packages that cargo unpacked in an earlier run, for the same reason. It unpacks those that come from a
/// folder, and from no server, below names that begin with a hyphen.
fn forget_unpacked() {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    for registry in registries.into_iter().flatten().map_while(Result::ok) {
        if registry.file_name().as_encoded_bytes().starts_with(b"-") {
            let folder = |name| registry.path().join(format!("{name}-{}", env!("CARGO_PKG_VERSION")));
            PUBLISHED.iter().for_each(|name| drop(fs::remove_dir_all(folder(name))));
        }
    }
}
