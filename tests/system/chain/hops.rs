//! One hop, with headers of all kinds; and hops that crash.

use super::frames::{chained, file, udp};
use crate::examples::frames as frames_of;
use crate::{embedded, in_bochs, passed};
use xtask::{Report, Scenario};

/// Flags, TTL 63 and 6 words.
const FIRST: u16 = 63 << 6 | 6;
/// Path 1, version 1, forward, at the first hop.
const PATH: u32 = 0x0001_01ff;

const HOP: &str = r#"
[[chain]]
name = "one"
path = 1
version = 1
ends = ["in", "out"]
hops = [{ vm = "hop", policy = "closed" }]

[[chain]]
name = "oam"
path = 2
ends = ["in", "out"]
oam = true
hops = [{ vm = "hop", policy = "closed" }]
"#;

/// Adds a VM to `manifest`, whose line `rest` has more keys.
fn vm(manifest: &mut String, name: &str, image: &str, args: &str, rest: &str) {
    *manifest += &format!(
        "[[vm]]\nname = \"{name}\"\nram_mib = 16\nimage = \"{image}\"\nargs = \"{args}\"\ngate = \"isolated\"\n\
         mtu = 1560\n{rest}\n"
    );
}

/// Returns a scenario in which `in` sends `frames` to the VM `hop`, an `image` with `args`, and `out` writes what
/// arrives.
fn one_hop(chains: &str, frames: &[Vec<u8>], image: &str, args: &str) -> Scenario {
    let mut manifest = String::from("quantum_ticks = 4000000000\n");
    vm(&mut manifest, "in", "pcap", "replay in.pcap to=hop", "peers = [\"hop\"]\nmodules = [\"in.pcap\"]");
    vm(&mut manifest, "hop", image, args, "peers = [\"out\", \"in\"]\nmodules = [\"chain.toml\"]");
    vm(&mut manifest, "out", "pcap", "record out.pcap", "");
    let mut scenario = Scenario::new(manifest);
    scenario.modules = vec![("in.pcap".into(), file(frames)), ("chain.toml".into(), chains.into())];
    scenario
}

/// Returns the frames that a hop has to pass, and what becomes of them: a TTL and an index less, and no other byte.
fn good() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let inner = udp([10, 0, 0, 1], [10, 0, 0, 2], [1, 2], b"inner");
    let long: Vec<u8> = (0..244).collect();
    let pair = |flags: u16, ttl: [u16; 2], words: u16, kinds, path: u32, context: &[u8], inner: &[u8]| {
        let [before, after] = ttl.map(|ttl| flags << 12 | ttl << 6 | words);
        (chained(before, kinds, path, context, inner), chained(after, kinds, path - 1, context, inner))
    };
    let pairs = [
        pair(0, [63, 62], 6, [1, 3], PATH, &[0; 16], &inner),
        pair(1, [2, 1], 6, [0xf1, 3], PATH, &long[..16], &inner),
        pair(0, [0, 63], 6, [1, 1], PATH, &long[..16], &inner[14..]),
        pair(0, [9, 8], 2, [2, 3], PATH, &[], &inner),
        pair(0, [9, 8], 9, [2, 3], PATH, &long[..28], &inner),
        pair(0, [9, 8], 63, [0xa2, 3], PATH, &long, &inner),
        pair(2, [9, 8], 6, [1, 3], 0x0002_00ff, &long[..16], &inner),
        pair(2, [9, 8], 6, [1, 0xfe], 0x0002_00ff, &long[..16], b"OAM in no known protocol"),
    ];
    pairs.into_iter().unzip()
}

/// Returns frames that a hop has to drop, each with the cause that it counts.
fn bad() -> Vec<(Vec<u8>, &'static str)> {
    let inner = udp([10, 0, 0, 1], [10, 0, 0, 2], [1, 2], b"inner");
    let md1 = |first, kinds, path| chained(first, kinds, path, &[0; 16], &inner);
    vec![
        (inner.clone(), "no header"),
        (md1(1 << 14 | FIRST, [1, 3], PATH), "version"),
        (md1(FIRST + 1, [1, 3], PATH), "length"),
        (md1(FIRST - 5, [2, 3], PATH), "length"),
        (md1(FIRST | 63, [2, 3], PATH), "length"),
        (md1(FIRST, [0, 3], PATH), "MD type"),
        (md1(FIRST, [15, 3], PATH), "MD type"),
        (md1(FIRST, [1, 5], PATH), "protocol"),
        (md1(1 << 6 | 6, [1, 3], PATH), "TTL"),
        (md1(FIRST, [1, 3], PATH + 0x100), "path"),
        (md1(FIRST, [1, 3], PATH - 1), "index"),
        (md1(FIRST, [1, 3], PATH & !0xff), "index"),
        (md1(FIRST | 2 << 12, [1, 3], PATH), "OAM"),
    ]
}

#[track_caller]
fn passes_what_the_rfc_lets_pass(runs: impl Fn(&Scenario) -> Report) {
    let ((good, expected), bad) = (good(), bad());
    let mixed: Vec<_> = good.iter().chain(bad.iter().map(|(frame, _)| frame)).chain(&good).cloned().collect();
    let scenario = one_hop(HOP, &mixed, "hop", "hop chain.toml 1000000");
    let report = runs(&Scenario { timeout: 600, ..scenario });
    passed(&report);
    let out = &report.files["out.pcap"];
    assert!(frames_of(out) == [&expected[..], &expected].concat(), "{:#?}", report.lines);
    for counters in
        ["dropped: protocol 1, TTL 1, index 2, OAM 1", "dropped: no header 1, version 1, length 3, MD type 2, path 1"]
    {
        assert!(report.says(counters), "want {counters}: {:#?}", report.lines);
    }
}

#[test]
fn a_hop_passes_what_the_rfc_lets_pass_and_counts_the_rest_by_cause() {
    passes_what_the_rfc_lets_pass(embedded);
}

#[test]
fn a_hop_passes_what_the_rfc_lets_pass_in_bochs() {
    passes_what_the_rfc_lets_pass(in_bochs);
}

#[test]
fn a_wrong_chain_file_is_named_with_its_line() {
    let says = |chains: &str, args: &str, error: &str| {
        let report = embedded(&one_hop(chains, &good().0, "hop", args));
        assert!(report.says(&format!("error: {error}")), "want {error}: {:#?}", report.lines);
    };
    says(
        &HOP.replace("path = 2", "path = 1"),
        "hop chain.toml",
        "chain.toml: line 11: path = 1: chain \"one\" has path 1",
    );
    says(
        &HOP.replacen("policy", "polity", 1),
        "hop chain.toml",
        "chain.toml: line 7: unknown field `polity`, expected",
    );
    says(HOP, "hope chain.toml", "chain.toml: no chain has a vm \"hope\"");
    says(HOP, "hop chains.toml", "chains.toml: no such module");
    says(HOP, "hop", "arguments: want the vm's own name and the name of a chain file first");
    let open = HOP.replacen("[{ vm = \"hop\"", "[{ vm = \"hop\", policy = \"open\" }, { vm = \"next\"", 1);
    says(&open, "hop chain.toml", "chain.toml: peer \"next\" is not in the window directory");
}

#[test]
fn a_translator_has_as_many_ports_as_its_heap_has_room_for() {
    for (ports, is_right) in [("1-10000", true), ("1-10001", false), ("7-7", false), ("0-9", false), ("9-8", false)] {
        let report = embedded(&one_hop(HOP, &good().0, "nat44", &format!("hop chain.toml 192.0.2.1 {ports}")));
        let error = "error: arguments: want ME FILE ADDRESS FIRST-LAST, with 2 to 10000 ports from 1 on";
        assert_eq!(report.says(error), !is_right, "{ports}: {:#?}", report.lines);
    }
}

/// Returns a scenario in which a hop of one of two chains stops in the middle of `count` frames of each chain: the VM
/// itself, or the function behind it. `in` knows what chain a frame is for by its port.
fn stop(policy: &str, count: u32, is_proxy: bool) -> Scenario {
    let chain = |number: u8, name: &str, vms: &str, policy: &str| {
        format!(
            "[[chain]]\nname = \"{name}\"\npath = {number}\nends = [\"in\", \"out\"]\n\
             forward = [\"udp any any any {number}\"]\nhops = [{{ {vms}, policy = \"{policy}\" }}]\n"
        )
    };
    let frame = |number: u32| udp([10, 0, 0, 1], [10, 0, 0, 2], [9, 1 + (number % 2) as u16], &number.to_be_bytes());
    let mut manifest = String::from("quantum_ticks = 4000000000\n");
    let modules = "modules = [\"chain.toml\"]";
    let peers = |peers: &str| format!("peers = [{peers}]\n{modules}");
    vm(&mut manifest, "client", "pcap", "replay in.pcap to=in", "peers = [\"in\"]\nmodules = [\"in.pcap\"]");
    vm(&mut manifest, "in", "classifier", "in chain.toml", &peers(r#""doomed", "sound", "out""#));
    let last = count / 2 + 1;
    if is_proxy {
        vm(&mut manifest, "doomed", "proxy", "doomed chain.toml behind", &peers(r#""behind", "out", "in""#));
        vm(&mut manifest, "behind", "hop", &format!("behind doomed {last}"), "peers = [\"doomed\"]");
    } else {
        vm(&mut manifest, "doomed", "hop", &format!("doomed chain.toml {last}"), &peers(r#""out", "in""#));
    }
    vm(&mut manifest, "sound", "hop", "sound chain.toml", &peers(r#""out", "in""#));
    vm(&mut manifest, "out", "classifier", "out chain.toml last", &peers(r#""doomed", "sound", "in", "last""#));
    vm(&mut manifest, "last", "pcap", "record out.pcap", "");
    let mut scenario = Scenario::new(manifest);
    let doomed = if is_proxy { r#"vm = "behind", proxy = "doomed""# } else { r#"vm = "doomed""# };
    let chains = chain(1, "sound", r#"vm = "sound""#, "closed") + &chain(2, "doomed", doomed, policy);
    let frames: Vec<_> = (0..2 * count).map(frame).collect();
    scenario.modules = vec![("in.pcap".into(), file(&frames)), ("chain.toml".into(), chains.into())];
    scenario
}

/// Returns the counter `name` in the line of `vm` about the forward direction of the chain "doomed".
fn counter(report: &Report, vm: &str, name: &str) -> u32 {
    let start = format!("[{vm}] chain doomed version 0, forward, ");
    let line = report.lines.iter().find_map(|line| line.strip_prefix(&start)).unwrap_or_default();
    let words: Vec<_> = line.split([' ', ',', ':']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| *word == name);
    // Causes come before their numbers, and all else behind.
    let place = at.and_then(|at| if name == "closed" { Some(at + 1) } else { at.checked_sub(1) });
    place.and_then(|place| words.get(place)?.parse().ok()).unwrap_or(0)
}

/// Returns the number that a frame of these scenarios has in its payload.
fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[42..46].try_into().expect("four bytes"))
}

/// Looks at the frames of `report`, of a scenario with `count` frames of each chain, and returns those of the chain
/// with the stop that arrived, that were counted as bypassing, and as dropped as the hop is closed.
#[track_caller]
fn arrived(report: &Report, count: u32) -> [u32; 3] {
    passed(report);
    let out = &report.files["out.pcap"];
    let numbers: Vec<_> = frames_of(out).into_iter().map(number).collect();
    let of = |rest: u32| numbers.iter().copied().filter(move |number| number % 2 == rest);
    assert!(of(0).eq((0..count).map(|number| 2 * number)), "the other chain has all its frames, in order");
    let mut doomed: Vec<_> = of(1).collect();
    let before = doomed.len();
    doomed.sort_unstable();
    doomed.dedup();
    assert_eq!((doomed.len(), counter(report, "in", "packets")), (before, count), "no frame comes twice");
    let counted = |name| ["in", "doomed"].map(|vm| counter(report, vm, name)).iter().sum();
    [before as u32, counted("bypassed"), counted("closed")]
}

/// Frames of each chain.
const MANY: u32 = 30_000;
/// Frames that were delivered to the hop before it stopped, at most: those of its ring, of its burst, and of its queue
/// to the next VM. No others are lost.
const DELIVERED: u32 = 256 + 32 + 256;
/// Frames without their header in a proxy's queue to its function, at most, and those that wait for room in it.
const QUEUED: u32 = 256 + 32;

#[test]
fn an_open_hop_that_went_away_is_passed_by() {
    for (is_proxy, lost) in [(false, DELIVERED), (true, DELIVERED + QUEUED)] {
        let [arrived, bypassed, closed] = arrived(&embedded(&stop("open", MANY, is_proxy)), MANY);
        assert!(bypassed > 0 && closed == 0 && MANY - arrived <= lost, "{is_proxy}: {arrived} {bypassed} {closed}");
    }
}

#[test]
fn frames_for_a_closed_hop_that_went_away_are_dropped_and_counted() {
    for (is_proxy, lost) in [(false, DELIVERED), (true, DELIVERED + QUEUED)] {
        let [arrived, bypassed, closed] = arrived(&embedded(&stop("closed", MANY, is_proxy)), MANY);
        let rest = MANY - arrived - closed;
        assert!(bypassed == 0 && closed > 0 && rest <= lost, "{is_proxy}: {arrived} {bypassed} {closed}");
    }
}

/// Frames of each chain in the emulator.
const FEW: u32 = 2_000;

/// Runs a hop, which is a VM, that crashes in the middle of the traffic and is started again. The other chain loses
/// nothing. Of this one only those frames are lost that were delivered to the hop before, and the others pass through
/// it again, once it is back. Returns how many were counted as bypassing, and as dropped.
#[track_caller]
fn comes_again(policy: &str) -> [u32; 2] {
    let mut scenario = stop(policy, FEW, false);
    // A VM that ended starts again a quantum later.
    scenario.manifest = scenario.manifest.replace("quantum_ticks = 4000000000", "quantum_ticks = 1000000");
    scenario.manifest = scenario.manifest.replace("args = \"doomed", "restarts = 1\nargs = \"doomed");
    let report = in_bochs(&Scenario { timeout: 600, ..scenario });
    let [arrived, bypassed, closed] = arrived(&report, FEW);
    assert!(report.says("vm doomed starts again, 1 of 1"), "{:#?}", report.lines);
    // The first life of the hop counts for nobody: what arrived by it is the rest.
    let again = counter(&report, "doomed", "packets");
    let before = arrived - bypassed - again;
    assert!(again > 0 && before <= FEW / 2 && FEW / 2 - before <= DELIVERED, "{arrived} {bypassed} {closed} {again}");
    assert!(FEW - arrived - closed <= DELIVERED, "{arrived} {bypassed} {closed} {again}");
    [bypassed, closed]
}

#[test]
fn an_open_hop_that_crashes_in_bochs_is_passed_by_until_it_starts_again() {
    let [bypassed, closed] = comes_again("open");
    assert!(bypassed > 0 && closed == 0, "{bypassed} {closed}");
}

#[test]
fn frames_for_a_closed_hop_that_crashes_in_bochs_are_dropped_until_it_starts_again() {
    let [bypassed, closed] = comes_again("closed");
    assert!(bypassed == 0 && closed > 0, "{bypassed} {closed}");
}

/// Returns a scenario in which a server answers each of `count` frames that come to it through two hops.
fn answered(count: u32) -> Scenario {
    let frame = |number: u32| udp([10, 0, 0, 1], [10, 0, 0, 2], [9, 9], &number.to_be_bytes());
    let mut manifest = String::from("quantum_ticks = 4000000000\n");
    let peers = |peers: &str| format!("peers = [{peers}]\nmodules = [\"chain.toml\"]");
    vm(&mut manifest, "client", "pcap", "replay in.pcap to=in", "peers = [\"in\"]\nmodules = [\"in.pcap\"]");
    vm(&mut manifest, "in", "classifier", "in chain.toml back", &peers(r#""a", "back""#));
    vm(&mut manifest, "a", "hop", "a chain.toml", &peers(r#""b", "in""#));
    vm(&mut manifest, "b", "hop", "b chain.toml", &peers(r#""out", "a""#));
    vm(&mut manifest, "out", "classifier", "out chain.toml server", &peers(r#""b", "server""#));
    vm(&mut manifest, "server", "echo", "out", "peers = [\"out\"]");
    vm(&mut manifest, "back", "pcap", "record out.pcap", "");
    let chain = "stall_ms = 0\nreport_ms = 100\n[[chain]]\nname = \"c\"\npath = 1\nends = [\"in\", \"out\"]\n\
                 forward = [\"any\"]\nreturn = [\"any\"]\n\
                 hops = [{ vm = \"a\", policy = \"closed\" }, { vm = \"b\", policy = \"closed\" }]\n";
    let mut scenario = Scenario::new(manifest);
    let frames: Vec<_> = (0..count).map(frame).collect();
    scenario.modules = vec![("in.pcap".into(), file(&frames)), ("chain.toml".into(), chain.into())];
    scenario
}

/// Each hop sends to VMs that send to it: if all of their rings are full, none may wait for another.
#[test]
fn a_chain_that_is_busy_in_both_directions_loses_no_frame() {
    let report = embedded(&answered(MANY));
    passed(&report);
    let numbers = frames_of(&report.files["out.pcap"]).into_iter().map(number);
    assert!(numbers.eq(0..MANY), "{:#?}", report.lines);
    let start = "[a] chain c version 0, forward, 2 of 4: ";
    let packets = |line: &String| line.strip_prefix(start)?.split(' ').next()?.parse().ok();
    let counted: Vec<u32> = report.lines.iter().filter_map(packets).collect();
    assert!(counted.len() > 2 && counted.is_sorted() && counted.last() == Some(&MANY), "now and then: {counted:?}");
}
