//! Which of our ports is which of Open vSwitch's: the text of `dpif/show`.

use crate::error::{Error, Result, excerpt};
use std::collections::BTreeMap;

/// The command whose text is read here.
pub const COMMAND: &str = "dpif/show";

/// The numbers that the ports of a bridge have in its datapath, and which ports of ours they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Name of the datapath, for commands.
    datapath: String,
    /// Our number of each of its numbers.
    ours: BTreeMap<u32, u16>,
    /// One more than the largest of our numbers.
    count: u16,
    /// Names of ports that the bridge does not have.
    missing: Vec<String>,
}

impl Ports {
    /// Returns ports that have these numbers in the datapath, and these of ours.
    pub fn new(datapath: &str, numbers: impl IntoIterator<Item = (u32, u16)>) -> Self {
        let ours: BTreeMap<_, _> = numbers.into_iter().collect();
        let count = ours.values().max().map_or(0, |most| most.saturating_add(1));
        Self { datapath: datapath.to_owned(), ours, count, missing: Vec::new() }
    }

    /// Returns the ports of `bridge` that are in `names`: our numbers, and their names in Open vSwitch.
    ///
    /// # Errors
    /// [`Error::NoBridge`], [`Error::Malformed`].
    pub(crate) fn read(text: &str, bridge: &str, names: &[(u16, String)]) -> Result<Self> {
        let (datapath, found) = numbers(text, bridge)?.ok_or_else(|| Error::NoBridge(bridge.to_owned()))?;
        let number = |name: &str| found.get(name).copied().flatten();
        let ours = names.iter().filter_map(|(ours, name)| Some((number(name)?, *ours)));
        let missing = names.iter().filter(|(_, name)| number(name).is_none());
        let missing = missing.map(|(_, name)| name.clone()).collect();
        Ok(Self { missing, ..Self::new(datapath, ours) })
    }

    /// Returns our number of the port that has `number` in the datapath.
    pub fn ours(&self, number: u32) -> Option<u16> {
        self.ours.get(&number).copied()
    }

    /// Returns one more than the largest of our numbers.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Returns the names of those that the bridge does not have: no frame comes from them or goes to them.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    pub(crate) fn datapath(&self) -> &str {
        &self.datapath
    }
}

/// The numbers in a datapath of a bridge's ports, by their names. A patch port, or one that could not be opened, has
/// none.
type Numbers<'t> = BTreeMap<&'t str, Option<u32>>;

/// Returns the datapath of `bridge`, and the numbers of the bridge's ports in it. A datapath's line is not indented, a
/// bridge's by two blanks, a port's by four: `name number/number in the datapath: (…)`, or `name number/none: (…)`.
fn numbers<'t>(text: &'t str, bridge: &str) -> Result<Option<(&'t str, Numbers<'t>)>> {
    let (mut datapath, mut found) = ("", None);
    let mut inside = false;
    for line in text.lines() {
        let (indent, rest) = (line.len() - line.trim_start().len(), line.trim_start());
        match indent {
            0 => datapath = rest.split_once(": ").map_or(rest, |(name, _)| name),
            2 => inside = rest.strip_suffix(':') == Some(bridge),
            _ if inside => {
                let (name, number) = port(rest).ok_or_else(|| malformed(rest))?;
                let ports = &mut found.get_or_insert_with(|| (datapath, BTreeMap::new())).1;
                if ports.insert(name, number).is_some() {
                    return Err(malformed(rest));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Returns the name and the number of a port.
fn port(line: &str) -> Option<(&str, Option<u32>)> {
    let (name, rest) = line.split_once(' ')?;
    match rest.split_once(':')?.0.split_once('/')?.1 {
        "none" => Some((name, None)),
        number => Some((name, Some(number.parse().ok()?))),
    }
}

fn malformed(why: &str) -> Error {
    Error::Malformed { what: COMMAND.to_owned(), why: excerpt(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "dummy@ovs-dummy: hit:5 missed:67\n  br0:\n    br0 65534/100: (dummy-internal)\n    \
        p1 1/7: (dummy: pstream=punix:/x/p1)\n    p2 2/2: (dummy)\n  br1:\n    p3 1/3: (dummy)\n";

    fn read(names: &[(u16, &str)]) -> Result<Ports> {
        let names: Vec<_> = names.iter().map(|(number, name)| (*number, (*name).to_owned())).collect();
        Ports::read(TEXT, "br0", &names)
    }

    #[test]
    fn a_port_has_the_number_that_its_bridge_gives_its_name() {
        let ports = read(&[(0, "p1"), (5, "p2")]).expect("both");
        assert_eq!([7, 2, 1, 100].map(|number| ports.ours(number)), [Some(0), Some(5), None, None]);
        assert_eq!((ports.count(), ports.datapath()), (6, "dummy@ovs-dummy"));
    }

    #[test]
    fn a_port_of_another_bridge_is_missing() {
        let ports = read(&[(0, "p3"), (1, "p2")]).expect("a bridge");
        assert_eq!((ports.missing(), ports.ours(3), ports.ours(2)), (&["p3".to_owned()][..], None, Some(1)));
        let error = Ports::read(TEXT, "br2", &[]).expect_err("missing");
        assert_eq!(error.to_string(), "Open vSwitch has no bridge `br2`");
    }

    /// What goes through a patch port has the other bridge's numbers in the datapath.
    #[test]
    fn a_port_without_a_number_in_the_datapath_is_missing_and_no_other_one_is() {
        let text = "d:\n  br0:\n    p1 1/7: (dummy)\n    to-br1 2/none: (patch: peer=to-br0)\n";
        let names = [(0, "p1".to_owned()), (1, "to-br1".to_owned())];
        let ports = Ports::read(text, "br0", &names).expect("a bridge");
        assert_eq!((ports.ours(7), ports.missing(), ports.count()), (Some(0), &["to-br1".to_owned()][..], 1));
    }

    #[test]
    fn a_text_that_is_none_of_open_vswitch_is_malformed() {
        let twice = "d:\n  br0:\n    p1 1/1: (x)\n    p1 2/2: (x)\n";
        for text in [twice, "d:\n  br0:\n    p1\n", "d:\n  br0:\n    p1 1/x: (y)\n", "d:\n  br0:\n    p1 1/-1: (y)\n"] {
            assert!(matches!(Ports::read(text, "br0", &[]), Err(Error::Malformed { .. })), "{text}");
        }
    }
}
