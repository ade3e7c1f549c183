//! Whether docs/conformance.md and docs/threat-model.md are complete: every statement of every clause, every hostile
//! case, every rule and attack, with tests that exist and are run.

mod clauses;
mod links;
mod list;
mod mutations;
mod rules;

use clauses::{CASES, CLAUSES};
use list::{Item, Section, sections};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// How a reason begins for which a statement has no test. docs/conformance.md says what each means.
const REASONS: [&str; 6] =
    ["not offered: ", "no sender: ", "the sender's: ", "the caller's: ", "never done: ", "not kept: "];

/// Adds the tests of `file` that are run: functions behind `#[test]` that are not ignored.
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

/// Adds the Rust files in `folder`, at any depth.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Cargo puts this file into its target folder, whatever the name of that is.
        if path.is_dir() && !path.join("CACHEDIR.TAG").exists() && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// Returns the names of all tests that are run.
fn tests() -> BTreeSet<String> {
    let (mut files, mut run) = (Vec::new(), BTreeSet::new());
    sources(&root(), &mut files);
    files.iter().for_each(|file| tests_in(file, &mut run));
    run
}

/// A statement of a clause, or several that are alike, as the document has it: `3, device: what it asks`.
struct Statement {
    numbers: std::ops::RangeInclusive<u16>,
    side: String,
    item: Item,
}

impl Statement {
    fn read(item: Item) -> Self {
        let (numbers, rest) = item.text.split_once(", ").expect("a number, and a comma");
        let (side, what) = rest.split_once(": ").expect("a side, and a colon");
        assert!(!what.is_empty(), "{item:?}");
        let number = |text: &str| text.parse().expect("a number");
        let (from, to) = numbers.split_once('-').unwrap_or((numbers, numbers));
        Self { numbers: number(from)..=number(to), side: side.to_owned(), item }
    }
}

/// Returns the sections of a part of docs/conformance.md.
fn conformance(part: &str) -> Vec<Section> {
    sections("docs/conformance.md", part)
}

/// Returns each clause with its statements.
fn clauses() -> Vec<(String, Vec<Statement>)> {
    let read = |section: Section| (section.heading, section.items.into_iter().map(Statement::read).collect());
    conformance("Clauses").into_iter().map(read).collect()
}

/// Returns the tests that docs/conformance.md names.
fn named() -> BTreeSet<String> {
    let parts = conformance("Clauses").into_iter().chain(conformance("Hostile cases"));
    let items = parts.flat_map(|section| section.items);
    items.flat_map(|item| item.tests().into_iter().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_statement_of_every_clause_is_in_the_list_once() {
    let mut seen: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for (clause, statements) in clauses() {
        let numbers = statements.into_iter().flat_map(|statement| statement.numbers).collect();
        assert!(seen.insert(clause.clone(), numbers).is_none(), "{clause} twice");
    }
    for (clause, count) in CLAUSES {
        let statements = seen.remove(clause).unwrap_or_default();
        assert_eq!(statements, (1..=count).collect::<Vec<_>>(), "statements of {clause}");
    }
    assert!(seen.is_empty(), "unknown clauses: {seen:?}");
}

#[test]
fn every_statement_has_a_test_or_says_why_not() {
    for (clause, statements) in clauses() {
        for Statement { side, item, .. } in statements {
            assert!(["device", "driver", "both"].contains(&side.as_str()), "{clause}: {item:?}");
            let (tests, reasons) = (item.tests(), item.reasons());
            let is_known =
                |reason: &&str| REASONS.iter().any(|begin| reason.len() > begin.len() && reason.starts_with(begin));
            assert!(reasons.iter().all(is_known), "{clause}: {item:?}");
            assert!(tests.is_empty() == (reasons.len() == 1) && reasons.len() < 2, "{clause}: {item:?}");
        }
    }
}

#[test]
fn every_hostile_case_is_in_the_list_once_with_a_test_for_each_format_that_has_it() {
    let sections = conformance("Hostile cases");
    let cases: Vec<_> = sections.iter().map(|section| section.heading.as_str()).collect();
    assert_eq!(cases, CASES);
    for Section { heading, items } in &sections {
        let formats: Vec<_> = items.iter().map(|item| item.text.as_str()).collect();
        assert_eq!(formats, ["split", "packed"], "{heading}");
        let left_out = |item: &&Item| matches!(item.reasons()[..], [why] if why.starts_with("not possible: "));
        let tested = items.iter().filter(|item| !item.tests().is_empty() && item.reasons().is_empty()).count();
        let left_out = items.iter().filter(|item| item.tests().is_empty()).filter(left_out).count();
        assert!(tested >= 1 && tested + left_out == 2, "{heading}: {items:?}");
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
    let text = "#[test]\nfn a_test() {}\n#[test]\n#[ignore]\nfn ignored() {}\nfn helper() {}\n\
                #[test]\n#[should_panic]\n/// Why.\nfn panics() {}\n";
    fs::write(&file, text).expect("a file");
    let mut run = BTreeSet::new();
    tests_in(&file, &mut run);
    assert_eq!(run.into_iter().collect::<Vec<_>>(), ["a_test", "panics"]);
}
