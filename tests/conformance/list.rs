//! Reading the lists of docs/conformance.md and docs/threat-model.md: headings with items below them.

use crate::root;
use std::fs;

/// A heading of the third level, and what stands below it.
#[derive(Debug)]
pub struct Section {
    /// The heading, without its marks.
    pub heading: String,
    /// The items of the list below the heading.
    pub items: Vec<Item>,
}

/// An item of a list, and the items of the list within it.
#[derive(Debug)]
pub struct Item {
    /// The item, in one line.
    pub text: String,
    /// The items within it, each in one line.
    pub within: Vec<String>,
}

impl Item {
    /// Returns the names of tests in the items within this one.
    pub fn tests(&self) -> Vec<&str> {
        self.within.iter().filter_map(|line| name(line)).collect()
    }

    /// Returns the items within this one that name no test.
    pub fn reasons(&self) -> Vec<&str> {
        self.within.iter().filter(|line| name(line).is_none()).map(String::as_str).collect()
    }
}

/// Returns the name of a test, if `line` is one and nothing else.
pub fn name(line: &str) -> Option<&str> {
    let name = line.strip_prefix('`')?.strip_suffix('`')?;
    name.chars().all(|c| c.is_alphanumeric() || c == '_').then_some(name)
}

/// Returns the sections below the heading `part` of the second level in `file`.
pub fn sections(file: &str, part: &str) -> Vec<Section> {
    let text = fs::read_to_string(root().join(file)).expect("a document");
    let text = text.split(&format!("\n## {part}\n")).nth(1).expect("the heading");
    read(text.split("\n## ").next().unwrap_or_default())
}

/// Reads the sections of a part. What stands before the first heading, and paragraphs, belong to none.
fn read(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    // Whether the line before belongs to an item, which this line then may continue.
    let mut open = false;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            sections.push(Section { heading: heading.to_owned(), items: Vec::new() });
        }
        let Some(section) = sections.last_mut() else { continue };
        open = section.read_line(line, open);
    }
    sections
}

impl Section {
    /// Reads a line, which continues the line before it if that one is `open`. Returns whether this one is.
    fn read_line(&mut self, line: &str, open: bool) -> bool {
        if let Some(text) = line.strip_prefix("- ") {
            self.items.push(Item { text: text.to_owned(), within: Vec::new() });
            return true;
        }
        let Some(item) = self.items.last_mut() else { return false };
        if let Some(text) = line.strip_prefix("  - ") {
            item.within.push(text.to_owned());
        } else if open && line.starts_with("  ") {
            let before = item.within.last_mut().unwrap_or(&mut item.text);
            before.push(' ');
            before.push_str(line.trim());
        } else {
            return false;
        }
        true
    }
}

#[test]
fn items_go_on_in_the_next_line_and_end_with_a_paragraph() {
    let first = "no section\n- a\n### first\n\nWhy.\n- one\n  goes on\n  - `a_test`\n  - a\n    reason\n";
    let text = [first, "\nA paragraph\n  ends.\n### second\n"].concat();
    let sections = read(&text);
    assert_eq!(sections.iter().map(|section| section.heading.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    let [item] = &sections[0].items[..] else { panic!("{sections:?}") };
    assert_eq!(item.text, "one goes on");
    assert_eq!((item.tests(), item.reasons()), (vec!["a_test"], vec!["a reason"]));
}

#[test]
fn what_is_no_name_alone_is_a_reason() {
    assert_eq!(name("`a_test`"), Some("a_test"));
    assert_eq!(name("`a_test`, `b_test`"), None);
    assert_eq!(name("audit: `filler`"), None);
}
