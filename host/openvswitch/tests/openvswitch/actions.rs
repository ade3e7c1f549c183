//! What the rules of a bridge become in its datapath, and from there in a table.

use crate::compare::ours;
use crate::frames::{ethernet, ipv4, ipv6, mac, nsh, tagged, tcp, udp};
use crate::lab::{Lab, Mirror, through};
use sluice_openvswitch::{DatapathFlow, OpenVswitch};
use sluice_switch::{Action, Layers, Nsh};
use std::collections::BTreeSet;

fn plain() -> Vec<u8> {
    ethernet(2, 1, 0x0800, &ipv4([1, 2], 17, 64, 0, &udp(1000, 53, b"four")))
}

/// Sends the frame by port 0 under these rules, and returns the flow that it made.
fn flow_of(lab: &Lab, switch: &mut OpenVswitch, rules: &[&str], frame: &[u8]) -> Result<DatapathFlow, String> {
    lab.rules(switch, rules);
    let mut mirror = Mirror::default();
    mirror.update_from_scratch(switch);
    mirror.refused.clear();
    let sent = through(switch, 0, frame);
    mirror.update(switch);
    // Tokens make flows, too, that go out more than once.
    let mut refused = mirror.refused.iter().map(|(_, why)| why.to_string());
    let refused = refused.find(|why| !why.contains("more than once"));
    let flow = mirror.flows.into_values().next().ok_or_else(|| refused.unwrap_or_else(|| "no flow".to_owned()))?;
    assert_eq!(ours([&flow].into_iter(), 0, frame).expect("it matches its own frame"), sent);
    Ok(flow)
}

#[track_caller]
fn actions_of(lab: &Lab, switch: &mut OpenVswitch, rules: &[&str], frame: &[u8]) -> Vec<Action> {
    let flow = flow_of(lab, switch, rules, frame).unwrap_or_else(|why| panic!("{rules:?}: {why}"));
    flow.actions.actions().collect()
}

#[test]
fn a_learned_address_is_a_flow_for_it_with_openvswitch() {
    let lab = Lab::new();
    let mut switch = lab.open();
    lab.rules(&switch, &["actions=NORMAL"]);
    // Nobody knows where 2 is, so all get the frame; then 2 answers, and both are known.
    let flooded: BTreeSet<_> = through(&mut switch, 0, &plain()).into_iter().map(|(port, _)| port).collect();
    assert_eq!(flooded, BTreeSet::from([1, 2, 3]));
    let answer = ethernet(1, 2, 0x0800, &ipv4([2, 1], 17, 64, 0, &udp(53, 1000, b"four")));
    assert_eq!(through(&mut switch, 2, &answer), [(0, answer.clone())]);
    let mut mirror = Mirror::default();
    // The flow that floods is revised, or replaced when the next frame comes.
    crate::lab::until("the flow is one for one port", || {
        through(&mut switch, 0, &plain());
        mirror.update(&mut switch);
        mirror.flows.len() == 2
    });
    let to = |address| mirror.flows.values().find(|flow| flow.key.destination == mac(address)).expect("a flow");
    assert_eq!(to(2).actions.actions().collect::<Vec<_>>(), [Action::Output(2)]);
    assert_eq!(to(1).actions.actions().collect::<Vec<_>>(), [Action::Output(0)]);
    assert_eq!((to(2).key.in_port, to(2).mask.key().in_port, to(1).key.in_port), (0, 0xffff, 2));
    // All packets of IPv4 between the two, without a tag, and whatever their ports.
    let mask = to(2).mask.key();
    assert_eq!((mask.source, mask.destination, mask.protocol, mask.ttl), ([0xff; 6], [0xff; 6], 0, 0));
    assert!(mask.layers.contains(Layers::TAG) && !to(2).key.layers.contains(Layers::TAG));
    assert!(mirror.refused.iter().any(|(_, why)| why.to_string().contains("more than once")));
}

#[test]
fn a_rule_that_changes_a_frame_is_a_list_of_actions_with_openvswitch() {
    let lab = Lab::new();
    let mut switch = lab.open();
    let mut actions = |rule: &str, frame: &[u8]| actions_of(&lab, &mut switch, &[rule], frame);
    let route = "ip,actions=dec_ttl,mod_dl_dst:02:00:00:00:00:99,output:3";
    let list = [Action::SetDestination(mac(0x99)), Action::DecrementTtl, Action::Output(2)];
    assert_eq!(actions(route, &plain()), list);
    let list = [Action::SetSource(mac(0x98)), Action::DecrementTtl, Action::Output(2)];
    let v6 = ethernet(2, 1, 0x86dd, &ipv6([1, 2], 6, 64, &tcp(1000, 80, 2)));
    assert_eq!(actions("ipv6,actions=dec_ttl,mod_dl_src:02:00:00:00:00:98,output:3", &v6), list);
    let push = Action::PushTag { service: false, control: 10 };
    let rule = "vlan_tci=0,actions=push_vlan:0x8100,set_field:4106->vlan_vid,output:2";
    assert_eq!(actions(rule, &plain()), [push, Action::Output(1)]);
    let tagged = tagged(&plain(), 0x8100, 10 | 3 << 13);
    assert_eq!(actions("dl_vlan=10,actions=pop_vlan,output:2", &tagged), [Action::PopTag, Action::Output(1)]);
    let push = Action::PushTag { service: false, control: 20 | 3 << 13 };
    let rule = "dl_vlan=10,actions=mod_vlan_vid:20,output:2";
    assert_eq!(actions(rule, &tagged), [Action::PopTag, push, Action::Output(1)]);
    assert_eq!(actions("ip,nw_dst=10.0.0.0/24,actions=drop", &plain()), []);
    let rule = "udp,actions=mod_nw_dst:192.0.2.1,mod_tp_dst:5353,output:2";
    let list = [Action::SetIpv4Destination([192, 0, 2, 1]), Action::SetDestinationPort(5353), Action::Output(1)];
    assert_eq!(actions(rule, &plain()), list);
}

#[test]
fn a_classifier_is_a_flow_that_adds_a_network_service_header_with_openvswitch() {
    let lab = Lab::new();
    let mut switch = lab.open();
    let rule = "ip,actions=encap(nsh(md_type=1)),set_field:0x1234->nsh_spi,set_field:254->nsh_si,encap(ethernet),\
        set_field:02:00:00:00:00:99->eth_dst,output:4";
    let push = Action::PushNsh(Nsh { path: 0x1234fe, ttl: 63, context: [0; 16] });
    let list = [push, Action::SetSource([0; 6]), Action::SetDestination(mac(0x99)), Action::Output(3)];
    assert_eq!(actions_of(&lab, &mut switch, &[rule], &plain()), list);
    // A forwarder, and the end of a chain.
    let frame = ethernet(2, 1, 0x894f, &nsh(0x1234fe, 63, &plain()));
    let rule = "dl_type=0x894f,nsh_spi=0x1234,nsh_si=254,actions=output:4";
    let flow = flow_of(&lab, &mut switch, &[rule], &frame).expect("a flow");
    assert_eq!((flow.key.nsh_path.get(), flow.key.layers), (0x1234fe, Layers::ETHERNET | Layers::NSH));
    let rule = "dl_type=0x894f,nsh_spi=0x1234,actions=decap(),decap(),output:2";
    let why = flow_of(&lab, &mut switch, &[rule], &frame).expect_err("it comes back");
    assert!(["no list has the action `pop_eth`", "its frames were in Open vSwitch before: recirc_id"].contains(&&*why));
}

#[test]
fn what_no_table_can_do_stays_with_open_vswitch_and_says_why_with_openvswitch() {
    let lab = Lab::new();
    let mut switch = lab.open();
    for (rules, words) in [
        (&["ip,actions=ct(table=1)", "table=1,actions=output:2"][..], &["`ct`", "were in Open vSwitch before"][..]),
        (&["ip,actions=controller"], &["`userspace`"]),
        (&["ip,actions=load:1->NXM_NX_PKT_MARK[],output:2"], &["skb_mark"]),
        (&["ip,pkt_mark=0,actions=output:2"], &["skb_mark"]),
        (&["ip,actions=push_mpls:0x8847,output:2"], &["`push_mpls`"]),
        (&["ip,actions=local"], &["by port 100 of Open vSwitch"]),
        (&["ip,actions=load:1->NXM_OF_IP_DST[0..7],output:2"], &["0.0.0.255"]),
    ] {
        let why = flow_of(&lab, &mut switch, rules, &plain()).expect_err("no flow for a table");
        assert!(words.iter().any(|word| why.contains(word)), "{rules:?}: {why}");
    }
    let length = [&mac(2)[..], &mac(1), &[0, 46], &[0x42; 46]].concat();
    let why = flow_of(&lab, &mut switch, &["actions=output:2"], &length).expect_err("a length");
    assert!(why.contains("a length for an EtherType"), "{why}");
}
