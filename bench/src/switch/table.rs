//! The flow entries of a table.

use super::frames::{Frame, Headers};
use anyhow::Result;
use serde::Serialize;
use sluice_switch::{Action, ActionList, EntryId, Key, Layers, Mask, Parsed, Writer};
use zerocopy::network_endian::U16;

/// The port that every flow leaves by.
pub const PORT: u16 = 1;
/// Entries of a table that does not have one for each flow.
pub const FEW: u32 = 32;

/// Which flow entries there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// One for all flows.
    Wide,
    /// One for each flow, under one mask.
    Exact,
    /// 32, under 16 masks, looked up in the subtables alone.
    Subtables,
    /// The same, with an exact-match front of twice as many places as there are flows, and at least 4,096.
    Front,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Wide, Self::Exact, Self::Subtables, Self::Front];

    /// Returns the number of masks.
    pub const fn masks(self) -> u16 {
        if matches!(self, Self::Subtables | Self::Front) { 16 } else { 1 }
    }

    /// Returns the number of entries that the table of `flows` flows has room for.
    pub const fn entries(self, flows: u32) -> u32 {
        let entries = if matches!(self, Self::Exact) { flows.next_power_of_two() } else { FEW };
        if entries < 4 { 4 } else { entries }
    }

    /// Adds the entries. Those of `flows` flows have theirs.
    pub fn fill(self, writer: &mut Writer<'_>, flows: u32) -> Result<()> {
        match self {
            Self::Wide => drop(self.insert(writer, 0)?),
            Self::Exact => (0..flows).try_for_each(|flow| self.insert(writer, flow).map(drop))?,
            Self::Subtables | Self::Front => (0..FEW).try_for_each(|flow| self.insert(writer, flow).map(drop))?,
        }
        writer.lease(u64::MAX);
        writer.publish();
        Ok(())
    }

    /// Adds the entry of `flow`, which sends its frames on as a router does.
    pub fn insert(self, writer: &mut Writer<'_>, flow: u32) -> Result<EntryId> {
        let actions =
            [Action::SetDestination([2; 6]), Action::SetSource([4; 6]), Action::DecrementTtl, Action::Output(PORT)];
        let actions = ActionList::new(&actions, PORT + 1)?;
        let base = Key { ether_type: U16::new(0xffff), in_port: 0xffff, ..Key::default() };
        let mask = match self {
            Self::Wide => base,
            Self::Exact => exact(base),
            Self::Subtables | Self::Front => one_of_sixteen(base, flow as u16 % 16),
        };
        let frame = Frame::of(Headers::Ipv4, flow);
        let parsed = Parsed::of(0, frame.bytes(), frame.bytes().len() as u16);
        Ok(writer.insert(&parsed.key, &Mask::closed(mask), &actions)?)
    }
}

/// Returns the mask of all that tells flows apart, and of what a switch sees besides.
fn exact(base: Key) -> Key {
    Key {
        destination: [0xff; 6],
        source: [0xff; 6],
        ipv4_source: [0xff; 4],
        ipv4_destination: [0xff; 4],
        layers: Layers::all(),
        source_port: U16::new(0xffff),
        destination_port: U16::new(0xffff),
        protocol: 0xff,
        tos: 0xff,
        ..base
    }
}

/// Returns the mask of the destination, and of one bit of the source.
fn one_of_sixteen(base: Key, number: u16) -> Key {
    let mut source = [0; 6];
    source[usize::from(number / 8)] = 1 << (number % 8);
    Key { destination: [0xff; 6], source, ..base }
}
