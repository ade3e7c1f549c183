use super::*;
use sluice_switch::Action;

const PORTS: [(u16, &str); 2] = [(0, "a"), (64, "only-sends")];

fn one(keys: &str) -> Result<Vec<Rule>, String> {
    parse(&alloc::format!("[[flow]]\n{keys}"), &PORTS).map_err(|error| error.to_string())
}

#[test]
fn a_rule_has_the_bits_of_what_it_names() {
    let rules =
        one("in_port = \"only-sends\"\neth_src = \"02:00:00:00:00:00/ff:00:00:00:00:00\"\nvlan = 7\nactions = []");
    let [rule] = &rules.expect("a rule")[..] else { panic!("one rule") };
    let layers = Layers::ETHERNET | Layers::TAG;
    let mut want = Key { in_port: 64, layers, ..Key::default() };
    (want.source[0], want.tags[0]) = (2, U16::new(7));
    assert_eq!(rule.key, want);
    assert_eq!((rule.mask.in_port, rule.mask.source, rule.mask.tags[0].get()), (!0, [0xff, 0, 0, 0, 0, 0], 0xfff));
    let rules = one("ip_src = \"10.1.0.0/16\"\nip_proto = \"tcp\"\ndst_port = 80\nactions = [\"output a\"]");
    let [rule] = &rules.expect("a rule")[..] else { panic!("one rule") };
    assert_eq!((rule.key.ipv4_source, rule.mask.ipv4_source), ([10, 1, 0, 0], [0xff, 0xff, 0, 0]));
    assert_eq!(rule.key.layers, Layers::IPV4 | Layers::TRANSPORT);
    assert!(rule.mask.layers.contains(Layers::NSH | Layers::ARP | Layers::IPV6));
    // A protocol alone is that of both versions.
    let rules = one("ip_proto = 17\nactions = []").expect("rules");
    assert_eq!([0, 1].map(|at| rules[at].key.layers), [Layers::IPV4, Layers::IPV6]);
    let rules = one("nsh_path = 5\nnsh_index = 255\nactions = [\"pop_nsh\", \"output a\"]").expect("a rule");
    assert_eq!((rules[0].key.nsh_path.get(), rules[0].mask.nsh_path.get()), (5 << 8 | 255, u32::MAX));
    assert_eq!(rules[0].actions.actions().collect::<Vec<_>>(), [Action::PopNsh, Action::Output(0)]);
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_key() {
    for (keys, line, what) in [
        ("actions = [\"output b\"]", 2, "actions: \"output b\": no such port"),
        ("in_port = \"z\"\nactions = []", 2, "in_port: \"z\": no such port; there are a, only-sends"),
        ("actions = [\n\"dec_ttl\",\n\"set_ttl 0\",\n\"output a\"]", 2, "actions: "),
        ("actions = [\n\"dec_ttl\",\n\"fly\"]", 4, "actions: \"fly\": want output PORT"),
        ("actions = [\"output only-sends\"]", 2, "actions: "),
        ("actions = [\"set_vlan 4096\"]", 2, "actions: \"set_vlan 4096\": want a number from 0 to 4095"),
        ("actions = [\"push_nsh 16777216 3\"]", 2, "want a number from 0 to 16777215"),
        ("vlan = 4096\nactions = []", 2, "a VLAN identifier from 0 to 4095"),
        ("eth_dst = \"2:0:0:0:0:1\"\nactions = []", 2, "want an Ethernet address"),
        ("eth_dst = \"02:00:00:00:00:01/ff:00:00:00:00:00\"\nactions = []", 2, "bits that the mask leaves out"),
        ("ip_src = \"10.0.0.1/8\"\nactions = []", 2, "bits behind its prefix"),
        ("ip_src = \"10.0.0.0/33\"\nactions = []", 2, "longer than the address"),
        ("ip_src = \"10.0.0.0/8\"\nip_dst = \"fe80::/10\"\nactions = []", 1, "one is of IPv4 and one of IPv6"),
        ("ip_proto = \"quic\"\nactions = []", 2, "a protocol: 0 to 255"),
        ("ip_proto = 256\nactions = []", 2, "a protocol: 0 to 255"),
        ("src_port = 5\nactions = []", 1, "want an ip_proto"),
        ("nsh_path = 16777216\nactions = []", 2, "24 bits"),
        ("color = \"red\"\nactions = []", 2, "unknown field `color`"),
        ("priority = 70000\nactions = []", 2, ""),
        ("in_port = \"a\"", 1, "missing field `actions`"),
        ("actions = [", 2, ""),
    ] {
        let error = one(keys).err().unwrap_or_else(|| panic!("{keys}"));
        assert!(error.starts_with(&alloc::format!("line {line}: ")) && error.contains(what), "{keys}\n{error}");
    }
    let many = "[[flow]]\nactions = []\n".repeat(MOST + 1);
    assert_eq!(parse(&many, &PORTS).err(), Some(FlowFileError::Count(MOST + 1)));
    assert_eq!(parse("", &PORTS).map(|rules| rules.len()), Ok(0));
}

#[test]
fn there_are_as_many_lists_as_the_table_has() {
    let flow = |vlan: u16| alloc::format!("[[flow]]\nactions = [\"push_vlan {vlan}\", \"output a\"]\n");
    let text: String = (0..4).map(flow).collect();
    assert!(crate::Rules::parse(&text, &PORTS, 8).is_ok());
    assert_eq!(crate::Rules::parse(&text, &PORTS, 4).err(), Some(FlowFileError::Lists(5, 4)));
}
