//! Taps: ports of the switch that are devices of the host's network.

use crate::host::*;
use crate::lab::*;
use sluice_vhost_user::Frontend;
use std::time::{Duration, Instant};

/// A frame with bytes and a length of its own.
fn frame_of(to: [u8; 6], from: [u8; 6], number: u32) -> Vec<u8> {
    let len = 60 + number * 37 % 1_455;
    let mut bytes = [&to[..], &from, &[0x88, 0xb5], &number.to_le_bytes()].concat();
    bytes.extend((bytes.len() as u32..len).map(|at| (at * 7 + number) as u8));
    bytes
}

#[track_caller]
fn send_frames(front: &mut Frontend, frames: &[Vec<u8>]) {
    for frame in frames {
        until("there is room", || {
            let is_sent = front.send(0, frame).expect("a transmit queue");
            front.flush(0).expect("published");
            is_sent
        });
    }
}

#[track_caller]
fn take_frames(front: &mut Frontend, count: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    until("the frames arrive at the VM", || {
        let mut bytes = [0; 2_048];
        let len = front.receive(0, &mut bytes).expect("a receive queue");
        front.flush(0).expect("published");
        all.extend(len.map(|len| bytes[..len].to_vec()));
        all.len() == count
    });
    all
}

/// Frames pass both ways between VM a and a station beside `device`.
#[track_caller]
fn passes(front: &mut Frontend, peer: &Peer) {
    send_frames(front, &[frame(PEER, mac('a'), 7)]);
    assert_eq!(peer.take_all(1), [frame(PEER, mac('a'), 7)]);
    peer.send(&[frame(mac('a'), PEER, 8)]);
    assert_eq!(take_frames(front, 1), [frame(mac('a'), PEER, 8)]);
}

#[test]
fn frames_pass_both_ways_byte_for_byte_and_both_ports_count_them_with_tap() {
    for (rings, keys) in [(SPLIT, "lan = [\"a\"]"), (PACKED, "lan = [\"a\"]\noffloads = false")] {
        let tap = Device::tap();
        let lab = Lab::new(&(vm('a', "lan = [\"up\"]") + &tap.table(keys)));
        let (peer, mut a) = (Peer::beside(&tap.0), lab.connect('a', rings));
        for round in 0..10 {
            let frames = |to, from| (0..100).map(|at| frame_of(to, from, round * 100 + at)).collect::<Vec<_>>();
            let (out, back) = (frames(PEER, mac('a')), frames(mac('a'), PEER));
            send_frames(&mut a, &out);
            assert_eq!(peer.take_all(100), out);
            peer.send(&back);
            assert_eq!(take_frames(&mut a, 100), back);
        }
        let (vm, up) = (lab.status('a'), lab.tap("up"));
        for port in [&vm, &up] {
            let counts = ["taken", "forwarded", "full", "denied"].map(|name| port["counters"][name].as_u64());
            assert_eq!(counts, [1_000, 1_000, 0, 0].map(Some));
        }
        assert_eq!(vm["taken_bytes"], up["forwarded_bytes"]);
        assert_eq!((&up["opens"], &up["is_down"]), (&1.into(), &false.into()));
    }
}

#[test]
fn an_idle_server_is_woken_by_a_frame_from_the_host_with_tap() {
    let tap = Device::tap();
    let lab = Lab::new(&(vm('a', "lan = [\"up\"]") + &tap.table("lan = [\"a\"]")));
    let (peer, mut a) = (Peer::beside(&tap.0), lab.connect('a', SPLIT));
    let start = Instant::now();
    for number in 0..20 {
        // The server sleeps by now. It looks by itself each second.
        std::thread::sleep(Duration::from_millis(3));
        peer.send(&[frame(mac('a'), PEER, number)]);
        assert_eq!(take_frames(&mut a, 1), [frame(mac('a'), PEER, number)]);
    }
    assert!(start.elapsed().as_secs() < 10, "{:?} for 20 frames", start.elapsed());
}

#[test]
fn the_policy_says_who_reaches_the_host_and_whom_the_host_reaches_with_tap() {
    let tap = Device::tap();
    let vms = vm('a', "lan = [\"up\"]") + &vm('b', "");
    let lab = Lab::new(&(vms.clone() + &tap.table("lan = [\"a\"]")));
    let (peer, mut a, mut b) = (Peer::beside(&tap.0), lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    send(&mut b, PEER, mac('b'), 0..3);
    send(&mut b, BROADCAST, mac('b'), 3..5);
    lab.until('b', |b| b["counters"]["denied"] == 5);
    peer.nothing();
    peer.send(&[frame(mac('b'), PEER, 10), frame(BROADCAST, PEER, 11)]);
    assert_eq!(take_all(&mut a, 1), [11], "the broadcast alone");
    // Nobody in the host's network has the address of a VM.
    peer.send(&[frame(mac('a'), mac('b'), 12), frame(BROADCAST, mac('b'), 13)]);
    lab.until_tap("up", |up| up["counters"]["source_refused"] == 2);
    assert_eq!(lab.tap("up")["counters"]["denied"], 1);
    lab.policy(&(vms + &tap.table("lan = [\"a\"]\nmacs = [\"02:00:00:00:01:02\"]")));
    assert!(lab.ask(&["reload"]).status.success());
    peer.send(&[frame(mac('a'), PEER, 14), frame(mac('a'), [2, 0, 0, 0, 1, 2], 15)]);
    assert_eq!(take_all(&mut a, 1), [15]);
    [&mut a, &mut b].into_iter().for_each(nothing);
}

#[test]
fn a_station_that_was_heard_behind_the_tap_gets_its_frames_alone_with_tap() {
    let tap = Device::tap();
    let vms = vm('a', "lan = [\"b\", \"up\"]") + &vm('b', "");
    let lab = Lab::new(&(vms + &tap.table("lan = [\"a\"]")));
    let (peer, mut a, mut b) = (Peer::beside(&tap.0), lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    send(&mut a, PEER, mac('a'), 0..1);
    assert_eq!(take_all(&mut b, 1), [0], "who is not known is looked for everywhere");
    peer.send(&[frame(mac('a'), PEER, 1)]);
    assert_eq!(take_all(&mut a, 1), [1]);
    send(&mut a, PEER, mac('a'), 2..9);
    assert_eq!(peer.take_all(8).len(), 8);
    nothing(&mut b);
}

/// The processor time that the server has used.
fn used(lab: &Lab) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", lab.child.id())).expect("a process");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    // Fields 14 and 15, of which the second field ends with the parenthesis, in hundredths. See: proc(5).
    Duration::from_millis(fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks") * 10).sum())
}

#[test]
fn a_tap_that_is_deleted_holds_nobody_and_is_opened_again_with_tap() {
    let tap = Device::tap();
    let vms = vm('a', "lan = [\"b\", \"up\"]") + &vm('b', "lan = [\"a\"]");
    let lab = Lab::new(&(vms + &tap.table("lan = [\"a\"]")));
    let (peer, mut a, mut b) = (Peer::beside(&tap.0), lab.connect('a', SPLIT), lab.connect('b', SPLIT));
    passes(&mut a, &peer);
    assert_eq!(take_all(&mut b, 1), [7]);
    ip(&format!("link del {}", tap.0));
    // What has the name now is no tap.
    ip(&format!("link add {} type bridge", tap.0));
    lab.until_tap("up", |up| up["open_seconds"].is_null());
    let before = used(&lab);
    std::thread::sleep(Duration::from_millis(2_500));
    let after = used(&lab) - before;
    assert!(after < Duration::from_millis(250), "{after:?} without work");
    send(&mut a, PEER, mac('a'), 0..5);
    lab.until_tap("up", |up| up["counters"]["no_queue"] == 5);
    send(&mut a, mac('b'), mac('a'), 5..9);
    assert_eq!(take_all(&mut b, 4), [5, 6, 7, 8]);
    ip(&format!("link del {}", tap.0));
    lab.until_tap("up", |up| up["opens"] == 2);
    let status = String::from_utf8(lab.ask(&["status"]).stdout).expect("text");
    assert!(status.contains("opened 2 times; the last loss: the device is gone: "), "{status}");
    drop(peer);
    passes(&mut a, &Peer::beside(&tap.0));
}

#[test]
fn a_device_that_is_down_drops_what_it_gets_and_says_so_with_tap() {
    let tap = Device::tap();
    let lab = Lab::new(&(vm('a', "lan = [\"up\"]") + &tap.table("lan = [\"a\"]")));
    let (peer, mut a) = (Peer::beside(&tap.0), lab.connect('a', SPLIT));
    ip(&format!("link set {} down", tap.0));
    send(&mut a, PEER, mac('a'), 0..3);
    lab.until_tap("up", |up| up["counters"]["full"] == 3 && up["is_down"] == true);
    ip(&format!("link set {} up", tap.0));
    until("frames pass", || {
        send(&mut a, PEER, mac('a'), 3..4);
        std::thread::sleep(Duration::from_millis(10));
        peer.take().is_some()
    });
    assert_eq!(lab.tap("up")["is_down"], false);
}

#[test]
fn a_reload_adds_a_tap_and_gives_it_another_name_and_takes_it_away_with_tap() {
    let (tap, vms) = (Device::tap(), vm('a', "lan = [\"up\"]"));
    let lab = Lab::new(&vm('a', ""));
    let mut a = lab.connect('a', SPLIT);
    let reload = |policy: &str| {
        lab.policy(policy);
        let output = lab.ask(&["reload"]);
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), text)
    };
    let (done, said) = reload(&(vms.clone() + &tap.table("lan = [\"a\"]")));
    assert!(done && said.contains("1 VMs and taps stay, 1 are new, 0 are gone"), "{said}");
    let peer = Peer::beside(&tap.0);
    passes(&mut a, &peer);
    // A device that can't be had changes nothing.
    let (done, said) = reload(&(vms.clone() + &tap.table("lan = [\"a\"]").replace(&tap.0, "lo")));
    let why =
        "policy.toml:9: tap \"up\": device \"lo\": Invalid argument (os error 22): there is a device of this name";
    assert!(!done && said.contains(why), "{said}");
    passes(&mut a, &peer);
    let other = |policy: String| policy.replace("\"up\"", "\"other\"");
    let changes = || std::fs::read_to_string(format!("/sys/class/net/{}/carrier_changes", tap.0)).expect("a device");
    let before = changes();
    assert!(reload(&other(vms.clone() + &tap.table("lan = [\"a\"]"))).0);
    passes(&mut a, &peer);
    assert_eq!(changes(), before, "it stays open");
    assert_eq!(lab.tap("other")["counters"]["taken"], 1, "it is another port");
    assert!(reload(&other(vms + &tap.table("lan = [\"a\"]\noffloads = false"))).0);
    passes(&mut a, &peer);
    assert!(reload(&vm('a', "")).0);
    send(&mut a, PEER, mac('a'), 0..2);
    lab.until('a', |a| a["counters"]["denied"] == 2);
    let carrier = || std::fs::read_to_string(format!("/sys/class/net/{}/carrier", tap.0)).expect("a device");
    assert_eq!(carrier().trim(), "0", "nobody has it open");
}

#[test]
fn a_tap_is_captured_and_has_its_metrics_and_its_line_in_the_status_with_tap() {
    let tap = Device::tap();
    let lab = Lab::new(&(vm('a', "lan = [\"up\"]") + &tap.table("lan = [\"a\"]\ncapture = \"up.pcap\"")));
    let (peer, mut a) = (Peer::beside(&tap.0), lab.connect('a', SPLIT));
    passes(&mut a, &peer);
    let text = |words: &[&str]| String::from_utf8(lab.ask(words).stdout).expect("text");
    let status = text(&["status"]);
    let lines = [&format!("tap {} open ", tap.0), "from it 1 frames, 64 bytes; to it 1 frames, 64 bytes\n"];
    assert!(lines.iter().all(|line| status.contains(&**line)), "{status}");
    let metrics = text(&["status", "--prometheus"]);
    for line in ["sluice_taken_total{tap=\"up\"} 1\n", "sluice_connected{tap=\"up\"} 1\n"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let file = lab.file("live.pcap");
    let output = lab.ask(&["capture", "--seconds", "0", "up", file.to_str().expect("text")]);
    assert!(output.status.success(), "{output:?}");
    until("the capture has both frames", || {
        std::fs::metadata(lab.file("up.pcap")).is_ok_and(|file| file.len() == 24 + 2 * (16 + 64))
    });
}
