//! DPDK's testpmd as VMs.

use crate::lab::*;
use crate::windows::{Killed, example, start as start_process};
use sluice_abi::net::F;
use sluice_vhost_user::Request;
use std::time::Instant;
use vhost_peers::testpmd::{Counters, Forward, Options, Testpmd};

const FRAMES: u32 = 100_000;
/// Entries of each queue of a VM.
const RING: u16 = 1_024;
/// Frames on their way at a time: half a ring, as DPDK gives its driver's buffers back late. If one of the VMs is a
/// process, no more than its receive queue has room for.
const WINDOW: u64 = 512;
const PROCESS_WINDOW: u64 = 256;

/// VMs of testpmd, and the features of their devices.
type Vms = [(char, &'static str)];
const VMS: [(char, &str); 3] = [
    ('x', "packed_vq=0,mrg_rxbuf=1,in_order=0"),
    ('y', "packed_vq=1,mrg_rxbuf=1,in_order=1"),
    ('z', "packed_vq=0,mrg_rxbuf=0,in_order=0,vectorized=1"),
];

/// The same, where the window is on packed rings.
const PACKED_VMS: [(char, &str); 3] = [('x', "packed_vq=1,mrg_rxbuf=1,in_order=0"), VMS[1], VMS[2]];

/// Starts testpmd with `pairs` queue pairs as each of `vms`, which send every frame on, on the pair that it came from:
/// x to y, y to z, z to a.
fn start(lab: &Lab, pairs: u16, vms: &Vms) -> Testpmd {
    let text = |vm: char| format!("02:00:00:00:00:{:02x}", vm as u8);
    let vdev = |(port, (vm, features)): (usize, &(char, &str))| {
        let (path, mac, control) = (lab.socket(*vm), text(*vm), u8::from(pairs > 1));
        let rings = format!("queue_size={RING},queues={pairs},cq={control},{features}");
        format!("net_virtio_user{port},path={},mac={mac},{rings}", path.display())
    };
    let next = |(port, (vm, _)): (usize, &(char, &str))| {
        let next = VMS.iter().map(|(vm, _)| *vm).skip_while(|it| it != vm).nth(1);
        format!("--eth-peer={port},{}", text(next.unwrap_or('a')))
    };
    let vdevs = vms.iter().enumerate().map(vdev).collect();
    let more = [vec!["--forward-mode=mac".into()], vms.iter().enumerate().map(next).collect()].concat();
    let options = Options { vdevs, forward: Forward::Back, pairs, ring: RING, wide_vectors: false, more };
    let mut testpmd = Testpmd::start(&options).expect("testpmd");
    testpmd.wait_for("Start automatic packet forwarding").expect("forwarding");
    for (vm, features) in vms {
        lab.until(*vm, |it| it["rings"].as_array().is_some_and(|all| all.len() == usize::from(2 * pairs)));
        let packed = lab.status(*vm)["features"].as_u64().expect("features") & F::RING_PACKED.bits() != 0;
        assert_eq!(packed, features.contains("packed_vq=1"), "{vm}'s rings");
    }
    testpmd
}

/// Frame `number`, whose length and every byte behind the addresses follow from its number.
fn numbered(destination: char, source: char, number: u64) -> Vec<u8> {
    let len = [64, 1_514, 64, 128, 64, 594, 64, 128][number as usize % 8];
    let word = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let head = [&mac(destination)[..], &mac(source), &[0x88, 0xb5]].concat();
    let mut frame = [&head, &number.to_le_bytes()[..], [word; 187].as_flattened()].concat();
    frame.truncate(len);
    frame
}

/// Sends `frames` frames to VM `first`, and takes each as z sends it: once, in order, with every byte as it was. At
/// most `window` are on their way.
fn go_round(lab: &Lab, frames: u64, window: u64, first: char) {
    let mut a = lab.connect_with('a', &Request { features: SPLIT, pairs: 1, size: RING });
    let (mut sent, mut got, mut last) = (0, 0, Instant::now());
    let mut bytes = [0; 2_048];
    while got < frames {
        while sent < frames && sent - got < window {
            assert!(a.send(0, &numbered(first, 'a', sent)).expect("a queue"));
            sent += 1;
        }
        a.flush(0).expect("published");
        while let Some(len) = a.receive(0, &mut bytes).expect("a receive queue") {
            assert!(bytes[..len] == numbered('a', 'z', got), "not frame {got}: {:?}", &bytes[..len]);
            (got, last) = (got + 1, Instant::now());
        }
        a.flush(0).expect("published");
        assert!(last.elapsed() < 6 * PATIENCE, "{got} of {sent} frames");
        std::thread::yield_now();
    }
    nothing(&mut a);
    assert_eq!((lab.counter('a', "taken"), lab.counter('a', "forwarded")), (frames, frames));
}

/// Starts `vms`, each process of testpmd with as many of them.
fn start_all(lab: &Lab, pairs: u16, vms: &Vms, of_a_process: usize) -> Vec<Testpmd> {
    vms.chunks(of_a_process).map(|vms| start(lab, pairs, vms)).collect()
}

/// Fails unless all VMs together count `frames` frames.
fn all_count(testpmds: Vec<Testpmd>, frames: u64) {
    let counters = testpmds.into_iter().map(|mut testpmd| testpmd.stop().expect("counters"));
    let add = |a: Counters, b: Counters| Counters {
        received: a.received + b.received,
        sent: a.sent + b.sent,
        dropped: a.dropped + b.dropped,
    };
    assert_eq!(counters.reduce(add), Some(Counters { received: frames, sent: frames, dropped: 0 }));
}

/// A VM of ours sends to x, which sends on to y, which sends on to z, which sends on to the first.
fn frames_pass_three_vms(frames: u64, of_a_process: usize) {
    let next = |name, next: char| vm(name, &format!("lan = [\"{next}\"]"));
    let lab = Lab::new(&[next('a', 'x'), next('x', 'y'), next('y', 'z'), next('z', 'a')].concat());
    let testpmds = start_all(&lab, 1, &VMS, of_a_process);
    go_round(&lab, frames, WINDOW, 'x');
    for (vm, _) in VMS {
        assert_eq!((lab.counter(vm, "taken"), lab.counter(vm, "forwarded")), (frames, frames), "{vm}");
    }
    all_count(testpmds, 3 * frames);
}

/// The same, with a process between the first and x, which has a window on x.
fn frames_pass_a_window_and_three_vms(frames: u64, vms: &Vms) {
    let next = |name, next: char| vm(name, &format!("lan = [\"{next}\"]\npairs = 2"));
    let f = vm('f', "ram_mib = 32\npeers = [\"x\"]");
    let lab = Lab::new(&[next('a', 'f'), f, next('x', 'y'), next('y', 'z'), next('z', 'a')].concat());
    let testpmds = start_all(&lab, 2, vms, VMS.len());
    let mut forward = example("forward");
    forward.arg("x");
    let _forward = Killed(start_process(&lab, 'f', forward));
    lab.until('f', |f| f["windows"][0]["state"] == "open" && f["rings"].as_array().is_some_and(|all| !all.is_empty()));
    go_round(&lab, frames, PROCESS_WINDOW, 'f');
    assert_eq!((lab.counter('f', "taken"), lab.counter('f', "forwarded")), (0, frames), "f");
    assert_eq!((lab.counter('x', "taken"), lab.counter('x', "forwarded")), (frames, 0), "x");
    lab.until('f', |f| f["windows"][0]["frames"] == frames);
    all_count(testpmds, 3 * frames);
}

#[test]
fn a_hundred_thousand_frames_pass_three_vms_and_each_is_counted_with_testpmd() {
    frames_pass_three_vms(FRAMES.into(), VMS.len());
}

#[test]
fn a_hundred_thousand_frames_pass_a_window_and_three_vms_with_testpmd() {
    frames_pass_a_window_and_three_vms(FRAMES.into(), &VMS);
}

#[test]
fn a_hundred_thousand_frames_pass_a_window_on_packed_rings_and_three_vms_with_testpmd() {
    frames_pass_a_window_and_three_vms(FRAMES.into(), &PACKED_VMS);
}

/// Each VM has a process of testpmd.
#[test]
#[ignore = "minutes"]
fn ten_million_frames_pass_three_vms_and_each_is_counted_with_testpmd() {
    frames_pass_three_vms(10_000_000, 1);
}

#[test]
#[ignore = "minutes"]
fn ten_million_frames_pass_a_window_and_three_vms_with_testpmd() {
    frames_pass_a_window_and_three_vms(10_000_000, &VMS);
}

#[test]
#[ignore = "minutes"]
fn ten_million_frames_pass_a_window_on_packed_rings_and_three_vms_with_testpmd() {
    frames_pass_a_window_and_three_vms(10_000_000, &PACKED_VMS);
}

#[test]
fn a_vm_with_four_queue_pairs_sends_on_all_of_them_with_testpmd() {
    let lab = Lab::new(&(vm('x', "lan = [\"b\"]\npairs = 4") + &vm('b', "")));
    let b = lab.connect('b', SPLIT);
    let vdev = format!("net_virtio_user0,path={},mac=02:00:00:00:00:78,queues=4,cq=1", lab.socket('x').display());
    let more = vec!["--forward-mode=txonly".into(), "--eth-peer=0,02:00:00:00:00:62".into()];
    let peer = Testpmd::start(&Options {
        vdevs: vec![vdev],
        forward: Forward::Back,
        pairs: 4,
        ring: 256,
        wide_vectors: false,
        more,
    })
    .expect("testpmd");
    lab.until('x', |x| x["rings"].as_array().is_some_and(|rings| rings.len() == 8));
    lab.until('x', |x| x["counters"]["taken"].as_u64() > Some(10_000));
    lab.until('b', |b| b["counters"]["forwarded"].as_u64() > Some(0));
    drop((peer, b));
    lab.until('x', |x| x["connected_seconds"].is_null());
}

/// Frames of a process, in testpmd's second queue, whose device has these features.
fn a_process_fills_a_queue_of_testpmd(features: &str) {
    let lab = Lab::new(&(vm('g', "ram_mib = 32\npeers = [\"x\"]") + &vm('x', "")));
    let path = lab.socket('x');
    let vdev = format!("net_virtio_user0,path={},mac=02:00:00:00:00:78,queues=2,cq=1{features}", path.display());
    let mut peer = Testpmd::start(&Options {
        vdevs: vec![vdev],
        forward: Forward::Back,
        pairs: 2,
        ring: RING,
        wide_vectors: false,
        more: vec!["--forward-mode=rxonly".into()],
    })
    .expect("testpmd");
    peer.wait_for("Start automatic packet forwarding").expect("forwarding");
    for _ in 0..2 {
        let mut generator = example("generator");
        generator.args(["x", "length=64,594,1514", &format!("count={FRAMES}")]);
        let output = start_process(&lab, 'g', generator).wait_with_output().expect("an end");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        lab.until('g', |g| g["connected_seconds"].is_null());
    }
    let packed = lab.status('x')["features"].as_u64().expect("features") & F::RING_PACKED.bits() != 0;
    assert_eq!(packed, features.contains("packed_vq=1"));
    let counters = peer.stop().expect("counters");
    assert_eq!((counters.received, counters.dropped), (2 * u64::from(FRAMES), 0));
}

#[test]
fn a_process_fills_a_queue_of_a_dpdk_application_and_both_count_alike_with_testpmd() {
    a_process_fills_a_queue_of_testpmd("");
}

#[test]
fn a_process_fills_packed_queues_of_a_dpdk_application_and_both_count_alike_with_testpmd() {
    for features in ["mrg_rxbuf=1,in_order=1", "mrg_rxbuf=0,in_order=0", "mrg_rxbuf=0,in_order=1,vectorized=1"] {
        a_process_fills_a_queue_of_testpmd(&format!(",packed_vq=1,{features}"));
    }
}
