use super::*;
use crate::nsh::{FIRST_TTL, MD1_LEN};
use crate::testing::{chained, with};
use std::format;

const FILE: &str = r#"
[[chain]]
name = "c"
path = 1
version = 1
ends = ["in", "out"]
hops = [{ vm = "a", policy = "open" }, { vm = "b", policy = "open" }, { vm = "c", policy = "closed" }]
[[chain]]
name = "d"
path = 2
ends = ["in", "out"]
oam = true
hops = [{ vm = "b", policy = "closed" }]
"#;
const ALL: u64 = u64::MAX;
const C: u32 = 0x00_0101;
const D: u32 = 0x00_0200;
const BACK: u32 = 0x80_0000;

fn file(text: &str) -> ChainFile {
    ChainFile::parse(text).unwrap()
}

fn router(me: &str) -> Router {
    let mut router = Router::new(&file(FILE), me).unwrap();
    router.set_ready(ALL);
    router
}

/// Returns a frame on `path`, at `index`, with this TTL.
fn frame(path: u32, index: u8, ttl: u16) -> Vec<u8> {
    chained(ttl << 6 | 6, [1, 3], path, index, &[9; 16], &[0x5a; 60])
}

/// Returns the VM to which `router` forwards `frame`, and TTL and index with which.
fn forward(router: &mut Router, frame: &[u8]) -> Option<(String, u8, u8)> {
    let (slot, after) = with(frame, |frame| router.forward(frame));
    let nsh = with(&after, |frame| Nsh::read(frame)).0.ok()?;
    let changed = |at: usize| matches!(at, 14 | 15 | 21);
    assert!(after.iter().zip(frame).enumerate().all(|(at, (new, old))| new == old || changed(at)));
    slot.map(|slot| (router.slots()[usize::from(slot)].clone(), nsh.ttl(), nsh.index()))
}

/// Asserts that `router` drops `frame` for `cause`, and counts it once.
#[track_caller]
fn drops(router: &mut Router, frame: &[u8], path: Option<u32>, cause: Cause) {
    let counts = |router: &Router| {
        let counts = path.map_or(Some(router.strays()), |path| router.counts(Spi::from_bits(path)));
        counts.map(|counts| (counts.packets, counts.dropped(cause))).unwrap()
    };
    let before = counts(router);
    let (slot, after) = with(frame, |frame| router.forward(frame));
    assert_eq!((slot, after), (None, frame.to_vec()));
    assert_eq!(counts(router), (before.0 + 1, before.1 + 1), "{cause:?}");
}

#[test]
fn a_frame_goes_to_the_next_hop_of_its_path() {
    let to = |vm: &str, ttl, index| Some((vm.to_string(), ttl, index));
    let mut b = router("b");
    for _ in 0..3 {
        assert_eq!(forward(&mut b, &frame(C, 254, 63)), to("c", 62, 253));
        assert_eq!(forward(&mut b, &frame(C | BACK, 254, 0)), to("a", 63, 253));
        assert_eq!(forward(&mut b, &frame(D, 255, 9)), to("out", 8, 254));
        assert_eq!(forward(&mut b, &frame(D | BACK, 255, 9)), to("in", 8, 254));
    }
    assert_eq!(b.counts(Spi::from_bits(C)).map(|counts| (counts.packets, counts.bytes)), Some((3, 3 * 98)));
    assert_eq!(forward(&mut router("a"), &frame(C, 255, 63)), to("b", 62, 254));
    assert_eq!(forward(&mut router("c"), &frame(C, 253, 63)), to("out", 62, 252));
}

/// Also right behind a frame that went on with the same path, or with the same first bytes.
#[test]
fn a_frame_that_is_not_for_this_vm_is_dropped() {
    let mut b = router("b");
    let good = frame(C, 254, 63);
    for (wrong, path, cause) in [
        (frame(C, 255, 63), Some(C), Cause::Index),
        (frame(C, 253, 63), Some(C), Cause::Index),
        (frame(C, 0, 63), Some(C), Cause::Index),
        (frame(C, 254, 1), Some(C), Cause::Ttl),
        (frame(C + 1, 254, 63), None, Cause::Path),
        (frame(3 << 8, 254, 63), None, Cause::Path),
        (good[..14 + usize::from(MD1_LEN)].to_vec(), None, Cause::Length),
        ([&good[..13], &good[14..]].concat(), None, Cause::NoHeader),
        ([&good[..12], &[8, 0], &good[14..]].concat(), None, Cause::NoHeader),
        (chained(1 << 13 | 63 << 6 | 6, [1, 3], C, 254, &[0; 16], &[1; 60]), Some(C), Cause::Oam),
    ] {
        assert!(forward(&mut b, &good).is_some());
        drops(&mut b, &wrong, path, cause);
    }
    let oam = chained(1 << 13 | 63 << 6 | 6, [1, 3], D, 255, &[0; 16], &[1; 60]);
    assert!(forward(&mut b, &oam).is_some(), "this chain passes such packets");
    drops(&mut router("out"), &frame(C, 252, 63), Some(C), Cause::Index);
}

#[test]
fn an_open_hop_that_is_away_is_passed_by_and_a_closed_one_is_not() {
    let only = |router: &mut Router, there: &[&str]| {
        let bit = |vm: &&str| router.slots().iter().position(|name| name == vm).map_or(0, |slot| 1 << slot);
        let ready = there.iter().map(bit).sum();
        router.set_ready(ready);
    };
    let mut a = router("a");
    assert!(forward(&mut a, &frame(C, 255, 63)).is_some());
    only(&mut a, &["c", "in"]);
    assert_eq!(forward(&mut a, &frame(C, 255, 63)), Some(("c".into(), 62, 253)), "at once");
    assert_eq!(a.counts(Spi::from_bits(C)).unwrap().bypassed, 1);
    only(&mut a, &["in", "out"]);
    drops(&mut a, &frame(C, 255, 63), Some(C), Cause::Closed);
    assert_eq!(forward(&mut a, &frame(C | BACK, 253, 63)), Some(("in".into(), 62, 252)));
    only(&mut a, &["b"]);
    drops(&mut a, &frame(C | BACK, 253, 63), Some(C | BACK), Cause::Closed);
    assert_eq!(forward(&mut a, &frame(C, 255, 63)), Some(("b".into(), 62, 254)), "it is back");
}

#[test]
fn a_frame_that_waited_for_a_hop_that_went_away_finds_another_way() {
    let mut a = router("a");
    let ((), after) = with(&frame(C, 255, 63), |frame| {
        assert_eq!(a.forward(frame).map(usize::from), a.slots().iter().position(|vm| vm == "b"));
        a.set_ready(1 << a.slots().iter().position(|vm| vm == "c").unwrap());
        assert_eq!(a.again(frame).map(usize::from), a.slots().iter().position(|vm| vm == "c"));
        a.set_ready(0);
        assert_eq!(a.again(frame), None);
    });
    assert_eq!((after[15] >> 6 | after[14] << 2, after[21]), (62, 253));
    let counts = a.counts(Spi::from_bits(C)).unwrap();
    assert_eq!((counts.packets, counts.bypassed, counts.dropped(Cause::Closed)), (1, 1, 1));
}

#[test]
fn the_ends_put_headers_on_and_take_them_off() {
    let (mut begin, mut end) = (router("in"), router("out"));
    let (slot, pushed) = with(&[0x5a; 60], |frame| begin.enter(Spi::from_bits(C), frame));
    assert_eq!(slot.map(|slot| begin.slots()[usize::from(slot)].as_str()), Some("a"));
    assert_eq!(&pushed[12..], &chained(u16::from(FIRST_TTL) << 6 | 6, [1, 3], C, 255, &[0; 16], &[0x5a; 60])[12..]);
    let (arrival, _) = with(&frame(C, 252, 60), |frame| end.arrive(frame));
    assert!(arrival.unwrap().ends);
    begin.set_ready(0);
    assert_eq!(with(&[0x5a; 60], |frame| begin.enter(Spi::from_bits(C), frame)).0, None);
    assert_eq!(with(&[0x5a; 60], |frame| begin.enter(Spi::from_bits(7), frame)).0, None);
    assert_eq!(begin.counts(Spi::from_bits(C)).unwrap().dropped(Cause::Closed), 1);
    assert_eq!(begin.strays().dropped(Cause::Path), 1);
}

/// Two versions differ in all hops. Machines learn of the new one in any order, and each packet finds one version at
/// all of its hops, or is dropped where the new one is not known yet.
#[test]
fn consistency_c3_no_packet_mixes_two_versions() {
    let old = "[[chain]]\nname = \"w\"\npath = 1\nversion = 1\nends = [\"in\", \"out\"]\n\
               hops = [{ vm = \"a\", policy = \"closed\" }, { vm = \"b\", policy = \"closed\" }]\n";
    let new = format!(
        "{old}{}",
        old.replace("version = 1", "version = 2")
            .replace("\"a\"", "\"x\"")
            .replace("\"b\"", "\"a\"")
            .replace("\"x\"", "\"b\"")
    );
    let (old, new) = (file(old), file(&new));
    for order in [["in", "a", "b"], ["a", "in", "b"], ["b", "a", "in"], ["b", "in", "a"]] {
        let mut routers = ["in", "a", "b", "out"].map(|vm| Router::new(&old, vm).unwrap());
        for step in 0..=order.len() {
            if let Some(vm) = step.checked_sub(1).map(|at| order[at]) {
                routers.iter_mut().find(|router| router.me == vm).unwrap().add(&new).unwrap();
            }
            routers.iter_mut().for_each(|router| router.set_ready(ALL));
            for (version, wanted) in [(1u32, ["a", "b", "out"]), (2, ["b", "a", "out"])] {
                let path = Spi::from_bits(1 << 8 | version);
                let (slot, mut frame) = with(&[0x5a; 60], |frame| routers[0].enter(path, frame));
                let mut way = Vec::new();
                let mut next = slot.map(|slot| routers[0].slots()[usize::from(slot)].clone());
                while let Some(vm) = next {
                    let router = routers.iter_mut().find(|router| router.me == vm).unwrap();
                    way.push(vm);
                    let (slot, after) = with(&frame, |frame| router.forward(frame));
                    (next, frame) = (slot.map(|slot| router.slots()[usize::from(slot)].clone()), after);
                }
                assert_eq!(way, wanted[..way.len()], "version {version} after {step} of {order:?}");
                assert!(version == 2 || way.len() == 3, "the old version is served on");
                assert!(step < 3 || way.len() == 3, "all know both");
            }
        }
    }
}

#[test]
fn a_version_that_is_served_never_becomes_another_one() {
    let mut b = router("b");
    for (from, to) in
        [("vm = \"c\"", "vm = \"e\""), ("vm = \"a\"", "vm = \"e\""), ("\"in\", \"out\"", "\"out\", \"in\"")]
    {
        assert_eq!(b.add(&file(&FILE.replacen(from, to, 1))), Err(RouterError::Changed("c".into())));
    }
    assert_eq!(b.add(&file(&FILE.replacen("oam = true", "oam = false", 1))), Err(RouterError::Changed("d".into())));
    assert_eq!(b.add(&file(FILE)), Ok(()), "nothing changed");
    let closed = FILE.replacen("{ vm = \"b\", policy = \"open\" }", "{ vm = \"b\", policy = \"closed\" }", 1);
    assert_eq!(b.add(&file(&closed)), Err(RouterError::Changed("c".into())));
    assert!(b.remove(Spi::from_bits(C)) && !b.remove(Spi::from_bits(C)));
    drops(&mut b, &frame(C, 254, 63), None, Cause::Path);
    assert_eq!(Router::new(&file(FILE), "nobody").map(drop), Err(RouterError::Nobody("nobody".into())));
}

#[test]
fn a_vm_has_nothing_left_to_do_once_a_direction_of_each_chain_is_dead() {
    let b = router("b");
    let bits = |vms: &[&str]| vms.iter().map(|vm| 1u64 << b.slots().iter().position(|name| name == vm).unwrap()).sum();
    assert!(!b.is_over(0) && !b.is_over(bits(&["c", "a"])) && !b.is_over(bits(&["out"])));
    assert!(b.is_over(bits(&["out", "c"])) && b.is_over(bits(&["in", "a"])) && b.is_over(bits(&["in", "c"])));
}

#[test]
fn the_table_names_each_path() {
    let mut b = router("b");
    forward(&mut b, &frame(D, 255, 9));
    drops(&mut b, &frame(7, 1, 1), None, Cause::Path);
    let text = b.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        (lines.len(), lines[1]),
        (5, "chain d version 0, forward, 2 of 3: 1 packets, 98 bytes, 0 bypassed, 0 dropped")
    );
    assert_eq!(lines[4], "no chain: 1 packets, 98 bytes, 0 bypassed, 1 dropped: path 1");
}

/// The way through a whole burst does what the way of single frames does, wherever headers change.
#[test]
fn a_burst_is_forwarded_as_its_frames_are() {
    let oam = chained(1 << 13 | 63 << 6 | 6, [1, 3], D, 255, &[0; 16], &[1; 60]);
    let kinds = [
        frame(C, 254, 63),
        frame(C, 254, 62),
        frame(D, 255, 9),
        frame(C, 253, 63),
        oam,
        frame(C, 254, 63)[..38].to_vec(),
    ];
    for ready in [ALL, 0b101] {
        for pattern in 0..6usize.pow(4) {
            let order = [0, 0, 1, 2, 3].map(|digit| pattern / 6usize.pow(digit) % 6);
            let [mut single, mut whole] = ["b"; 2].map(router);
            [&mut single, &mut whole].into_iter().for_each(|router| router.set_ready(ready));
            let expected = order.map(|kind| with(&kinds[kind], |frame| single.forward(frame)));
            let mut burst = crate::testing::burst();
            order.iter().for_each(|kind| assert!(burst.push_bytes(&kinds[*kind]).is_ok()));
            let mut slots = [None; 5];
            whole.forward_burst(&mut burst, &mut slots);
            let found: Vec<_> = slots.into_iter().zip(burst.frames().map(crate::testing::bytes)).collect();
            assert_eq!((found, whole.to_string()), (expected.to_vec(), single.to_string()), "{order:?}");
        }
    }
}
