//! Flows of a datapath of Open vSwitch, from the text of `dpctl/dump-flows -m --no-names`.
//!
//! ```text
//! ufid:…, skb_priority(0/0),…,in_port(1),…,eth_type(0x0800),ipv4(…), packets:0, bytes:0, used:never, dp:ovs, actions:2
//! ```
//!
//! An attribute is `name(…)`, a field in it `name=value` or `name=value/mask`; a field without a mask counts in all of
//! its bits, one that is missing in none. Each word is understood, or the flow is refused.

mod actions;
mod fields;
mod layers;
mod refusal;
mod text;

use crate::error::{Error, Result, excerpt};
use crate::ports::Ports;
use fields::Fields;
pub use refusal::Refusal;
use sluice_switch::{ActionList, Key, Mask};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The command whose text is read here.
pub const COMMAND: &str = "dpctl/dump-flows";
/// Length of a flow's text, in bytes, at most.
const LONGEST: usize = 16 << 10;

/// The name that Open vSwitch gives a flow: the 32 hexadecimal digits as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ufid(pub u128);

impl fmt::Display for Ufid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(all) = self;
        let [a, b, c, d] = [all >> 96, all >> 80 & 0xffff, all >> 64 & 0xffff, all >> 48 & 0xffff];
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{:012x}", all & 0xffff_ffff_ffff)
    }
}

/// What Open vSwitch counted for a flow: its own frames alone, those that a table sent are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Number of packets, without the first one.
    pub packets: u64,
    /// Number of bytes of their frames.
    pub bytes: u64,
    /// Time since the last one; `None` if there was none.
    pub used: Option<Duration>,
}

/// A flow that a table may have: frames of which the key agrees with `key` in the bits of `mask` are those for which
/// Open vSwitch does `actions`, though not always all of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatapathFlow {
    /// The flow's name.
    pub ufid: Ufid,
    /// The key, 0 where the mask is.
    pub key: Key,
    /// The mask.
    pub mask: Mask,
    /// The actions.
    pub actions: ActionList,
}

impl DatapathFlow {
    /// Returns the flow of a line.
    ///
    /// # Errors
    /// [`Refusal`]: why a table can't have it.
    pub fn read(line: &str, ports: &Ports) -> std::result::Result<Self, Refusal> {
        let line = Line::split(line)?;
        line.flow(ports)
    }
}

/// What is known of a flow.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub flow: std::result::Result<DatapathFlow, Refusal>,
    pub counters: Counters,
    /// The text in front of the counters and that behind them, if all between is counters.
    said: Option<Arc<[Box<str>; 2]>>,
}

/// The answer to [`COMMAND`] while it is read.
#[derive(Debug)]
pub(crate) struct Dump {
    text: String,
    /// Where the next line begins.
    at: usize,
    all: BTreeMap<Ufid, Known>,
}

impl Dump {
    pub const fn new(text: String) -> Self {
        Self { text, at: 0, all: BTreeMap::new() }
    }

    /// Reads the next `lines`. Returns whether there are more. `before` are the flows that were read last with these
    /// ports: most are as they were, and only their counters are read.
    ///
    /// # Errors
    /// [`Error::Malformed`]: a line has no name, so that nothing can be said of which flows there are.
    pub fn go_on(&mut self, lines: usize, ports: &Ports, before: &BTreeMap<Ufid, Known>) -> Result<bool> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for line in rest.split_inclusive('\n').take(lines) {
            self.at += line.len();
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() || line.starts_with("flow-dump from ") {
                continue;
            }
            let nameless = || Error::Malformed { what: COMMAND.to_owned(), why: excerpt(line) };
            let ufid = ufid(line).ok_or_else(nameless)?;
            let known = Known::read(line, ports, before.get(&ufid));
            match self.all.entry(ufid) {
                Entry::Vacant(entry) => _ = entry.insert(known),
                Entry::Occupied(mut entry) => entry.get_mut().and(known),
            }
        }
        Ok(self.at < self.text.len())
    }

    /// Returns the flows that were read.
    pub fn all(self) -> BTreeMap<Ufid, Known> {
        self.all
    }
}

impl Known {
    fn read(line: &str, ports: &Ports, before: Option<&Self>) -> Self {
        let parts = parts(line);
        let is_same = |said: &[Box<str>; 2]| parts.is_some_and(|(texts, _)| said.iter().map(|it| &**it).eq(texts));
        let same = before.filter(|before| before.said.as_deref().is_some_and(is_same));
        if let Some((before, (_, counters))) = same.zip(parts) {
            return Self { counters, ..before.clone() };
        }
        let said = parts.map(|(texts, _)| Arc::new(texts.map(Box::from)));
        match Line::split(line) {
            Ok(line) => Self { flow: line.flow(ports), counters: line.counters, said },
            Err(refusal) => Self { flow: Err(refusal), counters: Counters::default(), said },
        }
    }

    /// Adds what another thread of Open vSwitch has of the flow.
    fn and(&mut self, other: Self) {
        if self.flow != other.flow {
            self.flow = Err(Refusal::Differs);
        }
        // No line alone says it any more.
        self.said = None;
        let (Counters { packets, bytes, used }, other) = (&mut self.counters, other.counters);
        (*packets, *bytes) = (packets.saturating_add(other.packets), bytes.saturating_add(other.bytes));
        *used = used.iter().chain(&other.used).min().copied();
    }
}

/// Returns the texts in front of the counters and behind them, and the counters, if all between is counters.
fn parts(line: &str) -> Option<([&str; 2], Counters)> {
    let head = line.split_once(", packets:").filter(|_| line.len() <= LONGEST)?.0;
    let (middle, tail) = line.get(head.len() + 2..)?.split_once(", actions:")?;
    let mut counters = Counters::default();
    for item in middle.split(", ") {
        let (name, value) = item.split_once(':')?;
        counters.count(name, value)?;
    }
    Some(([head, tail], counters))
}

/// Returns the name at the start of a line.
fn ufid(line: &str) -> Option<Ufid> {
    let text = line.strip_prefix("ufid:")?.get(..36)?;
    let is_dash = |(at, _): &(usize, char)| [8, 13, 18, 23].contains(at);
    let (dashes, digits): (Vec<_>, Vec<_>) = text.char_indices().partition(is_dash);
    let digits: String = digits.into_iter().map(|(_, digit)| digit).collect();
    let good = dashes.iter().all(|(_, it)| *it == '-') && digits.chars().all(|it| it.is_ascii_hexdigit());
    good.then(|| u128::from_str_radix(&digits, 16).ok().map(Ufid))?
}

/// A line in its parts.
struct Line<'t> {
    ufid: Ufid,
    attributes: Vec<&'t str>,
    counters: Counters,
    actions: Vec<&'t str>,
}

impl<'t> Line<'t> {
    fn split(line: &'t str) -> std::result::Result<Self, Refusal> {
        let wrong = || Refusal::malformed(line);
        let ufid = ufid(line).filter(|_| line.len() <= LONGEST).ok_or_else(wrong)?;
        let mut split = Self { ufid, attributes: Vec::new(), counters: Counters::default(), actions: Vec::new() };
        let mut items = text::items(line)?.into_iter().skip(1);
        for item in items.by_ref() {
            if let Some(first) = item.strip_prefix("actions:") {
                split.actions.push(first);
                break;
            }
            match item.split_once(':') {
                // A colon may also be in an attribute.
                _ if item.contains('(') => split.attributes.push(item),
                Some((name, value)) => split.counters.count(name, value).ok_or_else(|| Refusal::malformed(item))?,
                None => return Err(Refusal::malformed(item)),
            }
        }
        split.actions.extend(items.take_while(|item| !item.starts_with("dp-extra-info:")));
        if split.actions.is_empty() { Err(wrong()) } else { Ok(split) }
    }

    fn flow(&self, ports: &Ports) -> std::result::Result<DatapathFlow, Refusal> {
        let mut fields = Fields::read(&self.attributes, ports)?;
        let actions = actions::read(&self.actions, &mut fields, ports)?;
        let (key, mask) = fields.close()?;
        Ok(DatapathFlow { ufid: self.ufid, key, mask, actions })
    }
}

impl Counters {
    /// Takes what is neither an attribute nor an action.
    fn count(&mut self, name: &str, value: &str) -> Option<()> {
        match (name, value) {
            // It would be more than one item.
            _ if value.contains([',', '(']) => return None,
            ("packets", _) => self.packets = text::number(value)?.try_into().ok()?,
            ("bytes", _) => self.bytes = text::number(value)?.try_into().ok()?,
            ("used", "never") => self.used = None,
            ("used", _) => self.used = Some(seconds(value)?),
            // Flags of TCP that were seen; in which datapath, and whether in hardware, the flow is.
            ("flags" | "dp" | "offloaded", _) => {}
            _ => return None,
        }
        Some(())
    }
}

/// Returns the time of `1.234s`.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, thousandths) = text.strip_suffix('s')?.split_once('.')?;
    let [whole, thousandths] =
        [whole, thousandths].map(|part| text::number(part).and_then(|it| u64::try_from(it).ok()));
    let millis = thousandths.filter(|it| *it < 1_000)?;
    Some(Duration::from_secs(whole?).saturating_add(Duration::from_millis(millis)))
}

#[cfg(test)]
mod tests;
