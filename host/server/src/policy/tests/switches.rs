//! In-VM switches, and VMs with an uplink.

use super::*;

/// The in-VM switch s with these keys, from line 7 on, and a with these, three lines behind the last of s.
fn below(switch: &str, keys: &str) -> String {
    format!(
        "[server]\nfolder = \"/f\"\n\n[[vm]]\nname = \"s\"\nmac = \"02:00:00:00:00:01\"\n{switch}\n\
         [[vm]]\nname = \"a\"\nmac = \"02:00:00:00:00:02\"\n{keys}\n\
         [[vm]]\nname = \"b\"\nmac = \"02:00:00:00:00:03\"\nuplink = \"s\"\n"
    )
}

const SWITCH: &str = "ram_mib = 16\npeers = [\"a\", \"b\"]\nflows = {}";

#[test]
fn an_in_vm_switch_has_a_pair_for_each_uplink_and_one_for_frames_without_a_flow() {
    let policy = Policy::parse(&below(SWITCH, "uplink = \"s\"")).expect("a policy");
    let [s, a, b] = &policy.vms[..] else { panic!("three VMs") };
    assert_eq!(([s.pairs, a.pairs, b.pairs], [s.uplink, a.uplink, b.uplink]), ([4, 2, 2], [None, Some(0), Some(0)]));
    assert_eq!((policy.senders_to(0), policy.senders_to(1)), (vec![1, 2], vec![0]));
    let entries = s.flows.as_ref().map(|flows| (flows.entries, flows.lists));
    assert_eq!(entries, Some((4_096, 256)));
    let meaning = policy.meaning().to_string();
    assert!(meaning.contains("an in-VM switch with a flow table of 4096 entries, by learning\n"), "{meaning}");
    assert!(meaning.contains("sends all to the in-VM switch s"), "{meaning}");
}

#[test]
fn what_is_wrong_with_an_in_vm_switch_or_an_uplink_is_named_with_its_line() {
    let with = |key: &str| SWITCH.replace("flows = {}", key);
    let a = "uplink = \"s\"";
    for (switch, keys, line, what) in [
        ("flows = {}", a, 7, "vm \"s\": flows: only a process has an in-VM switch: a VM with ram_mib"),
        ("ram_mib = 62\nwindow_file = \"w\"\nflows = {}", a, 9, "only a process has an in-VM switch"),
        (&with("flows = { entries = 5 }"), a, 9, "flows: entries = 5: a power of two from 4 to 1048576 is needed"),
        (&with("flows = { lists = 3 }"), a, 9, "lists = 3: a power of two"),
        (&with("flows = { idle_ticks = 0 }"), a, 9, "idle_ticks = 0: 1 to 2^62 are possible"),
        (&with("flows = { switch = \"x.toml\" }"), a, 9, "vm \"s\": flows: x.toml: No such file or directory"),
        (&with("flows = { switch = \"other\" }"), a, 9, "\"other\""),
        (
            &with("flows = { switch = \"openvswitch\", folder = \"/o\" }"),
            a,
            9,
            "only \"learning\", and a file with flows, are possible here",
        ),
        (&with("flows = { size = 5 }"), a, 9, "unknown field `size`"),
        (
            &with("flows = {}\npairs = 3"),
            a,
            10,
            "pairs: 3; 4 are needed: one for the switch, one for frames without a flow, and one",
        ),
        ("ram_mib = 16", a, 11, "vm \"a\": uplink: \"s\" has no in-VM switch"),
        (SWITCH, "uplink = \"x\"", 13, "vm \"a\": uplink \"x\": no such vm"),
        (SWITCH, "uplink = \"a\"", 13, "uplink \"a\": a vm can't be its own uplink"),
        (SWITCH, "uplink = \"s\"\nlan = [\"b\"]", 14, "lan: all frames go to the uplink \"s\", and nowhere else"),
        (SWITCH, "uplink = \"s\"\nram_mib = 4\npeers = [\"s\"]", 13, "uplink: \"s\" is one of its peers already"),
        (SWITCH, "mtu = 9000\nuplink = \"s\"", 14, "uplink: its mtu is 9000, that of \"s\" less"),
        (&format!("{SWITCH}\nuplink = \"a\""), "ram_mib = 4\nflows = {}", 10, "uplink: an in-VM switch has none"),
    ] {
        let (found, why) = refused(&below(switch, keys));
        assert!(found == line && why.contains(what), "{switch}, {keys}: line {found}: {why}");
    }
}
