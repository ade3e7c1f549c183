//! The rows of the audit, one for each rule.

use serde::{Serialize, Serializer};

/// A rule, and whether it holds.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    /// The image that was looked at: gate, window, monitor, or a file.
    pub image: String,
    /// The name of the rule.
    pub rule: &'static str,
    /// The rule of docs/threat-model.md that this one is a part of.
    pub part_of: &'static str,
    /// Whether there is no finding.
    pub holds: bool,
    /// The figure that was counted, with its unit.
    pub figure: String,
    /// The parts of the figure.
    pub detail: String,
    /// The places at which the rule does not hold.
    pub findings: Vec<Finding>,
}

/// A place where a rule does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The address as linked, or the offset in a gate page.
    #[serde(serialize_with = "hexadecimal")]
    pub address: u64,
    /// The nearest symbol before the address, with the distance from it.
    pub symbol: String,
    /// The instruction or segment, and the reason why it is wrong.
    pub what: String,
}

impl Rule {
    /// Makes a row of a rule that holds if `findings` is empty.
    pub fn new(rule: &'static str, part_of: &'static str, figure: String, findings: Vec<Finding>) -> Self {
        let (image, detail) = (String::new(), String::new());
        Self { image, rule, part_of, holds: findings.is_empty(), figure, detail, findings }
    }

    /// Adds the parts of the figure.
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

/// Marks all `rules` as those of `image`.
pub fn of(image: &str, rules: impl IntoIterator<Item = Rule>) -> Vec<Rule> {
    rules.into_iter().map(|rule| Rule { image: image.into(), ..rule }).collect()
}

fn hexadecimal<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#x}"))
}
