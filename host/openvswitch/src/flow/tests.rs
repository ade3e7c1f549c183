//! Flows as Open vSwitch 3.1 writes them, and as it does not.

use super::*;
use proptest::prelude::*;
use sluice_switch::{Action, Layers, Nsh};

const NONE: &str = "skb_priority(0/0),skb_mark(0/0),ct_state(0/0),ct_zone(0/0),ct_mark(0/0),ct_label(0/0),\
    recirc_id(0),dp_hash(0/0),in_port(1),packet_type(ns=0,id=0)";
const ANY_MAC: &str = "eth(src=02:00:00:00:00:01/00:00:00:00:00:00,dst=02:00:00:00:00:02/00:00:00:00:00:00)";
const UDP4: &str = "ipv4(src=10.0.0.1/0.0.0.0,dst=10.0.0.2/0.0.0.0,proto=17/0,tos=0/0,ttl=64/0,frag=no),\
    udp(src=1000/0,dst=53/0)";
const UFID: &str = "c668cceb-a1bd-4279-9c14-31ecae7c9694";

fn ports() -> Ports {
    Ports::new("netdev@ovs-netdev", [(1, 0), (2, 1), (3, 5)])
}

/// Returns the line of a flow that matches `rest` beside what all flows match.
fn line(rest: &str, actions: &str) -> String {
    format!(
        "ufid:{UFID}, {NONE},{rest}, packets:2, bytes:128, used:0.108s, flags:S., dp:ovs, actions:{actions}, \
         dp-extra-info:miniflow_bits(4,1)"
    )
}

fn read_one(rest: &str, actions: &str) -> std::result::Result<DatapathFlow, Refusal> {
    DatapathFlow::read(&line(&format!("{ANY_MAC},{rest}"), actions), &ports())
}

#[track_caller]
fn flow(rest: &str, actions: &str) -> DatapathFlow {
    read_one(rest, actions).unwrap_or_else(|why| panic!("{rest}: {why}"))
}

#[track_caller]
fn refused(rest: &str, actions: &str) -> String {
    read_one(rest, actions).expect_err(rest).to_string()
}

fn actions(flow: &DatapathFlow) -> Vec<Action> {
    flow.actions.actions().collect()
}

/// Returns the headers that the mask says are there, and those that it says are not.
fn layers(flow: &DatapathFlow) -> (Layers, Layers) {
    let (key, mask) = (flow.key.layers, flow.mask.key().layers);
    (key, mask.difference(key))
}

#[test]
fn a_field_without_a_mask_counts_in_all_of_its_bits_and_one_with_a_mask_in_those() {
    let text = "eth_type(0x0800),ipv4(src=10.0.0.1/255.0.0.0,dst=10.0.0.2,proto=6,tos=0x20/0xfc,ttl=64/0,frag=no),\
        tcp(src=1000/0xfff8,dst=80),tcp_flags(+syn-ack)";
    let flow = flow(text, "2");
    let mask = flow.mask.key();
    assert_eq!((flow.key.ipv4_source, mask.ipv4_source), ([10, 0, 0, 0], [255, 0, 0, 0]));
    assert_eq!((flow.key.ipv4_destination, mask.ipv4_destination), ([10, 0, 0, 2], [255; 4]));
    assert_eq!((flow.key.protocol, flow.key.tos, mask.tos, mask.ttl), (6, 0x20, 0xfc, 0));
    assert_eq!((flow.key.source_port.get(), mask.source_port.get()), (1000, 0xfff8));
    assert_eq!((flow.key.destination_port.get(), mask.destination_port.get()), (80, 0xffff));
    assert_eq!((flow.key.tcp_flags.get(), mask.tcp_flags.get()), (2, 0x12));
    assert_eq!((flow.key.in_port, mask.in_port), (0, 0xffff));
    assert_eq!((mask.destination, flow.key.destination), ([0; 6], [0; 6]));
    assert_eq!(actions(&flow), [Action::Output(1)]);
    assert_eq!(flow.ufid.to_string(), UFID);
}

#[test]
fn a_flow_without_a_tag_matches_no_frame_with_one() {
    let (there, not) = layers(&flow(&format!("eth_type(0x0800),{UDP4}"), "2"));
    assert_eq!(there, Layers::ETHERNET | Layers::IPV4);
    assert!(not.contains(Layers::TAG | Layers::NSH | Layers::FRAGMENT), "{not:?}");
}

#[test]
fn a_tag_is_of_its_kind_and_a_second_one_is_there_or_not() {
    let one = flow(&format!("eth_type(0x8100),vlan(vid=10,pcp=3/0x0),encap(eth_type(0x0800),{UDP4})"), "2");
    assert_eq!((one.key.tags[0].get(), one.mask.key().tags[0].get()), (10, 0xfff));
    let (there, not) = layers(&one);
    assert_eq!(there, Layers::ETHERNET | Layers::TAG | Layers::IPV4);
    assert!(not.contains(Layers::SERVICE_TAG | Layers::SECOND_TAG), "{not:?}");
    // One that Open vSwitch does not look into.
    let closed = flow("eth_type(0x88a8),vlan(vid=100/0x0,pcp=3),encap(eth_type(0x8100))", "2");
    assert_eq!((closed.key.tags[0].get(), closed.mask.key().tags[0].get()), (3 << 13, 7 << 13));
    let (there, not) = layers(&closed);
    assert_eq!(there, Layers::ETHERNET | Layers::TAG | Layers::SERVICE_TAG | Layers::SECOND_TAG);
    assert!(not.contains(Layers::SECOND_SERVICE_TAG) && closed.mask.key().ether_type.get() == 0, "{not:?}");
    let open = "eth_type(0x88a8),vlan(vid=1,pcp=0),encap(eth_type(0x8100),vlan(vid=2,pcp=0),encap(eth_type(0x88b5)))";
    let open = flow(open, "2");
    assert_eq!(open.key.tags.map(|tag| tag.get()), [1, 2]);
    assert_eq!((open.key.ether_type.get(), open.mask.key().ether_type.get()), (0x88b5, 0xffff));
}

#[test]
fn a_header_is_proven_where_a_field_of_it_counts() {
    let arp = flow("eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2/0.0.0.0,op=1,sha=02:00:00:00:00:01)", "2");
    assert!(arp.key.layers.contains(Layers::ARP) && arp.key.further[..6] == [2, 0, 0, 0, 0, 1]);
    assert_eq!((arp.key.protocol, arp.mask.key().protocol), (1, 0xff));
    let mpls = flow("eth_type(0x8847),mpls(label=100/0xfffff,tc=0/0,ttl=64/0x0,bos=1/1)", "2");
    assert_eq!((mpls.key.mpls.get(), mpls.mask.key().mpls.get()), (100 << 12 | 1 << 8, 0xf_ffff << 12 | 1 << 8));
    assert!(mpls.key.layers.contains(Layers::MPLS));
    let nsh = flow("eth_type(0x894f),nsh(np=3,spi=0x1234,si=254)", "2");
    assert_eq!((nsh.key.nsh_path.get(), nsh.mask.key().nsh_path.get()), (0x1234fe, u32::MAX));
    assert!(nsh.key.layers.contains(Layers::NSH) && nsh.mask.key().ether_type.get() == 0);
    let icmp = "eth_type(0x0800),ipv4(src=1.1.1.1/0.0.0.0,proto=1,frag=no),icmp(type=8,code=0/0)";
    let icmp = flow(icmp, "2");
    assert!(icmp.key.layers.contains(Layers::TRANSPORT) && icmp.mask.key().source_port.get() == 0xff);
}

/// An extension header that is not whole hides all but the addresses from Open vSwitch.
#[test]
fn an_ipv6_header_is_matched_where_all_behind_it_is_whole() {
    let v6 = |ip: &str, rest: &str| format!("eth_type(0x86dd),ipv6(src=::1/::,dst=::2/::,{ip}){rest}");
    let udp = flow(&v6("proto=17/0,hlimit=64,frag=no", ",udp(src=1/0,dst=2/0)"), "2");
    assert!(udp.key.layers.contains(Layers::IPV6 | Layers::TRANSPORT) && udp.mask.key().protocol == 0);
    let exact = flow(&v6("proto=17,hlimit=64,frag=no", ",udp(src=1/0,dst=2/0)"), "2");
    assert!(!exact.key.layers.contains(Layers::TRANSPORT) && exact.mask.key().protocol == 0xff);
    let other = flow(&v6("proto=50/0,hlimit=64/0,frag=no", ""), "2");
    assert_eq!((other.key.protocol, other.mask.key().protocol), (50, 0xff));
    let later = flow(&v6("proto=44/0,frag=later", ""), "2");
    assert_eq!((later.key.protocol, later.mask.key().protocol), (44, 0xff));
    for proto in [0, 43, 44, 51, 60] {
        let why = refused(&v6(&format!("proto={proto}/0,frag=no"), ""), "2");
        assert!(why.contains("extension header"), "{why}");
    }
}

#[test]
fn what_a_key_does_not_have_is_refused_and_never_left_out() {
    let v4 = format!("eth_type(0x0800),{UDP4}");
    for (from, to, why) in [
        ("skb_mark(0/0)", "skb_mark(0)", "it matches skb_mark, which no key has"),
        ("skb_priority(0/0)", "skb_priority(0x1/0x1)", "it matches skb_priority, which no key has"),
        ("dp_hash(0/0)", "dp_hash(0x5/0xf)", "it matches dp_hash, which no key has"),
        ("ct_state(0/0)", "ct_state(0x21/0x21)", "it matches ct_state, which no key has"),
        ("recirc_id(0)", "recirc_id(0x5)", "its frames were in Open vSwitch before: recirc_id"),
        ("recirc_id(0)", "recirc_id(0),tunnel(tun_id=0x1)", "its frames were in Open vSwitch before: tunnel"),
        ("in_port(1)", "in_port(100)", "its frames come in by port 100 of Open vSwitch, which is none of ours"),
        ("ns=0,id=0", "ns=1,id=0x800", "it matches packet_type, which no key has"),
        ("eth_type(0x0800)", "eth_type(0/0xffff)", "a length for an EtherType"),
        ("udp(src=1000/0", "gre(src=1000/0", "it matches gre, which no key has"),
        ("ttl=64/0", "colour=64/0", "its text is malformed at `64/0`"),
        ("in_port(1),", "", "no in_port"),
        ("recirc_id(0),", "", "no recirc_id"),
        ("dp_hash(0/0)", "dp_hash(0/0),dp_hash(0/0)", "its text is malformed at `dp_hash(0/0)`"),
        ("proto=17/0", "proto=300/0", "its text is malformed at `300/0`"),
        ("ttl=64/0", "ttl=64,ttl=64/0", "its text is malformed"),
        ("packets:2", "pockets:2", "its text is malformed at `pockets:2`"),
        ("udp(src=1000/0", "tcp(src=1000/0", "its text is malformed at `tcp`"),
    ] {
        let text = line(&format!("{ANY_MAC},{v4}"), "2");
        assert!(text.contains(from), "{from}");
        let refusal = DatapathFlow::read(&text.replacen(from, to, 1), &ports()).expect_err(to).to_string();
        assert!(refusal.contains(why), "{to}: {refusal}");
    }
}

#[test]
fn a_frame_that_was_not_tracked_matches_a_flow_for_such_frames() {
    let text = line(&format!("{ANY_MAC},eth_type(0x0800),{UDP4}"), "2").replace("ct_state(0/0)", "ct_state(0/0x20)");
    assert!(DatapathFlow::read(&text, &ports()).is_ok());
}

#[test]
fn headers_of_which_the_two_have_other_opinions_are_refused() {
    let v6 = "eth_type(0x86dd),ipv6(src=::1/::,dst=::2/::,proto=58,frag=no)";
    assert!(refused(&format!("{v6},icmpv6(type=135,code=0/0)"), "2").contains("icmpv6"));
    assert!(refused(&format!("{v6},icmpv6(type=135/0,code=0/0),nd(target=::2)"), "2").contains("nd"));
    assert!(read_one(&format!("{v6},icmpv6(type=135/0,code=0/0),nd(target=::2/::)"), "2").is_ok());
    assert!(refused("eth_type(0x894f),nsh(mdtype=1,spi=0x1,si=1)", "2").contains("nsh"));
    assert!(refused("eth_type(0x894f),nsh(spi=0x1,si=1,c1=0x1)", "2").contains("context"));
    assert!(refused("eth_type(0x8035),arp(sip=1.1.1.1)", "2").contains("RARP"));
    let labels = "mpls(label=1/0x0,tc=0/0,ttl=1/0x0,bos=0/0,label=2/0xfffff,tc=0/0,ttl=1/0x0,bos=1/0)";
    assert!(refused(&format!("eth_type(0x8847),{labels}"), "2").contains("a second label"));
    assert!(refused("eth_type(0x8100),vlan(vid=0,pcp=0/0x0,cfi=0),encap()", "2").contains("cut off"));
    assert!(refused("eth_type(0x8100)", "2").contains("cut off"));
}

#[test]
fn safe_actions_become_a_list() {
    let v4 = "eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2/0.0.0.0,proto=17,tos=0/0,ttl=64,frag=no),\
        udp(src=1/0,dst=2/0)";
    let set =
        flow(v4, "set(eth(dst=02:00:00:00:00:99)),set(ipv4(src=1.2.3.4,tos=0x20/0xfc,ttl=63)),set(udp(dst=54)),3");
    let tos = Action::SetTos { value: 0x20, mask: 0xfc };
    let expected =
        [Action::SetDestination([2, 0, 0, 0, 0, 0x99]), Action::SetIpv4Source([1, 2, 3, 4]), tos, Action::DecrementTtl];
    assert_eq!(actions(&set), [&expected[..], &[Action::SetDestinationPort(54), Action::Output(5)]].concat());
    assert!(set.key.layers.contains(Layers::TRANSPORT));
    assert_eq!(actions(&flow(v4, "set(ipv4(ttl=62)),2")), [Action::SetTtl(62), Action::Output(1)]);
    let push = Action::PushTag { service: true, control: 110 | 3 << 13 };
    assert_eq!(actions(&flow(v4, "push_vlan(tpid=0x88a8,vid=110,pcp=3),2")), [push, Action::Output(1)]);
    let tagged = format!("eth_type(0x8100),vlan(vid=10,pcp=3),encap({v4})");
    assert_eq!(actions(&flow(&tagged, "pop_vlan,2")), [Action::PopTag, Action::Output(1)]);
    assert_eq!(actions(&flow(v4, "drop")), []);
    assert_eq!(actions(&flow(v4, "set(eth(dst=02:00:00:00:00:99))")), []);
    let nsh = "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1234,si=254,c1=0x1,c2=0x0,c3=0x0,c4=0xff),\
        push_eth(src=00:00:00:00:00:00,dst=02:00:00:00:00:99),2";
    let mut context = [0; 16];
    (context[3], context[15]) = (1, 0xff);
    let [address, none] = [[2, 0, 0, 0, 0, 0x99], [0; 6]];
    let push = Action::PushNsh(Nsh { path: 0x1234fe, ttl: 63, context });
    let list = [push, Action::SetSource(none), Action::SetDestination(address), Action::Output(1)];
    assert_eq!(actions(&flow(v4, nsh)), list);
}

#[test]
fn an_action_that_no_list_has_is_refused() {
    let v4 = "eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0/0,ttl=1,frag=no),udp(src=1/0,dst=2/0)";
    for (list, why) in [
        ("2,3", "more than once"),
        ("2,set(eth(dst=02:00:00:00:00:99)),3", "more than once"),
        ("100", "by port 100"),
        ("ct,recirc(0x5)", "`ct`"),
        ("ct(commit),2", "`ct`"),
        ("recirc(0x5)", "`recirc`"),
        ("userspace(pid=0,controller(reason=1)),2", "`userspace`"),
        ("sample(sample=1.0%,actions(2)),2", "`sample`"),
        ("meter(0),2", "`meter`"),
        ("hash(hash_l4(0)),2", "`hash`"),
        ("trunc(64),2", "`trunc`"),
        ("clone(3),2", "`clone`"),
        ("pop_eth,pop_nsh(),recirc(0x4)", "`pop_eth`"),
        ("push_mpls(label=0,tc=0,ttl=64,bos=1,eth_type=0x8847),2", "`push_mpls`"),
        ("set(skb_mark(0x1)),2", "`set(skb_mark)`"),
        ("set(ipv4(dst=0.0.0.1/0.0.0.255)),2", "`0.0.0.1/0.0.0.255`"),
        ("set(ipv4(proto=6)),2", "`set(ipv4(proto))`"),
        ("set(tcp(dst=6)),2", "`set ports(dst=6)`"),
        ("set(ipv4(ttl=0)),2", "a time to live of 0"),
        ("pop_vlan,2", "`pop_vlan without a tag`"),
        ("push_nsh(flags=0,ttl=63,mdtype=2,np=3,spi=1,si=1,c1=0,c2=0,c3=0,c4=0),push_eth(),2", "mdtype=2"),
        ("push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=1,si=1,c1=0,c2=0,c3=0,c4=0),2", "without push_eth"),
        ("drop,2", "`drop`"),
        ("", "``"),
    ] {
        let refusal = refused(v4, list);
        assert!(refusal.contains(why), "{list}: {refusal}");
    }
}

/// The checksum of a header that is not proven can't be kept right.
#[test]
fn an_address_is_set_where_its_checksum_is_proven() {
    let v4 = |proto| format!("eth_type(0x0800),ipv4(src=10.0.0.1,proto={proto},frag=no)");
    let list = "set(ipv4(src=1.2.3.4)),2";
    assert!(flow(&v4(6), list).key.layers.contains(Layers::TRANSPORT));
    assert!(!flow(&v4(47), list).key.layers.contains(Layers::TRANSPORT));
    assert!(refused(&v4(136), list).contains("checksum"));
    let later = "eth_type(0x0800),ipv4(src=10.0.0.1,proto=6,frag=later)";
    assert!(!flow(later, list).key.layers.contains(Layers::TRANSPORT));
}

/// Reads all of a dump, a line at a time.
fn read(text: &str, ports: &Ports, before: &BTreeMap<Ufid, Known>) -> Result<BTreeMap<Ufid, Known>> {
    let mut dump = Dump::new(text.to_owned());
    while dump.go_on(1, ports, before)? {}
    Ok(dump.all())
}

#[test]
fn a_dump_is_read_by_name_and_counters_of_threads_are_added() {
    let text = line(&format!("{ANY_MAC},eth_type(0x0800),{UDP4}"), "2");
    let dump = format!("flow-dump from the main thread:\n{text}\nflow-dump from pmd on cpu core: 1\n{text}\n");
    let all = read(&dump, &ports(), &BTreeMap::new()).expect("a dump");
    let known = &all[&Ufid(0xc668_cceb_a1bd_4279_9c14_31ec_ae7c_9694)];
    let counters = Counters { packets: 4, bytes: 256, used: Some(Duration::from_millis(108)) };
    assert_eq!((all.len(), known.counters), (1, counters));
    let other = dump.replacen("actions:2", "actions:3", 1);
    let all = read(&other, &ports(), &BTreeMap::new()).expect("a dump");
    assert_eq!(all.values().next().expect("one").flow, Err(Refusal::Differs));
    assert!(matches!(
        read(&dump.replace("ufid:c", "ufid:x"), &ports(), &BTreeMap::new()),
        Err(Error::Malformed { .. })
    ));
}

/// Whoever remembers what a text said finds the same flow as who reads it anew.
#[test]
fn a_flow_that_is_as_it_was_is_not_read_again_and_any_other_is() {
    let text = line(&format!("{ANY_MAC},eth_type(0x0800),{UDP4}"), "2");
    let first = read(&text, &ports(), &BTreeMap::new()).expect("a dump");
    for (from, to) in [
        ("packets:2", "packets:9"),
        ("used:0.108s", "used:never"),
        ("actions:2", "actions:3"),
        ("proto=17/0", "proto=17"),
        ("dp:ovs", "dp:ovs, skb_mark(0x1)"),
        ("dp:ovs", "dp:ovs,skb_mark(0x1)"),
        ("packets:2", "pockets:2"),
        ("bytes:128", "bytes:128x"),
    ] {
        let text = text.replacen(from, to, 1);
        let [kept, anew] = [&first, &BTreeMap::new()].map(|before| read(&text, &ports(), before).expect("a dump"));
        let of =
            |all: &BTreeMap<Ufid, Known>| all.values().map(|it| (it.flow.clone(), it.counters)).collect::<Vec<_>>();
        assert_eq!(of(&kept), of(&anew), "{to}");
    }
    // One with an attribute between its counters is not remembered by what is around them.
    let hidden = text.replacen("dp:ovs", "dp:ovs, skb_mark(0x1)", 1);
    let before = read(&hidden, &ports(), &BTreeMap::new()).expect("a dump");
    assert!(read(&text, &ports(), &before).expect("a dump").values().all(|known| known.flow.is_ok()));
}

/// Returns some text with one part taken out, doubled or replaced by what is in another place.
fn damaged(text: &str, from: usize, len: usize, into: usize) -> String {
    let mut all: Vec<char> = text.chars().collect();
    let (from, into) = (from % all.len(), into % all.len());
    let part: Vec<_> = all.drain(from..(from + len).min(all.len())).collect();
    all.splice(into.min(all.len())..into.min(all.len()), part);
    all.into_iter().collect()
}

proptest! {
    /// A text that is damaged anywhere is read or refused, and what is read is as a table takes it.
    #[test]
    fn no_text_makes_it_panic(from in 0usize..1_000, len in 0usize..40, into in 0usize..1_000, rest in "\\PC{0,40}") {
        let v4 = "eth_type(0x8100),vlan(vid=10,pcp=3),encap(eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,\
            tos=0/0xfc,ttl=64,frag=no),tcp(src=1,dst=2),tcp_flags(+syn-ack))";
        let text = line(&format!("{ANY_MAC},{v4}"), "pop_vlan,set(ipv4(src=1.2.3.4,ttl=63)),set(tcp(dst=5)),2");
        for text in [damaged(&text, from, len, into), text.replacen("flags:S.", &rest, 1)] {
            if let Ok(flow) = DatapathFlow::read(&text, &ports()) {
                prop_assert_eq!(Mask::new(*flow.mask.key()), Ok(flow.mask));
                prop_assert_eq!(flow.key, flow.key.masked(flow.mask.key()));
                prop_assert_eq!(flow.mask.key().in_port, u16::MAX);
                prop_assert!(flow.key.layers.contains(Layers::ETHERNET));
                prop_assert_eq!(ActionList::check(*flow.actions.words(), ports().count()), Ok(flow.actions));
            }
        }
    }
}
