//! Start pages, and examples: code in documentation is compiled and run by `cargo test`.

use crate::{folder, published};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The least number of lines of a start page.
const LINES: usize = 15;
/// The marks that an example may have. One that is `no_run` is compiled; all others are run.
const MARKS: [&str; 4] = ["", "no_run", "text", "toml"];
/// The crates whose start page has no example that runs: a VNF needs a host.
const HOSTED: [&str; 1] = ["sluice-vnf"];

/// Returns the lines of the start page in the source of a library.
fn page(source: &str) -> Vec<&str> {
    let lines = source.lines().take_while(|line| line.starts_with("//!"));
    lines.map(|line| line.trim_start_matches("//!").trim()).collect()
}

/// Returns the marks of all code blocks in lines of documentation.
fn marks<'t>(lines: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    lines.filter_map(|line| line.strip_prefix("```")).step_by(2).collect()
}

fn library(package: &Value) -> &Value {
    let targets = package["targets"].as_array().expect("a list");
    let library = targets.iter().find(|target| target["kind"][0] == "lib");
    library.expect("a library")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn each_crate_has_a_start_page_with_an_example_and_where_to_start() {
    for package in published() {
        let name = package["name"].as_str().expect("a name");
        let source = fs::read_to_string(library(&package)["src_path"].as_str().expect("a path")).expect("a file");
        let page = page(&source);
        assert!(page.len() >= LINES, "{name}: a start page of {} lines", page.len());
        let wanted = if HOSTED.contains(&name) { "no_run" } else { "" };
        assert!(marks(page.iter().copied()).contains(&wanted), "{name}: no example");
        assert!(page.iter().any(|line| line.contains("[`")), "{name}: no link");
    }
}

#[test]
fn each_example_is_a_test() {
    for package in published() {
        let (name, mut files) = (package["name"].as_str().expect("a name"), Vec::new());
        assert_eq!(library(&package)["doctest"], true, "{name}: its examples are no tests");
        sources(&folder(&package).join("src"), &mut files);
        for file in files {
            let source = fs::read_to_string(&file).expect("a file");
            let lines = source.lines().map(str::trim_start);
            let docs = lines.filter_map(|line| line.strip_prefix("//!").or_else(|| line.strip_prefix("///")));
            for mark in marks(docs.map(str::trim_start)) {
                assert!(MARKS.contains(&mark), "{}: an example marked {mark:?} is no test", file.display());
            }
        }
    }
}

#[test]
fn what_is_no_example_is_known() {
    let source = "//! A.\n//! ```\n//! let a = 1;\n//! ```\n//! ```ignore\n//! b\n//! ```\n#![no_std]\n//! C.\n";
    let page = page(source);
    assert_eq!(page.len(), 7);
    assert_eq!(marks(page.into_iter()), ["", "ignore"]);
}
