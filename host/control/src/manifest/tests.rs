//! Manifests that are right, and what is said of those that are not.

use super::*;
use alloc::{format, vec};

const A: &str = "[[vm]]\nname = \"a\"\nram_mib = 16\nimage = \"send\"\ngate = \"isolated\"\n";
const B: &str = "[[vm]]\nname = \"b\"\nram_mib = 16\nimage = \"receive\"\ngate = \"direct\"\n";

#[test]
fn what_is_left_out_has_a_default() {
    let manifest = Manifest::parse(&format!("{A}peers = [\"b\"]\n{B}")).unwrap();
    assert_eq!((manifest.watchdog_ticks, manifest.vms[0].mtu), (1 << 31, 1500));
    assert_eq!(manifest.peers_of(0).collect::<Vec<_>>(), [1]);
    assert_eq!(manifest.vms[0].gate, GateKind::Isolated);
}

#[test]
fn a_vm_is_started_again_where_nothing_is_forgotten() {
    let restarted = |text: &str| Manifest::parse(text).map(|manifest| manifest.vms[0].restarts);
    assert_eq!(restarted(&format!("{B}restarts = 3")), Ok(3));
    assert_eq!(restarted(&format!("{A}restarts = 2\npeers = [\"b\"]\n{B}")), Ok(2));
    assert_eq!(restarted(A), Ok(0));
}

#[test]
fn a_vm_has_a_flow_table_if_the_manifest_says_so() {
    let manifest = Manifest::parse(&format!("{A}peers = [\"b\"]\nflows = {{}}\n{B}peers = [\"a\"]")).unwrap();
    let flows = manifest.vms[0].flows.as_ref().unwrap();
    assert_eq!((flows.switch.as_str(), flows.file(), flows.entries, flows.lists), ("learning", None, 4096, 256));
    assert!(manifest.vms[1].flows.is_none());
    // c only sends to a; b is a peer, too.
    let c = B.replace("\"b\"", "\"c\"") + "peers = [\"a\"]\n";
    let text = format!("{A}peers = [\"b\"]\nflows = {{ switch = \"f.toml\" }}\n{c}{B}peers = [\"a\"]");
    let manifest = Manifest::parse(&text).unwrap();
    assert_eq!(manifest.vms[0].flows.as_ref().unwrap().file(), Some("f.toml"));
    assert_eq!(manifest.ports_of(0), [(0, 2), (64, 1)]);
}

#[test]
fn what_is_wrong_with_a_flow_table_is_named_in_one_line() {
    let cases = [
        (format!("{A}flows = {{ entries = 100 }}"), "manifest: vm \"a\": flows: entries = 100: a power of two from 4"),
        (format!("{A}flows = {{ entries = 2097152 }}"), "manifest: vm \"a\": flows: entries = 2097152: a power of"),
        (format!("{A}flows = {{ lists = 0 }}"), "manifest: vm \"a\": flows: lists = 0: a power of two up to"),
        (format!("{A}flows = {{ idle_ticks = 0 }}"), "manifest: vm \"a\": flows: idle_ticks = 0: 1 to 2^62"),
        (format!("{A}flows = {{ switch = \"ovs\" }}"), "manifest: vm \"a\": flows: switch \"ovs\": want \"learning\""),
        (
            format!("{A}flows = {{ folder = \"f\" }}"),
            "manifest: vm \"a\": flows: switch \"openvswitch\" needs a folder",
        ),
        (format!("{A}flows = {{ switch = \"openvswitch\" }}"), "manifest: vm \"a\": flows: switch \"openvswitch\" n"),
        (format!("{A}flows = {{ colour = 1 }}"), "manifest: line 6: unknown field `colour`"),
    ];
    for (text, expected) in cases {
        let error = Manifest::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(expected) && !error.contains('\n'), "{error}\nwanted {expected}");
    }
}

#[test]
fn what_is_wrong_is_named_in_one_line() {
    let vm = |name: &str, rest: &str| {
        format!("[[vm]]\nname = \"{name}\"\nram_mib = 16\nimage = \"i\"\ngate = \"direct\"\n{rest}\n")
    };
    let cases = [
        (String::new(), "manifest: 0 VMs; 1 to 65 are possible"),
        ("[[vm]".into(), "manifest: line 1: "),
        (format!("{A}colour = 3"), "manifest: line 6: unknown field `colour`"),
        (A.replace("isolated", "wooden"), "manifest: line 5: unknown variant `wooden`"),
        (A.replace("16", "-1"), "manifest: line 3: "),
        (A.replace("ram_mib = 16\n", ""), "manifest: line 1: missing field `ram_mib`"),
        (vm("A", ""), "manifest: vm \"A\": name: a-z"),
        (format!("{A}{A}"), "manifest: vm \"a\": name: used twice"),
        (A.replace("16", "15"), "manifest: vm \"a\": ram_mib = 15: an even number from 4 to 2048 is needed"),
        (A.replace("16", "4096"), "manifest: vm \"a\": ram_mib = 4096: an even"),
        (format!("{A}mtu = 67"), "manifest: vm \"a\": mtu = 67: 68 to 65517 are possible"),
        (format!("{A}args = \"{}\"", "x".repeat(513)), "manifest: vm \"a\": args: 513 bytes"),
        (
            vm("a", "restarts = 1\npeers = [\"b\"]") + B,
            "manifest: vm \"a\": restarts: a vm that has peers needs the gate isolated or hypercall",
        ),
        (format!("{A}modules = [\"a b\"]"), "manifest: vm \"a\": module \"a b\": a name of"),
        (format!("{A}peers = [\"x\"]"), "manifest: vm \"a\": peer \"x\": no such vm"),
        (format!("{A}peers = [\"a\"]"), "manifest: vm \"a\": peer \"a\": a vm can't be its own peer"),
        (format!("{A}peers = [\"b\", \"b\"]\n{B}"), "manifest: vm \"a\": peer \"b\": named twice"),
        (format!("{A}lan = [\"x\"]"), "manifest: vm \"a\": lan \"x\": no such vm"),
        (format!("{A}lan = [\"a\"]"), "manifest: vm \"a\": lan \"a\": the switch forwards nothing to the vm that"),
        (format!("{A}lan = [\"b\", \"b\"]\n{B}"), "manifest: vm \"a\": lan \"b\": named twice"),
        (
            format!("{A}macs = [\"02:00:00:00:00\"]"),
            "manifest: line 6: mac \"02:00:00:00:00\": six bytes in hexadecimal",
        ),
        (format!("{A}macs = [\"03:00:00:00:00:01\"]"), "manifest: line 6: mac \"03:00:00:00:00:01\": six bytes"),
        (format!("{A}macs = [\"02:00:00:00:00:+1\"]"), "manifest: line 6: mac \"02:00:00:00:00:+1\": six bytes"),
        (format!("{A}macs = [\"02:00:00:00:00:01:02\"]"), "manifest: line 6: mac \"02:00:00:00:00:01:02\": six"),
        (
            format!("{A}macs = [\"02:53:6c:75:69:01\"]\n{B}"),
            "manifest: vm \"a\": mac 02:53:6c:75:69:01: the address of vm \"b\"",
        ),
        (
            format!("{A}macs = [\"02:00:00:00:00:01\"]\n{B}macs = [\"02:00:00:00:00:01\"]"),
            "manifest: vm \"b\": mac 02:00:00:00:00:01: the address of vm \"a\"",
        ),
        (format!("{A}tap = \"a/b\""), "manifest: vm \"a\": tap \"a/b\": a file name of 1 to 32 bytes"),
        (format!("{A}tap = \"..\""), "manifest: vm \"a\": tap \"..\": a file name"),
        (format!("{A}tap = \"x\"\n{B}tap = \"x\""), "manifest: vm \"b\": tap \"x\": vm \"a\" has the same"),
        ((0..66).map(|id| vm(&format!("v{id}"), "")).collect(), "manifest: 66 VMs; 1 to 65 are possible"),
        (
            (0..63).map(|id| vm(&format!("v{id}"), "peers = [\"b\"]")).collect::<String>() + B,
            "manifest: vm \"v0\": peer \"b\": 63 vms send to it; at most 62 are possible",
        ),
    ];
    for (text, expected) in cases {
        let error = Manifest::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(expected) && !error.contains('\n'), "{error}\nwanted {expected}");
    }
}

#[test]
fn several_vms_send_to_one_and_a_lan_is_the_peers_unless_it_is_said() {
    let c = B.replace("\"b\"", "\"c\"");
    let text = format!("{A}peers = [\"c\"]\n{B}peers = [\"c\"]\nlan = [\"a\"]\n{c}");
    let manifest = Manifest::parse(&text).unwrap();
    assert_eq!(manifest.senders_to(2).collect::<Vec<_>>(), [0, 1]);
    let lans = [0, 1, 2].map(|id| manifest.lan_of(id).collect::<Vec<_>>());
    assert_eq!(lans, [vec![2], vec![0], vec![]]);
}

#[test]
fn addresses_beside_its_own_are_a_list_or_any() {
    let macs = |text: &str| Manifest::parse(&format!("{A}macs = {text}")).unwrap().vms[0].macs.clone();
    let two = Addresses::These([[2, 0, 0, 0, 0, 0xab], [2, 0, 0, 0, 0, 2]].map(Mac).to_vec());
    assert_eq!(macs("[\"02:00:00:00:00:aB\", \"02:00:00:00:00:02\"]"), two);
    assert_eq!((macs("[\"any\"]"), macs("[]")), (Addresses::Any, Addresses::default()));
}

#[test]
fn a_vm_sends_to_64_peers() {
    let others = |each: fn(u32) -> String| (0..MAX_PEERS as u32).map(each).collect::<String>();
    let peers = others(|id| format!("\"v{id}\", "));
    let all = others(|id| B.replace("\"b\"", &format!("\"v{id}\"")));
    let manifest = Manifest::parse(&format!("{A}peers = [{peers}]\n{all}")).unwrap();
    assert!(manifest.peers_of(0).eq(1..=MAX_PEERS));
}
