//! A VNF that lies outside this workspace: one dependency, one build-dependency, and `cargo xtask run`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use xtask::{artifacts, tools};

/// A folder outside of this workspace, with the filter of tests/outside.
struct Project {
    folder: TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().expect("a folder") };
        let (path, root) = (project.folder.path(), artifacts::root());
        fs::create_dir(path.join("src")).expect("a folder");
        for (from, to) in [("main.rs", "src/main.rs"), ("manifest.toml", "manifest.toml")] {
            fs::copy(root.join("tests/outside").join(from), path.join(to)).expect(from);
        }
        fs::write(path.join("build.rs"), "fn main() {\n    sluice_build::image();\n}\n").expect("a file");
        let dependency = |name: &str, folder: &str| format!("{name} = {{ path = {:?} }}\n", root.join(folder));
        let cargo = "[package]\nname = \"filter\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n"
            .to_owned()
            + &dependency("sluice-vnf", "fastpath/vnf")
            + "\n[build-dependencies]\n"
            + &dependency("sluice-build", "fastpath/build");
        fs::write(path.join("Cargo.toml"), cargo).expect("a file");
        // The versions are the same as here, so that nothing has to be fetched.
        fs::copy(root.join("Cargo.lock"), path.join("Cargo.lock")).expect("versions");
        project
    }

    /// Builds the filter for `target`, and returns the folder with the program.
    fn build(&self, target: &str) -> PathBuf {
        self.build_as(target, "release").join("release")
    }

    /// Does the same in `profile`, and returns the folder with the profiles' folders.
    fn build_as(&self, target: &str, profile: &str) -> PathBuf {
        let built = artifacts::target_dir().join("outside");
        let mut command = Command::new(artifacts::program());
        command.current_dir(&self.folder).args(["build", "--quiet", "--offline", "--profile", profile]);
        let output = command.args(["--target", target]).env("CARGO_TARGET_DIR", &built).output().expect("cargo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        built.join(target)
    }

    fn run(&self, images: &Path, options: &[&str]) -> Output {
        let mut command = Command::new(artifacts::program());
        command.current_dir(artifacts::root()).args(["xtask", "run", "--images"]).arg(images);
        command.arg(self.folder.path().join("manifest.toml")).arg("--files");
        command.arg(artifacts::root().join("examples/captures")).arg("--out").arg(self.folder.path().join("out"));
        command.args(options).stdin(Stdio::null()).output().expect("cargo xtask run")
    }

    /// Runs the filter. The capture arrives as it was sent.
    #[track_caller]
    fn passes(&self, images: &Path, options: &[&str]) {
        let output = self.run(images, options);
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{said}{errors}");
        assert!(said.contains("\n── filter ──\nsent 2") && said.contains(" frames, dropped 0\n"), "{said}");
        let arrived = fs::read(self.folder.path().join("out/received.pcap")).expect("a file");
        assert!(arrived == fs::read(artifacts::root().join("examples/captures/mixed.pcap")).expect("a capture"));
    }
}

const LINUX: &str = "x86_64-unknown-linux-gnu";

#[test]
fn a_vnf_from_outside_runs_as_a_process() {
    let project = Project::new();
    project.passes(&project.build(LINUX), &["--processes"]);
}

#[test]
fn a_vnf_from_outside_runs_as_an_image_in_bochs() {
    let project = Project::new();
    project.passes(&project.build(tools::TARGET), &[]);
}

/// The stack frames of functions are longer in a debug build, and a VM has one stack.
#[test]
fn a_vnf_from_outside_runs_as_an_image_in_bochs_that_is_not_optimized() {
    let project = Project::new();
    project.passes(&project.build_as(tools::TARGET, "dev").join("debug"), &[]);
}

#[test]
fn it_has_thirty_lines() {
    let program = fs::read_to_string(artifacts::root().join("tests/outside/main.rs")).expect("a file");
    assert!(program.lines().count() <= 30);
}

/// Each error has its exit code, and its words in the last line of standard error.
#[test]
fn what_does_not_run_is_named_with_file_line_and_key() {
    let project = Project::new();
    let (folder, manifest) = (project.folder.path(), project.folder.path().join("manifest.toml"));
    let (linux, text) = (project.build(LINUX), fs::read_to_string(&manifest).expect("a file"));
    let at = |line: u32| format!("error: {}:{line}: ", manifest.display());
    let cases = [
        (
            text.clone(),
            folder,
            at(16) + &format!("vm \"filter\": image \"filter\": no such file in {}", folder.display()),
        ),
        (text.replacen("= 16", "= 15", 1), &linux, at(6) + "vm \"a\": ram_mib = 15: an even number"),
        (text.replace("image = \"filter\"", "colour = 3"), &linux, at(16) + "unknown field `colour`"),
        (
            text.replace("[\"mixed.pcap\"]", "[\"none\"]"),
            &linux,
            at(11) + "vm \"a\": modules \"none\": no such file in ",
        ),
    ];
    for (text, images, expected) in cases {
        fs::write(&manifest, text).expect("a file");
        let output = project.run(images, &["--processes"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or_default();
        assert!(output.status.code() == Some(3) && last.starts_with(&expected), "{errors}\nwanted {expected}");
    }
    fs::write(&manifest, text.replace("args = \"b\"", "args = \"nobody\"")).expect("a file");
    let output = project.run(&linux, &["--processes", "--json"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("\"result\": \"fail\"") && said.contains("peer \\\"nobody\\\": not in the window directory"));
}

#[test]
fn a_linux_program_is_no_image_in_bochs() {
    let project = Project::new();
    let linux = project.build(LINUX);
    let output = project.run(&linux, &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    let expected = format!("image \"filter\": {} is not an image for VMs", linux.join("filter").display());
    assert!(output.status.code() == Some(3) && errors.contains(&expected), "{errors}");
}

/// `a` waits for a peer that never starts its device.
#[test]
fn a_run_that_does_not_end_is_stopped_and_shows_its_consoles() {
    let project = Project::new();
    let late = project.folder.path().join("late");
    fs::create_dir(&late).expect("a folder");
    fs::write(late.join("filter"), "#!/bin/sh\necho still here\nexec sleep 1000\n").expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(late.join("filter"), mode).expect("its mode");
    let output = project.run(&late, &["--processes", "--timeout", "2"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("\n── filter ──\nstill here\n") && said.contains("still runs after 2 s"), "{said}");
}
