//! A full switch with fixed rules, each with a priority.
//!
//! # Why a flow's mask has the bits of rules that do not match
//! The table has no priorities: the first entry that matches is used. So an entry for a frame has to say why no rule of
//! a higher priority matches. It has the bits of all rules down to the one that matches, and thus agrees with these
//! rules for every frame that it matches.

use crate::file::{self, FlowFileError};
use crate::table::FlowTable;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use sluice_abi::directory::MAX_PEERS;
use sluice_control::Answer;
use sluice_switch::{Action, ActionList, Key, Mask, Parsed, TableError};

/// Number of masks that are tried before all rules share one: the table has 16.
const MASKS: usize = 15;

/// A rule: frames that agree with `key` in the bits of `mask`.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub priority: u16,
    pub key: Key,
    pub mask: Key,
    pub actions: ActionList,
}

/// Rules in the order in which they are tried.
#[derive(Debug)]
pub struct Rules {
    /// Each rule, and the mask of the flows that it makes.
    rules: Vec<(Rule, Mask)>,
    /// The mask of the flows that no rule makes.
    all: Mask,
}

impl Rules {
    /// Reads the rules of the file `text`. `ports` has the names of the ports.
    ///
    /// # Errors
    /// [`FlowFileError`].
    pub fn parse(text: &str, ports: &[(u16, &str)], lists: u32) -> Result<Self, FlowFileError> {
        let rules = Self::new(file::parse(text, ports)?);
        let different: BTreeSet<_> = rules.rules.iter().map(|(rule, _)| rule.actions).collect();
        // One more is for frames that no rule matches.
        if different.len() >= lists as usize {
            return Err(FlowFileError::Lists(different.len() + 1, lists));
        }
        Ok(rules)
    }

    pub(crate) fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by_key(|rule| core::cmp::Reverse(rule.priority));
        let mut so_far = Key::default();
        let masks = rules.iter().map(|rule| {
            so_far = union(&so_far, &rule.mask);
            Mask::closed(so_far)
        });
        let mut masks: Vec<_> = masks.collect();
        let all = Mask::closed(so_far);
        let mut different = 0;
        for at in 0..masks.len() {
            different += usize::from(at == 0 || masks[at] != masks[at - 1]);
            if different > MASKS {
                masks[at] = all;
            }
        }
        Self { rules: rules.into_iter().zip(masks).collect(), all }
    }

    /// Returns the mask and the actions of the flow of a frame with `key`.
    pub fn flow_of(&self, key: &Key) -> (Mask, ActionList) {
        let matches = |rule: &Rule| key.masked(&rule.mask) == rule.key;
        let found = self.rules.iter().find(|(rule, _)| matches(rule));
        found.map_or((self.all, ActionList::DROP), |(rule, mask)| (*mask, rule.actions))
    }

    /// Decides about a frame of `len` bytes that came in by `port` and starts with `head`.
    pub fn missed(&self, table: &mut FlowTable<'_>, port: u16, (head, len): (&[u8], u16), now: u64) -> Answer {
        let key = Parsed::of(port, head, len).key;
        let (mask, actions) = self.flow_of(&key);
        match table.insert(&key, &mask, &actions, now) {
            Ok(_) | Err(TableError::Duplicate(_)) => {
                table.publish();
                Answer::Again
            }
            Err(_) => without_entry(&actions),
        }
    }
}

/// Returns what can be done with a frame whose flow found no room: it goes where it is to go if nothing is to be
/// changed in it, and is dropped otherwise.
fn without_entry(actions: &ActionList) -> Answer {
    match actions.actions().next() {
        Some(Action::Output(port)) if usize::from(port) < MAX_PEERS => Answer::Output(1 << port),
        _ => Answer::Nothing,
    }
}

fn union(a: &Key, b: &Key) -> Key {
    let mut words = *a.words();
    words.iter_mut().zip(b.words()).for_each(|(word, more)| *word |= more);
    Key::from_words(words)
}
