//! Flows that a table has no room for.

use sluice_openvswitch::{DatapathFlow, Ufid};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

/// Flows that are tried again in one round, at most.
const TRIES: usize = 1_024;

/// The flows, of which each is tried again after some rounds: room comes when others go.
#[derive(Default)]
pub struct Waiting {
    flows: BTreeMap<Ufid, DatapathFlow>,
    /// The one that was tried last.
    last: Ufid,
}

impl Waiting {
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    pub fn insert(&mut self, flow: DatapathFlow) {
        self.flows.insert(flow.ufid, flow);
    }

    pub fn remove(&mut self, ufid: Ufid) {
        self.flows.remove(&ufid);
    }

    /// Returns the flows to try in this round: those behind the one that was tried last, and then from the first one
    /// on. They still wait.
    pub fn next_round(&mut self) -> Vec<DatapathFlow> {
        let (behind, before) = ((Excluded(self.last), Unbounded), (Unbounded, Included(self.last)));
        let turns = self.flows.range(behind).chain(self.flows.range(before));
        let flows: Vec<_> = turns.take(TRIES).map(|(_, flow)| *flow).collect();
        self.last = flows.last().map_or(self.last, |flow| flow.ufid);
        flows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_openvswitch::Ports;

    fn flow(number: usize) -> DatapathFlow {
        let line = format!(
            "ufid:{number:08x}-0000-0000-0000-000000000000, recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth(),\
             eth_type(0x88b6), packets:0, bytes:0, used:never, dp:ovs, actions:drop"
        );
        DatapathFlow::read(&line, &Ports::new("d", [(1, 0)])).expect("a flow")
    }

    #[test]
    fn a_round_tries_some_of_the_flows_and_each_has_its_turn() {
        let (mut waiting, all) = (Waiting::default(), 2 * TRIES + 100);
        assert!(waiting.next_round().is_empty());
        (0..all).for_each(|number| waiting.insert(flow(number)));
        let numbers = |flows: Vec<DatapathFlow>| flows.iter().map(|it| (it.ufid.0 >> 96) as usize).collect::<Vec<_>>();
        let rounds = [(); 4].map(|()| numbers(waiting.next_round()));
        assert!(rounds.iter().all(|round| round.len() == TRIES));
        // The flow with the number 0 is behind the one that was tried last: there was none.
        let turns: Vec<_> = (1..all).chain(0..all).chain(0..all).take(4 * TRIES).collect();
        assert_eq!(rounds.concat(), turns);
        (0..all - 3).for_each(|number| waiting.remove(flow(number).ufid));
        let mut few = numbers(waiting.next_round());
        few.sort_unstable();
        assert_eq!((few, waiting.len()), (vec![all - 3, all - 2, all - 1], 3));
    }
}
