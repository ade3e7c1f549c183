//! Whether each rule and each attack of docs/threat-model.md names where it is kept and what shows it.

use crate::list::{Section, name, sections};
use crate::{root, tests};
use std::collections::BTreeSet;

/// Returns the sections of the rules, or of the attacks.
fn list(part: &str) -> Vec<Section> {
    sections("docs/threat-model.md", part)
}

/// Returns what a heading numbers: `A4, A18 Page tables` numbers A4 and A18.
fn numbers(heading: &str, letter: char) -> Vec<u8> {
    let words = heading.split(' ').map(|word| word.trim_end_matches(','));
    words.map_while(|word| word.strip_prefix(letter)?.parse().ok()).collect()
}

/// Returns the numbers of all rules (`G`), or of all attacks (`A`), in the order of their headings.
fn all(part: &str, letter: char) -> Vec<u8> {
    list(part).iter().flat_map(|section| numbers(&section.heading, letter)).collect()
}

/// Returns whether `rule` is a rule or an attack of the threat model.
pub fn is_known(rule: &str) -> bool {
    let is_in = |part, letter| {
        let number = rule.strip_prefix(letter).and_then(|number| number.parse().ok());
        number.is_some_and(|number| all(part, letter).contains(&number))
    };
    is_in("Rules", 'G') || is_in("Attacks", 'A')
}

/// Returns the rules, without the attacks.
pub fn rules() -> Vec<String> {
    all("Rules", 'G').iter().map(|number| format!("G{number}")).collect()
}

#[test]
fn rules_and_attacks_are_numbered_without_a_gap() {
    for (part, letter) in [("Rules", 'G'), ("Attacks", 'A')] {
        assert!(list(part).iter().all(|section| !numbers(&section.heading, letter).is_empty()), "{part}");
        let mut found = all(part, letter);
        found.sort_unstable();
        assert_eq!(found, (1..=found.len() as u8).collect::<Vec<_>>(), "{part}");
    }
}

#[test]
fn each_rule_and_attack_has_a_test_or_says_why_not() {
    let run = tests();
    for Section { heading, items } in list("Rules").iter().chain(&list("Attacks")) {
        let tested: Vec<_> = items.iter().filter(|item| item.text == "Tests:").collect();
        let excused = items.iter().any(|item| item.text.strip_prefix("No test: ").is_some_and(|why| !why.is_empty()));
        assert!(tested.len() == 1 || tested.is_empty() && excused, "{heading}");
        for line in tested.iter().flat_map(|item| &item.within) {
            let (test, _) = line.split_once(": ").unwrap_or((line, ""));
            assert!(name(test).is_some_and(|test| run.contains(test)), "{heading}: no test {line}, or it is ignored");
        }
        assert!(tested.iter().all(|item| !item.within.is_empty()), "{heading}");
    }
}

/// A rule names the files that keep it.
#[test]
fn each_file_that_a_rule_names_is_there() {
    for Section { heading, items } in list("Rules") {
        let places: Vec<_> = items.iter().filter_map(|item| item.text.strip_prefix("Where: ")).collect();
        let files: BTreeSet<_> = places.iter().flat_map(|places| places.split('`').skip(1).step_by(2)).collect();
        assert!(!files.is_empty(), "{heading}");
        for file in files.iter().filter(|file| file.contains('/')) {
            assert!(root().join(file).exists(), "{heading}: no {file}");
        }
    }
}
