//! Frames that a flow of ours matches: what we do is what Open vSwitch does, by `ofproto/trace`, which looks at the
//! rules alone, and by what it sends.

use crate::frames::{Random, any};
use crate::lab::{Lab, Mirror, PORTS, through, train};
use sluice::{BufferLen, Mempool, PacketMemory};
use sluice_abi::Gpa;
use sluice_memory::CacheLine;
use sluice_openvswitch::{DatapathFlow, OpenVswitch};
use sluice_switch::{ActionList, Head, Layers, Parsed, Reader, Seed, Shape, TableError, Verdict, Writer};
use sluice_test_memory::zeroed;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Returns what the flow that matches the frame makes of it: the port, or nothing if it is dropped, and the frame;
/// `None` if none matches it.
pub fn ours<'f>(flows: impl Iterator<Item = &'f DatapathFlow>, port: u16, bytes: &[u8]) -> Option<Vec<(u16, Vec<u8>)>> {
    let memory = PacketMemory::new(Gpa(0), zeroed(8 << 10)).expect("small");
    let mut free = [0; 2];
    let pool = Mempool::new(memory, BufferLen::KiB4, &mut free).expect("room");
    let mut burst = pool.burst();
    let (mut head, mut frame) = (Head::EMPTY, burst.push_bytes(bytes).expect("room"));
    head.load(&frame);
    let parsed = Parsed::of(port, head.bytes(), frame.len());
    let matching: Vec<_> = flows.filter(|flow| parsed.key.masked(flow.mask.key()) == flow.key).collect();
    let flow = matching.first()?;
    assert!(matching.iter().all(|it| it.actions == flow.actions), "flows do not agree: {matching:?}");
    let Verdict::Output(port) = flow.actions.apply(&mut frame, &mut head, &parsed) else { return Some(Vec::new()) };
    let mut after = vec![0; frame.len().into()];
    frame.copy_to_slice(0, &mut after).expect("all of it");
    Some(vec![(port, after)])
}

/// A table, as a VM reads it, with the flows of the masks that most flows have: it has not as many as there are.
struct Table<'m> {
    reader: Reader<'m>,
    epoch: u64,
    /// The actions of each flow in it, by the number of its entry.
    lists: BTreeMap<u32, ActionList>,
}

const SHAPE: Shape = Shape { entries: 2_048, lists: 512 };

impl<'m> Table<'m> {
    fn of<'f>(memory: &'m [CacheLine], flows: impl Iterator<Item = &'f DatapathFlow>) -> Self {
        let seed = Seed::new([5, 7]);
        let mut writer = Writer::new(memory, SHAPE, seed).expect("a table");
        let mut lists = BTreeMap::new();
        // The order of their names is by chance: another one each time that Open vSwitch starts.
        let flows: Vec<_> = flows.collect();
        let mut order = flows.clone();
        order.sort_by_key(|flow| Reverse(flows.iter().filter(|it| it.mask == flow.mask).count()));
        for flow in order {
            match writer.insert(&flow.key, &flow.mask, &flow.actions) {
                Ok(id) => _ = lists.insert(id.index(), flow.actions),
                Err(TableError::Masks | TableError::Duplicate(_)) => {}
                Err(why) => panic!("{why}"),
            }
        }
        let reader = Reader::new(memory, SHAPE, seed, None).expect("a table");
        Self { reader, epoch: writer.publish(), lists }
    }

    /// Returns the actions of what a frame hits.
    fn hit(&mut self, parsed: &Parsed) -> Option<ActionList> {
        let mut hits = [None; 1];
        self.reader.look_up(self.epoch, &[*parsed], &mut hits);
        let hit = hits[0]?;
        let list = self.reader.actions(&hit).expect("nobody changes it");
        assert_eq!(self.lists[&hit.entry], list);
        Some(list)
    }
}

/// Returns by which of our ports the rules alone send a frame, by the actions at the end of a trace.
fn traced(lab: &Lab, numbers: &[String], port: u16, bytes: &[u8]) -> Vec<u16> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let trace = lab.call("ofproto/trace", &["br0", &format!("in_port={}", port + 1), &hex]);
    let actions = trace.lines().find_map(|line| line.strip_prefix("Datapath actions: ")).expect("actions");
    let outputs = actions.split(',').filter_map(|it| numbers.iter().position(|number| number == it));
    outputs.map(|it| it as u16).collect()
}

/// Returns the numbers that the ports have in the datapath.
fn numbers(lab: &Lab) -> Vec<String> {
    let text = lab.call("dpif/show", &[]);
    let number = |port: u16| {
        let rest = text.split_once(&format!("    p{port} {}/", port + 1)).expect("a port").1;
        rest.split_once(':').expect("a number").0.to_owned()
    };
    (0..PORTS).map(number).collect()
}

/// What was compared.
#[derive(Debug, Default)]
struct Tally {
    frames: usize,
    /// Those that a flow of ours matched.
    hits: usize,
    /// Of those, the ones that were dropped, and the ones that were changed.
    dropped: usize,
    changed: usize,
    /// Those of which the table had the flow.
    table: usize,
    flows: usize,
    refused: usize,
}

/// Frames of one set of rules: that make flows, and others.
const FIRST: usize = 500;
const OTHERS: usize = 1_200;

/// Gives Open vSwitch frames until its datapath has flows for most of them, and compares what comes of others.
fn compare(lab: &Lab, switch: &mut OpenVswitch, rules: &[&str], seed: u64, tally: &mut Tally) {
    lab.rules(switch, rules);
    let (mut random, numbers, mut mirror) = (Random(seed), numbers(lab), Mirror::default());
    let frames: Vec<_> = (0..FIRST).map(|_| (random.below(2) as u16, any(&mut random))).collect();
    train(switch, &frames);
    mirror.update_from_scratch(switch);
    let memory: Vec<_> = (0..SHAPE.lines()).map(|_| CacheLine::default()).collect();
    let mut table = Table::of(&memory, mirror.flows.values());
    (tally.flows, tally.refused) = (tally.flows + mirror.flows.len(), tally.refused + mirror.refused.len());
    for _ in 0..OTHERS {
        let (port, frame) = (random.below(2) as u16, any(&mut random));
        tally.frames += 1;
        tally.table += usize::from(agree(&mut table, &mirror, port, &frame));
        let Some(ours) = ours(mirror.flows.values(), port, &frame) else { continue };
        let outputs: Vec<_> = ours.iter().map(|(port, _)| *port).collect();
        assert_eq!(outputs, traced(lab, &numbers, port, &frame), "by {port}: {frame:02x?}");
        let theirs = through(switch, port, &frame);
        assert!(ours == theirs || is_right(&frame, &ours, &theirs), "{frame:02x?}\n{ours:02x?}\n{theirs:02x?}");
        tally.hits += 1;
        tally.dropped += usize::from(ours.is_empty());
        tally.changed += usize::from(ours.first().is_some_and(|(_, after)| *after != frame));
    }
}

/// Returns whether ours differs from theirs by a checksum alone that Open vSwitch 3.1 should have changed, and did not,
/// or the other way round. As an address changes it leaves the one behind an IPv6 routing header, and behind the
/// fragment header of a whole packet; and it changes two bytes in the middle of a segment, in a later fragment of IPv4.
fn is_right(frame: &[u8], ours: &[(u16, Vec<u8>)], theirs: &[(u16, Vec<u8>)]) -> bool {
    let Parsed { key, network, transport, .. } = Parsed::of(0, frame, frame.len() as u16);
    let (network, is_later) = (usize::from(network), key.layers.contains(Layers::IPV4 | Layers::LATER));
    let start = if is_later { network + 4 * usize::from(frame[network] & 15) } else { transport.into() };
    let at = start + if key.protocol == 6 { 16 } else { 6 };
    let ([(_, ours)], [(_, theirs)]) = (ours, theirs) else { return false };
    let two = |bytes: &[u8]| bytes.get(at..at + 2).map(<[u8]>::to_vec);
    let mut as_theirs = ours.clone();
    let Some((new, old)) = as_theirs.get_mut(at..at + 2).zip(two(theirs)) else { return false };
    new.copy_from_slice(&old);
    let is_behind = key.layers.contains(Layers::IPV6) && matches!(frame[network + 6], 0 | 43 | 44 | 51 | 60);
    let untouched = if is_later { ours } else { theirs };
    as_theirs == *theirs && (is_later || is_behind) && two(untouched) == two(frame)
}

/// Returns whether the table has a flow for a frame: if so, with the actions of all flows that match it.
fn agree(table: &mut Table<'_>, mirror: &Mirror, port: u16, frame: &[u8]) -> bool {
    let parsed = Parsed::of(port, frame, frame.len() as u16);
    let hit = table.hit(&parsed);
    let all = mirror.flows.values().filter(|flow| parsed.key.masked(flow.mask.key()) == flow.key);
    assert!(hit.is_none_or(|list| all.clone().count() > 0 && all.clone().all(|flow| flow.actions == list)));
    hit.is_some()
}

/// Rules that look at all that a key has, in an order that makes masks of many kinds.
const FIELDS: [&str; 24] = [
    "priority=90,ip,ip_frag=later,actions=drop",
    "priority=90,ipv6,ip_frag=first,actions=output:4",
    "priority=80,udp,tp_dst=53,nw_dst=10.0.0.2,actions=output:2",
    "priority=80,udp6,tp_dst=53,actions=output:3",
    "priority=80,tcp,tcp_flags=+syn-ack,actions=drop",
    "priority=80,tcp6,tcp_flags=-syn,actions=output:2",
    "priority=75,udp,tp_src=0x3e8/0xfffe,nw_dst=10.0.0.9,actions=output:4",
    "priority=75,ip,nw_proto=47,actions=output:4",
    "priority=70,icmp,icmp_type=8,actions=output:4",
    "priority=70,icmp6,icmp_type=135,actions=output:4",
    "priority=70,sctp,tp_src=1000,actions=output:3",
    "priority=60,ip,nw_src=10.0.0.128/25,nw_tos=32,actions=output:3",
    "priority=60,ipv6,ipv6_label=5,actions=drop",
    "priority=60,ipv6,ipv6_dst=fd00::9,actions=drop",
    "priority=55,ip,nw_ttl=1,actions=drop",
    "priority=50,arp,arp_op=1,arp_tpa=10.0.0.2,actions=output:2",
    "priority=50,arp,arp_sha=02:00:00:00:00:01,actions=output:4",
    "priority=50,mpls,mpls_label=100,actions=output:2",
    "priority=50,dl_type=0x894f,nsh_spi=0x1234,nsh_si=254,actions=output:4",
    "priority=40,dl_vlan=10,dl_vlan_pcp=3,actions=output:2",
    "priority=40,dl_vlan=100,actions=drop",
    "priority=30,dl_dst=02:00:00:00:00:02,actions=output:2",
    "priority=20,dl_dst=02:00:00:00:00:00/ff:00:00:00:00:f0,dl_src=02:00:00:00:00:04,actions=output:4",
    "priority=0,in_port=1,actions=output:3",
];

/// Rules that change frames.
const CHANGES: [&str; 13] = [
    "priority=90,udp,nw_dst=10.0.0.1,actions=mod_nw_dst:192.0.2.1,mod_tp_dst:5353,output:2",
    "priority=90,tcp,nw_dst=10.0.0.1,actions=mod_nw_src:192.0.2.7,mod_tp_src:99,output:2",
    "priority=85,ip,nw_dst=10.0.0.2,actions=dec_ttl,mod_dl_dst:02:00:00:00:00:99,output:2",
    "priority=85,ipv6,ipv6_dst=fd00::2,actions=dec_ttl,mod_dl_src:02:00:00:00:00:98,output:3",
    "priority=85,udp6,ipv6_dst=fd00::1,actions=set_field:2001:db8::1->ipv6_dst,set_field:7->udp_dst,output:3",
    "priority=85,tcp6,ipv6_dst=fd00::1,actions=set_field:2001:db8::1->ipv6_src,output:3",
    "priority=80,ip,nw_dst=10.0.0.3,actions=mod_nw_tos:64,output:4",
    "priority=80,ipv6,ipv6_dst=fd00::3,actions=set_field:46->ip_dscp,output:4",
    "priority=70,dl_vlan=10,actions=pop_vlan,output:2",
    "priority=70,dl_vlan=100,actions=mod_vlan_vid:200,output:3",
    "priority=60,vlan_tci=0,ip,actions=push_vlan:0x88a8,set_field:4106->vlan_vid,output:4",
    "priority=60,vlan_tci=0,ipv6,actions=encap(nsh(md_type=1)),set_field:0x1234->nsh_spi,set_field:254->nsh_si,\
     encap(ethernet),set_field:02:00:00:00:00:97->eth_dst,output:4",
    "priority=0,actions=in_port",
];

#[test]
fn what_a_table_does_is_what_open_vswitch_does_with_openvswitch() {
    let lab = Lab::new();
    let mut switch = lab.open();
    let mut tally = Tally::default();
    for (seed, rules) in [(1, &FIELDS[..]), (2, &CHANGES)] {
        compare(&lab, &mut switch, rules, seed, &mut tally);
    }
    // It looks into two tags, too.
    lab.vsctl(&["set", "Open_vSwitch", ".", "other_config:vlan-limit=2"]);
    for (seed, rules) in [(3, &FIELDS[..]), (4, &CHANGES)] {
        compare(&lab, &mut switch, rules, seed, &mut tally);
    }
    println!("{tally:?}");
    assert!(tally.frames >= 4_000 && tally.hits >= 1_000 && tally.table >= 500, "{tally:?}");
    assert!(tally.dropped >= 100 && tally.changed >= 200, "{tally:?}");
}
