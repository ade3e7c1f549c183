//! Whether each link in a document leads to a file, and to a heading, that is there.

use crate::root;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders with documents of this project, each with the depth to which they are looked for.
const FOLDERS: [(&str, usize); 10] = [
    ("", 1),
    ("docs", 1),
    ("abi", 1),
    ("bench", 2),
    ("examples", 2),
    ("fuzz", 1),
    ("host", 2),
    ("linker", 1),
    ("tests", 2),
    ("trampoline", 2),
];

/// Adds the documents in `folder`, down to `depth`.
fn documents(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && depth > 1 {
            documents(&path, depth - 1, found);
        } else if path.extension().is_some_and(|kind| kind == "md") {
            found.push(path);
        }
    }
}

/// Returns the targets of all links in `text`: the words between `](` and the next `)`.
fn links(text: &str) -> Vec<&str> {
    let behind = text.split("](").skip(1);
    behind.filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).filter(|link| !link.contains(' ')).collect()
}

/// Returns the anchor of a heading, as forges make it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|&c| c.is_alphanumeric() || " -_".contains(c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Returns what is wrong with `link` in the document `from`, if anything is.
fn wrong(from: &Path, link: &str) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (file, place) = link.split_once('#').map_or((link, None), |(file, place)| (file, Some(place)));
    let target = if file.is_empty() { from.to_owned() } else { from.parent()?.join(file) };
    if !target.exists() {
        return Some(format!("{}: no {file}", from.display()));
    }
    let text = fs::read_to_string(&target).unwrap_or_default();
    let mut headings =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let found = place.is_none_or(|place| headings.any(|heading| anchor(heading) == place));
    (!found).then(|| format!("{}: no heading for {link}", from.display()))
}

#[test]
fn each_link_leads_to_a_file_and_a_heading() {
    let mut files = Vec::new();
    FOLDERS.iter().for_each(|(folder, depth)| documents(&root().join(folder), *depth, &mut files));
    assert!(files.len() > 15, "{files:?}");
    for file in &files {
        let text = fs::read_to_string(file).expect("a document");
        let wrong: Vec<_> = links(&text).into_iter().filter_map(|link| wrong(file, link)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn an_anchor_is_that_of_forges() {
    assert_eq!(anchor("A VNF's own device"), "a-vnfs-own-device");
    assert_eq!(anchor("A17, A20 Ending a call"), "a17-a20-ending-a-call");
    assert_eq!(links("a [b](c.md) and [d](e.md#f)"), ["c.md", "e.md#f"]);
}
