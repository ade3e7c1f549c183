//! The programs that cargo builds: images for VMs and the monitor, programs for the embedded default.

use crate::progress::step;
use crate::tools::TARGET;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Packages that are the host on the bare machine.
const HOST: [&str; 2] = ["sluice-monitor", "sluice-inside"];
/// Packages whose programs run in a VM and as processes.
const PROGRAMS: &str = "microbench chainbench balancer classifier echo firewall forward generator hop hub mirror nat44 \
                        pcap proxy router switch stateful vlan latency segments station";
/// The package whose program runs in a VM alone.
const ATTACK: &str = "attack";
/// The package that starts processes.
const LAUNCHER: &str = "sluice-launcher";

fn programs() -> Vec<&'static str> {
    PROGRAMS.split_whitespace().collect()
}

/// Returns the project's folder.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Returns the folder for results of commands.
pub fn results() -> PathBuf {
    target_dir().join("sluice")
}

/// Draws the picture `name` of that folder, and says where it is.
pub fn picture(name: &str, draw: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    fs::create_dir_all(results())?;
    let picture = results().join(name);
    draw(&picture)?;
    println!("Plot: {}", picture.display());
    Ok(())
}

/// Returns cargo's target folder, wherever environment or configuration put it.
pub fn target_dir() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    // Where cargo does not work nothing is built, either.
    FOUND.get_or_init(|| ask(&mut Command::new(program())).unwrap_or_else(|| root().join("target")))
}

/// Asks `cargo` for that folder. See: cargo-metadata(1), `target_directory`.
fn ask(cargo: &mut Command) -> Option<PathBuf> {
    cargo.current_dir(root()).args(["metadata", "--format-version=1", "--no-deps", "--locked", "--offline"]);
    let output = cargo.stderr(Stdio::null()).output().ok()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(metadata["target_directory"].as_str()?.into())
}

/// Where cargo put the programs of each kind: in a folder more, if its configuration names a target.
static BARE_FOLDER: OnceLock<PathBuf> = OnceLock::new();
static HOSTED_FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Returns the folder of the programs for the bare machine, once built.
pub fn bare() -> PathBuf {
    BARE_FOLDER.get().cloned().unwrap_or_else(|| target_dir().join(TARGET).join("release"))
}

/// Returns the folder of the programs for processes, once built.
pub fn hosted() -> PathBuf {
    HOSTED_FOLDER.get().cloned().unwrap_or_else(|| target_dir().join("release"))
}

/// Returns the cargo that runs this, or the one on the path.
pub fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Builds the programs for the bare machine.
pub fn build_bare() -> Result<()> {
    step("building monitor, window and VM images", || cargo(&all_bare(), &["--target", TARGET], &BARE_FOLDER))
}

/// Builds the programs for processes.
pub fn build_hosted() -> Result<()> {
    step("building launcher and examples", || cargo(&[&[LAUNCHER], &programs()[..]].concat(), &[], &HOSTED_FOLDER))
}

/// Whether `name` is a program of this workspace that a VM (`bare`), or a process in the role of one, can run.
pub fn is_ours(name: &str, bare: bool) -> bool {
    programs().contains(&name) || bare && name == ATTACK
}

/// Builds monitor and window image, and of the programs for VMs those in `images`.
pub fn build_bare_some(images: &[&str]) -> Result<()> {
    let packages = [&HOST, images].concat();
    step("building monitor, window and images", || cargo(&packages, &["--target", TARGET], &BARE_FOLDER))
}

/// Builds the launcher, and of the programs for processes those in `images`.
pub fn build_hosted_some(images: &[&str]) -> Result<()> {
    let packages = [&[LAUNCHER], images].concat();
    step("building launcher and images", || cargo(&packages, &[], &HOSTED_FOLDER))
}

/// Builds the ring benchmark.
pub fn build_ring_bench() -> Result<()> {
    step("building the ring benchmark", || cargo(&["ring-bench"], &[], &HOSTED_FOLDER))
}

/// Builds the ring benchmark, the server, and the processes that the benchmark starts.
pub fn build_vms() -> Result<()> {
    let packages = ["ring-bench", "sluice-server", "generator", "forward"];
    step("building the benchmark, the server and VNFs", || cargo(&packages, &[], &HOSTED_FOLDER))
}

/// Builds the window image alone, and returns its path.
pub fn build_window() -> Result<PathBuf> {
    step("building the window", || cargo(&["sluice-inside"], &["--target", TARGET], &BARE_FOLDER))?;
    Ok(bare().join("window"))
}

/// Builds monitor and window image, and returns their paths.
pub fn build_host() -> Result<(PathBuf, PathBuf)> {
    step("building monitor and window", || cargo(&HOST, &["--target", TARGET], &BARE_FOLDER))?;
    Ok((bare().join("sluice-monitor"), bare().join("window")))
}

/// Makes `command`, a cargo command, build the programs for the bare machine.
pub fn bare_arguments(command: &mut Command) {
    arguments(command, &all_bare(), &["--target", TARGET]);
}

fn all_bare() -> Vec<&'static str> {
    [&HOST, &programs()[..], &[ATTACK]].concat()
}

/// Makes `command`, a cargo command, be about the packages for the bare machine.
pub fn bare_packages(command: &mut Command) {
    named(command, &all_bare());
}

fn named(command: &mut Command, packages: &[&str]) {
    // A crate that somebody else made may have the name of one of ours.
    for package in packages {
        command.args(["--package", &format!("{package}@{}", env!("CARGO_PKG_VERSION"))]);
    }
}

fn arguments(command: &mut Command, packages: &[&str], options: &[&str]) {
    named(command.args(["build", "--quiet", "--release", "--locked", "--bins"]).args(options), packages);
}

/// Builds, and notes the folder that the programs are in.
fn cargo(packages: &[&str], options: &[&str], folder: &OnceLock<PathBuf>) -> Result<()> {
    let mut command = Command::new(program());
    arguments(command.current_dir(root()), packages, options);
    command.arg("--message-format=json-render-diagnostics");
    let output = command.stderr(Stdio::inherit()).output().context("cargo")?;
    if !output.status.success() {
        bail!("cargo build failed for {}", packages.join(", "));
    }
    let found = String::from_utf8(output.stdout)?.lines().find_map(folder_in).context("cargo names no program")?;
    folder.get_or_init(|| found);
    Ok(())
}

/// Returns the folder of the program that a message of cargo names. See: The Cargo Book, "External tools", "Artifact
/// messages".
fn folder_in(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    Some(Path::new(message["executable"].as_str()?).parent()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_folder_is_where_environment_or_configuration_put_it() {
        let folder = Path::new("/an odd/täget");
        let cargo = || {
            let mut cargo = Command::new(program());
            cargo.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET_DIR");
            cargo
        };
        let config = format!("build.target-dir = {:?}", folder.display().to_string());
        let asked = [
            ask(cargo().env("CARGO_TARGET_DIR", folder)),
            ask(cargo().env("CARGO_BUILD_TARGET_DIR", folder)),
            ask(cargo().args(["--config", &config])),
        ];
        assert_eq!(asked, [(); 3].map(|()| Some(folder.to_owned())));
        assert_eq!(ask(&mut Command::new("false")), None);
    }

    #[test]
    fn programs_are_where_cargo_says() {
        let message =
            r#"{"reason":"compiler-artifact","executable":"/an odd/täget/x86_64-unknown-linux-gnu/release/pcap"}"#;
        let folder = "/an odd/täget/x86_64-unknown-linux-gnu/release";
        assert_eq!(folder_in(message), Some(folder.into()));
        assert_eq!([r#"{"reason":"build-finished","executable":null}"#, "no JSON"].map(folder_in), [None, None]);
    }
}
