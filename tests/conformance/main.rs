//! Whether docs/conformance.md is complete: every statement of every clause, every hostile case, and tests that are there and are run.

mod clauses;
mod mutations;

use clauses::{CASES, CLAUSES};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of the table's rows below `heading`.
fn table(heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/conformance.md")).expect("docs/conformance.md");
    let part = text.split(&format!("\n## {heading}\n")).nth(1).expect("the heading");
    let part = part.split("\n## ").next().unwrap_or_default();
    let rows = part.lines().filter(|line| line.starts_with("| "));
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    rows.skip(1).map(cells).collect()
}

/// The names in a cell of tests.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Where a clause is left out, why; the words are part of what the document promises.
const EXCUSES: [&str; 6] =
    ["not offered: ", "no sender: ", "the sender's: ", "the caller's: ", "never done: ", "not kept: "];

/// The tests that are run: functions behind `#[test]` that are not ignored.
fn tests_in(file: &Path, run: &mut BTreeSet<String>) {
    let text = fs::read_to_string(file).expect("a source file");
    let mut attributes: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim) {
        let name = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        if line.starts_with("#[") {
            attributes.push(line);
        } else if let Some(name) = name {
            let is_test = attributes.iter().any(|line| line.starts_with("#[test]"));
            if is_test && !attributes.iter().any(|line| line.starts_with("#[ignore")) {
                run.insert(name.to_owned());
            }
            attributes.clear();
        } else if !line.starts_with("//") {
            attributes.clear();
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Cargo puts that file into its target folder, whatever that is called.
        if path.is_dir() && !path.join("CACHEDIR.TAG").exists() && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn tests() -> BTreeSet<String> {
    let (mut files, mut run) = (Vec::new(), BTreeSet::new());
    sources(&root(), &mut files);
    files.iter().for_each(|file| tests_in(file, &mut run));
    run
}

/// The tests that the tables name.
fn named() -> BTreeSet<String> {
    let (clauses, cases) = (table("Clauses"), table("Hostile cases"));
    let cells = clauses.iter().map(|row| &row[4]).chain(cases.iter().flat_map(|row| &row[1..]));
    cells.filter(|cell| cell.starts_with('`')).flat_map(|cell| names(cell)).map(str::to_owned).collect()
}

/// Statements of a cell such as `3` or `1-4`.
fn statements(cell: &str) -> std::ops::RangeInclusive<u16> {
    let number = |text: &str| text.parse().expect("a number");
    let (from, to) = cell.split_once('-').unwrap_or((cell, cell));
    number(from)..=number(to)
}

#[test]
fn every_statement_of_every_clause_is_in_the_table_once() {
    let mut seen: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for row in table("Clauses") {
        assert_eq!(row.len(), 5, "{row:?}");
        seen.entry(row[0].clone()).or_default().extend(statements(&row[1]));
    }
    for (clause, count) in CLAUSES {
        let statements = seen.remove(clause).unwrap_or_default();
        assert_eq!(statements, (1..=count).collect::<Vec<_>>(), "statements of {clause}");
    }
    assert!(seen.is_empty(), "unknown clauses: {seen:?}");
}

#[test]
fn every_statement_has_a_test_or_says_why_not() {
    for row in table("Clauses") {
        let excused = EXCUSES.iter().any(|excuse| row[4].strip_prefix(excuse).is_some_and(|why| !why.is_empty()));
        assert!(excused == names(&row[4]).is_empty(), "{row:?}");
        assert!(["device", "driver", "both"].contains(&row[2].as_str()), "{row:?}");
    }
}

#[test]
fn every_hostile_case_is_in_the_table_once_with_a_test_for_each_format_that_has_it() {
    let rows = table("Hostile cases");
    let cases: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(cases, CASES);
    for row in &rows {
        assert_eq!(row.len(), 3, "{row:?}");
        let tested = row[1..].iter().filter(|cell| !names(cell).is_empty()).count();
        let left_out = row[1..].iter().filter(|cell| cell.starts_with("– ")).count();
        assert!(tested >= 1 && tested + left_out == 2, "{row:?}");
    }
}

#[test]
fn every_test_that_is_named_exists_and_is_run() {
    let (run, named) = (tests(), named());
    assert!(named.len() > 80);
    let missing: Vec<_> = named.difference(&run).collect();
    assert!(missing.is_empty(), "no such tests, or they are ignored: {missing:#?}");
}

#[test]
fn a_test_that_is_ignored_or_none_does_not_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.rs");
    let text = "#[test]\nfn a_test() {}\n#[test]\n#[ignore]\nfn ignored() {}\nfn helper() {}\n#[test]\n#[should_panic]\n/// Why.\nfn panics() {}\n";
    fs::write(&file, text).expect("a file");
    let mut run = BTreeSet::new();
    tests_in(&file, &mut run);
    assert_eq!(run.into_iter().collect::<Vec<_>>(), ["a_test", "panics"]);
}
