//! What the audit says: a row for each rule.

use serde::{Serialize, Serializer};

/// One rule, and whether it holds.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    /// What was looked at: gate, window, monitor, or a file.
    pub image: String,
    /// The rule's name.
    pub rule: &'static str,
    /// Which of docs/threat-model.md it belongs to.
    pub part_of: &'static str,
    /// No finding.
    pub holds: bool,
    /// What was counted.
    pub figure: String,
    /// What it consists of.
    pub detail: String,
    /// Where it does not hold.
    pub findings: Vec<Finding>,
}

/// A place where a rule does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Address as linked; offset in the page for gate pages.
    #[serde(serialize_with = "hexadecimal")]
    pub address: u64,
    /// Nearest symbol before it, and how far that is.
    pub symbol: String,
    /// What is there, and what is wrong with it.
    pub what: String,
}

impl Rule {
    /// A rule that holds if there is nothing in `findings`.
    pub fn new(rule: &'static str, part_of: &'static str, figure: String, findings: Vec<Finding>) -> Self {
        let (image, detail) = (String::new(), String::new());
        Self { image, rule, part_of, holds: findings.is_empty(), figure, detail, findings }
    }

    /// With what the figure consists of.
    pub fn detail(self, detail: String) -> Self {
        Self { detail, ..self }
    }
}

impl Finding {
    /// A finding at `offset` in the page of `view`: stub, gate or window.
    pub fn in_page(view: &str, offset: u64, what: impl Into<String>) -> Self {
        Self { address: offset, symbol: format!("{view} page"), what: what.into() }
    }
}

/// All of `rules` are of `image`.
pub fn of(image: &str, rules: impl IntoIterator<Item = Rule>) -> Vec<Rule> {
    rules.into_iter().map(|rule| Rule { image: image.into(), ..rule }).collect()
}

fn hexadecimal<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#x}"))
}
