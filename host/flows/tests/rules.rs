//! C5: a flow that was made for one frame never does to another what the rules would not.

#[path = "../../../fastpath/switch/tests/frames/mod.rs"]
mod frames;

use frames::{Network, Spec, Transport};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use sluice_abi::net::Hdr;
use sluice_control::{Answer, Manifest, Missed, SlowPath};
use sluice_flows::{FlowSetup, FlowSwitches};
use sluice_memory::PeerSlice;
use sluice_switch::{Action, FlowMemory, HEAD, Parsed, Reader, Seed};
use sluice_test_memory::zeroed;
use std::fmt::Write;

/// What a rule wants: an input port, whether a tag is there and which, the version of IP, protocol and source port.
#[derive(Clone, Debug)]
struct Wanted {
    priority: u16,
    in_port: Option<u16>,
    vlan: Option<Option<u16>>,
    address: Option<bool>,
    protocol: Option<u8>,
    port: Option<u16>,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let fields =
        (0u16..3, of(0u16..2), of(of(1u16..3)), of(any::<bool>()), of(prop_oneof![Just(6), Just(17), Just(1)]));
    (fields, of(1u16..4)).prop_map(|((priority, in_port, vlan, address, protocol), port)| {
        let port = port.filter(|_| protocol.is_some());
        Wanted { priority, in_port, vlan, address, protocol, port }
    })
}

impl Wanted {
    /// Returns the rule as it is written, the `number`th.
    fn text(&self, number: usize) -> String {
        let mut text = format!("[[flow]]\npriority = {}\n", self.priority);
        let mut line = |key: &str, value: String| writeln!(text, "{key} = {value}").expect("a string");
        if let Some(port) = self.in_port {
            line("in_port", format!("\"p{port}\""));
        }
        match self.vlan {
            Some(Some(vlan)) => line("vlan", vlan.to_string()),
            Some(None) => line("vlan", "\"none\"".into()),
            None => {}
        }
        match self.address {
            Some(true) => line("ip_src", "\"10.0.0.0/8\"".into()),
            Some(false) => line("ip_src", "\"2001:db8::/32\"".into()),
            None => {}
        }
        if let Some(protocol) = self.protocol {
            line("ip_proto", protocol.to_string());
        }
        if let Some(port) = self.port {
            line("src_port", port.to_string());
        }
        line("actions", format!("[\"push_vlan {number}\", \"output p1\"]"));
        text
    }

    /// Returns whether the rule is for a frame that came in by `in_port`.
    fn is_for(&self, in_port: u16, spec: &Spec) -> bool {
        let protocol = match spec.transport {
            Transport::Tcp { source, .. } => (6, Some(source)),
            Transport::Udp { source, .. } => (17, Some(source)),
            Transport::Icmp { kind, .. } => {
                (if matches!(spec.network, Network::Ipv6 { .. }) { 58 } else { 1 }, Some(kind.into()))
            }
            _ => unreachable!("not made"),
        };
        let version = match &spec.network {
            Network::Ipv4 { source, .. } => Some((true, source[0] == 10)),
            Network::Ipv6 { source, .. } => Some((false, source[..4] == [0x20, 1, 0xd, 0xb8])),
            _ => None,
        };
        let tag = spec.tags.first().map(|(_, control)| control & 0xfff);
        self.in_port.is_none_or(|port| port == in_port)
            && self.vlan.is_none_or(|vlan| vlan == tag)
            && self.address.is_none_or(|is_v4| version == Some((is_v4, true)))
            && self.protocol.is_none_or(|wanted| version.is_some() && protocol.0 == wanted)
            && self.port.is_none_or(|wanted| version.is_some() && protocol.1 == Some(wanted))
    }
}

fn spec() -> impl Strategy<Value = (u16, Spec)> {
    let network = prop_oneof![
        (prop_oneof![Just(10u8), Just(11)], 1u8..3).prop_map(|(first, ttl)| Network::Ipv4 {
            tos: 0,
            ttl,
            source: [first, 0, 0, 1],
            destination: [9; 4],
            options: 0,
            fragment: 0
        }),
        any::<bool>().prop_map(|inside| Network::Ipv6 {
            class: 0,
            label: 0,
            limit: 9,
            source: [if inside { 0x20 } else { 0x21 }, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            destination: [3; 16],
            extensions: vec![]
        }),
        Just(Network::Other(0x88cc)),
    ];
    let port = 1u16..4;
    let transport = (0u8..3, port).prop_map(|(kind, port)| match kind {
        0 => Transport::Tcp { source: port, destination: 9, flags: 2, options: 0 },
        1 => Transport::Udp { source: port, destination: 9 },
        _ => Transport::Icmp { kind: port as u8, code: 0 },
    });
    let tags = vec((any::<bool>(), 1u16..3), 0..2);
    (0u16..2, tags, network, transport).prop_map(|(in_port, tags, network, transport)| {
        (in_port, Spec { tags, nsh: None, network, transport, payload: vec![1, 2, 3], padding: 0 })
    })
}

struct World {
    host: FlowSwitches,
    reader: Reader<'static>,
    epoch: u64,
}

impl World {
    fn new(rules: &[Wanted]) -> Self {
        let vm = |name: &str, rest: &str| {
            format!("[[vm]]\nname = \"{name}\"\nram_mib = 4\nimage = \"i\"\ngate = \"direct\"\n{rest}\n")
        };
        let flows = "peers = [\"p0\", \"p1\"]\n[vm.flows]\nentries = 1024\nlists = 32\nswitch = \"f.toml\"";
        let text = [vm("s", flows), vm("p0", "peers = [\"s\"]"), vm("p1", "peers = [\"s\"]")].concat();
        let manifest = Manifest::parse(&text).expect("a manifest");
        let lens = FlowSetup::lens(manifest.vms[0].flows.as_ref().expect("flows")).expect("room");
        let memory: (PeerSlice<'static>, PeerSlice<'static>) = (zeroed(lens.0), zeroed(lens.1));
        let file: String = rules.iter().enumerate().map(|(number, rule)| rule.text(number)).collect();
        let mut host = FlowSwitches::new(3);
        host.add(&manifest, 0, FlowSetup { memory, seed: [5, 6], file: Some(&file), has_outside: false })
            .expect("a switch");
        host.start(0, 0);
        let flows = FlowMemory::open(memory.0, memory.1).expect("flow memory");
        let reader = Reader::new(flows.table(), flows.shape(), Seed::new([5, 6]), None).expect("a table");
        Self { host, reader, epoch: 0 }
    }

    /// Returns the number of the rule by whose entry a frame goes; no number if the entry drops it, and nothing without
    /// an entry.
    fn look_up(&mut self, in_port: u16, bytes: &[u8]) -> Option<Option<usize>> {
        self.epoch = self.reader.epoch();
        let parsed = Parsed::of(in_port, &bytes[..bytes.len().min(HEAD)], bytes.len() as u16);
        let mut hits = [None];
        self.reader.look_up(self.epoch, &[parsed], &mut hits);
        let list = self.reader.actions(&hits[0]?).expect("nobody writes");
        Some(match list.actions().next() {
            Some(Action::PushTag { control, .. }) => Some(control.into()),
            None => None,
            other => panic!("{other:?}"),
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn consistency_c5_no_flow_is_wider_than_the_rules(rules in vec(wanted(), 0..20), frames in vec(spec(), 1..60)) {
        let mut world = World::new(&rules);
        for (in_port, spec) in &frames {
            let bytes = spec.bytes();
            // The first of those with the highest priority; `max_by_key` returns the last.
            let fits = rules.iter().enumerate().rev().filter(|(_, rule)| rule.is_for(*in_port, spec));
            let right = fits.max_by_key(|(_, rule)| rule.priority).map(|(number, _)| number);
            if let Some(found) = world.look_up(*in_port, &bytes) {
                prop_assert_eq!(found, right, "by an entry of another frame: {:?}", spec);
                continue;
            }
            let frame = zeroed(bytes.len() as u64);
            frame.copy_from_slice(0, &bytes).expect("room");
            let missed = Missed { vm: 0, port: *in_port, number: 1, hdr: Hdr::default(), frame };
            prop_assert_eq!(world.host.missed(&missed, 1), Answer::Again);
            prop_assert_eq!(world.look_up(*in_port, &bytes), Some(right), "{:?}", spec);
        }
    }
}
