//! The built-in full switch: it learns which station is at which port. See: IEEE 802.1Q clause 8.7 "The Learning
//! Process", 8.8 "The Filtering Database".
//!
//! A flow is what comes in by one port, from one station to another. So a station that appears, or moves, is seen: its
//! frames match no flow.

use crate::table::{Flow, FlowTable};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use sluice_abi::directory::MAX_PEERS;
use sluice_control::Answer;
use sluice_switch::{Action, ActionList, Key, Layers, Mask, TableError};

/// Largest number of stations of one port, so that no port takes the room of another.
const PER_PORT: usize = 1024;

/// Where a station was seen.
#[derive(Clone, Copy, Debug)]
struct Station {
    port: u16,
    seen: u64,
}

/// A learning switch.
#[derive(Debug)]
pub struct Learning {
    /// The ports that frames can go to, by bits.
    ports: u64,
    stations: BTreeMap<[u8; 6], Station>,
    /// Time after which a station is forgotten.
    ageing: u64,
}

impl Learning {
    pub fn new(ports: u64, ageing: u64) -> Self {
        Self { ports, stations: BTreeMap::new(), ageing }
    }

    /// Decides about a frame that came in by `port` and starts with `head`.
    pub fn missed(&mut self, table: &mut FlowTable<'_>, port: u16, head: &[u8], now: u64) -> Answer {
        let Some([a, b, c, d, e, f, g, h, i, j, k, l]) = head.first_chunk().copied() else { return Answer::Nothing };
        let (destination, source) = ([a, b, c, d, e, f], [g, h, i, j, k, l]);
        if is_group(source) {
            return Answer::Nothing;
        }
        self.learn(table, source, port, now);
        let known = self.stations.get(&destination).filter(|_| !is_group(destination));
        match known.map(|station| station.port) {
            Some(to) if to == port || usize::from(to) >= MAX_PEERS => Answer::Nothing,
            Some(to) => add(table, (port, destination, source), to, now),
            None => Answer::Output(self.ports & !1u64.checked_shl(port.into()).unwrap_or(0)),
        }
    }

    fn learn(&mut self, table: &mut FlowTable<'_>, source: [u8; 6], port: u16, now: u64) {
        let known = self.stations.get(&source).copied();
        if known.is_none() && self.stations.values().filter(|station| station.port == port).count() >= PER_PORT {
            return;
        }
        if known.is_some_and(|station| station.port != port) {
            table.remove_all(|flow| flow.key.source == source || flow.key.destination == source);
            table.publish();
        }
        self.stations.insert(source, Station { port, seen: now });
    }

    /// Forgets stations that sent nothing for a while, and the flows to and from them.
    pub fn age(&mut self, table: &mut FlowTable<'_>, now: u64) {
        for flow in table.flows() {
            if let Some(station) = self.stations.get_mut(&flow.key.source) {
                station.seen = station.seen.max(flow.used().min(now));
            }
        }
        let is_old = |station: &Station| now.saturating_sub(station.seen) > self.ageing;
        let old: Vec<_> = self.stations.iter().filter(|(_, it)| is_old(it)).map(|(address, _)| *address).collect();
        for address in old {
            self.stations.remove(&address);
            table.remove_all(|flow: &Flow| flow.key.destination == address);
        }
    }
}

/// Adds the flow of frames from port `port`, to `destination` and from `source`, to port `to`.
fn add(table: &mut FlowTable<'_>, flow: (u16, [u8; 6], [u8; 6]), to: u16, now: u64) -> Answer {
    let (in_port, destination, source) = flow;
    let key = Key { in_port, destination, source, layers: Layers::ETHERNET, ..Key::default() };
    let mask = Key { in_port: !0, destination: [0xff; 6], source: [0xff; 6], ..Key::default() };
    let Ok(actions) = ActionList::new(&[Action::Output(to)], MAX_PEERS as u16) else { return Answer::Nothing };
    match table.insert(&key, &Mask::closed(mask), &actions, now) {
        Ok(_) | Err(TableError::Duplicate(_)) => {
            table.publish();
            Answer::Again
        }
        Err(_) => Answer::Output(1 << to),
    }
}

const fn is_group(address: [u8; 6]) -> bool {
    address[0] & 1 == 1
}
