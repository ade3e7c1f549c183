//! The built-in full switch: it learns which station is at which port. See: IEEE 802.1Q clause 8.7 "The Learning
//! Process", 8.8 "The Filtering Database".
//!
//! A flow is what comes in by one port, from one station to another. So a station that appears, or moves, is seen: its
//! frames match no flow.
//!
//! A VM may say anything of its ports, and send from any address. So what a frame costs does not grow with the number
//! of stations and flows: those of a station that moved are found by its address, and each of them was a frame before.

use crate::table::FlowTable;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use sluice_abi::directory::MAX_PEERS;
use sluice_control::Answer;
use sluice_switch::{Action, ActionList, EntryId, Key, Layers, Mask, TableError};

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
    /// Number of stations of each port.
    counts: BTreeMap<u16, usize>,
    /// The flows from and to each station, and perhaps some that are gone.
    flows: BTreeMap<[u8; 6], Vec<EntryId>>,
    /// Time after which a station is forgotten.
    ageing: u64,
}

impl Learning {
    pub fn new(ports: u64, ageing: u64) -> Self {
        Self { ports, stations: BTreeMap::new(), counts: BTreeMap::new(), flows: BTreeMap::new(), ageing }
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
            Some(to) => self.add(table, (port, destination, source), to, now),
            None => Answer::Output(self.ports & !1u64.checked_shl(port.into()).unwrap_or(0)),
        }
    }

    fn learn(&mut self, table: &mut FlowTable<'_>, source: [u8; 6], port: u16, now: u64) {
        let known = self.stations.get(&source).copied();
        if known.is_some_and(|station| station.port != port) {
            self.forget(table, source);
            table.publish();
        }
        let count = self.counts.entry(port).or_default();
        if !self.stations.contains_key(&source) {
            if *count >= PER_PORT {
                return;
            }
            *count += 1;
        }
        self.stations.insert(source, Station { port, seen: now });
    }

    /// Forgets a station, and the flows from and to it.
    fn forget(&mut self, table: &mut FlowTable<'_>, address: [u8; 6]) {
        if let Some(station) = self.stations.remove(&address) {
            self.counts.entry(station.port).and_modify(|count| *count = count.saturating_sub(1));
        }
        for id in self.flows.remove(&address).unwrap_or_default() {
            table.remove(id);
        }
    }

    /// Adds the flow of frames from port `port`, to `destination` and from `source`, to port `to`.
    fn add(&mut self, table: &mut FlowTable<'_>, flow: (u16, [u8; 6], [u8; 6]), to: u16, now: u64) -> Answer {
        let (in_port, destination, source) = flow;
        let key = Key { in_port, destination, source, layers: Layers::ETHERNET, ..Key::default() };
        let mask = Key { in_port: !0, destination: [0xff; 6], source: [0xff; 6], ..Key::default() };
        let Ok(actions) = ActionList::new(&[Action::Output(to)], MAX_PEERS as u16) else { return Answer::Nothing };
        match table.insert(&key, &Mask::closed(mask), &actions, now) {
            Ok(id) => {
                for address in [source, destination] {
                    self.flows.entry(address).or_default().push(id);
                }
                table.publish();
                Answer::Again
            }
            Err(TableError::Duplicate(_)) => Answer::Again,
            Err(_) => Answer::Output(1 << to),
        }
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
        old.into_iter().for_each(|address| self.forget(table, address));
        self.flows.retain(|_, ids| {
            ids.retain(|id| table.has(*id));
            !ids.is_empty()
        });
    }
}

const fn is_group(address: [u8; 6]) -> bool {
    address[0] & 1 == 1
}
