//! DPDK's testpmd as VMs.

use crate::lab::*;
use crate::windows::{example, start as start_process};
use sluice_abi::net::F;
use sluice_vhost_user::{Frontend, Request};
use std::time::{Duration, Instant};
use vhost_peers::testpmd::{Forward, Options, Testpmd};

const FRAMES: u32 = 100_000;
/// Frames on their way at a time. No receive queue has less room.
const WINDOW: u32 = 512;
const RING: u16 = 1_024;

/// Starts testpmd as VM `vm`, which sends every frame on to `next`.
fn start(lab: &Lab, vm: char, next: char, features: &str) -> Testpmd {
    let text = |vm: char| format!("02:00:00:00:00:{:02x}", vm as u8);
    let vdev =
        format!("net_virtio_user0,path={},mac={},queue_size={RING},{features}", lab.socket(vm).display(), text(vm));
    let more = vec!["--forward-mode=mac".into(), format!("--eth-peer=0,{}", text(next))];
    Testpmd::start(&Options {
        vdevs: vec![vdev],
        forward: Forward::Back,
        pairs: 1,
        ring: RING,
        wide_vectors: false,
        more,
    })
    .expect("testpmd")
}

/// A VM of ours sends to x, which sends on to y, which sends on to the first.
#[test]
fn a_hundred_thousand_frames_pass_two_vms_and_each_is_counted_with_testpmd() {
    let lab = Lab::new(&(vm('a', "lan = [\"x\"]") + &vm('x', "lan = [\"y\"]") + &vm('y', "lan = [\"a\"]")));
    let mut x = start(&lab, 'x', 'y', "packed_vq=0,mrg_rxbuf=1,in_order=0");
    let mut y = start(&lab, 'y', 'a', "packed_vq=1,mrg_rxbuf=1,in_order=1");
    for vm in ['x', 'y'] {
        lab.until(vm, |vm| vm["rings"].as_array().is_some_and(|rings| rings.len() == 2));
    }
    let packed = lab.status('y')["features"].as_u64().expect("features") & F::RING_PACKED.bits();
    assert_ne!(packed, 0, "testpmd took packed rings");
    x.wait_for("Start automatic packet forwarding").and_then(|()| y.wait_for("Start automatic")).expect("forwarding");
    let request = Request { features: SPLIT, pairs: 1, size: RING };
    let mut a = Frontend::connect(&lab.socket('a'), &request).expect("connected");
    let (mut sent, mut got, start) = (0, 0, Instant::now());
    while got < FRAMES {
        while sent < FRAMES && sent - got < WINDOW {
            assert!(a.send(0, &frame(mac('x'), mac('a'), sent)).expect("a queue"));
            sent += 1;
        }
        a.flush(0).expect("published");
        while let Some(number) = take(&mut a) {
            assert_eq!(number, got, "lost, doubled or out of order");
            got += 1;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "{got} of {sent} frames");
        std::thread::yield_now();
    }
    nothing(&mut a);
    let frames = u64::from(FRAMES);
    for vm in ['a', 'x', 'y'] {
        assert_eq!((lab.counter(vm, "taken"), lab.counter(vm, "forwarded")), (frames, frames), "{vm}");
    }
    for peer in [&mut x, &mut y] {
        let counters = peer.stop().expect("counters");
        assert_eq!((counters.received, counters.sent, counters.dropped), (frames, frames, 0));
    }
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

/// Frames of a process, in testpmd's second queue.
#[test]
fn a_process_fills_a_queue_of_a_dpdk_application_and_both_count_alike_with_testpmd() {
    let lab = Lab::new(&(vm('g', "ram_mib = 32\npeers = [\"x\"]") + &vm('x', "")));
    let vdev = format!("net_virtio_user0,path={},mac=02:00:00:00:00:78,queues=2,cq=1", lab.socket('x').display());
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
        generator.args(["x", &format!("count={FRAMES}")]);
        let output = start_process(&lab, 'g', generator).wait_with_output().expect("an end");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    lab.until('g', |g| g["connected_seconds"].is_null());
    let counters = peer.stop().expect("counters");
    assert_eq!((counters.received, counters.dropped), (2 * u64::from(FRAMES), 0));
}
