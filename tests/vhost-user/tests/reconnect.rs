//! testpmd killed and started again, 20 times on either side.

#[path = "../../../host/vhost-user/tests/common/mod.rs"]
mod common;

use common::Open;
use sluice_abi::net::F;
use sluice_vhost_user::{Backend, Frontend};
use std::time::{Duration, Instant};
use vhost_peers::testpmd::Testpmd;
use vhost_peers::traffic::{Flow, Port};
use vhost_peers::{Combination, Format, Side};

const TIMES: u16 = 20;
const PACKETS: u64 = 5_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the combination of a time: formats by turns, and features that change in other steps.
fn combination(side: Side, time: u16) -> Combination {
    let ring = if time.is_multiple_of(2) { Format::Split } else { Format::Packed };
    let mergeable = time.is_multiple_of(3);
    Combination {
        side,
        ring,
        mergeable,
        in_order: time % 4 < 2,
        vectorized: false,
        queue_size: 256,
        pairs: 1 + time % 2,
    }
}

/// Asserts that all packets come back through `port`, and that `port` notices when testpmd is killed with packets on
/// their way.
fn traffic_until_killed(combination: &Combination, port: &mut impl Port, mut peer: Testpmd) {
    let mut flow = Flow::new(combination.plan(PACKETS));
    flow.warm_up(port, PATIENCE).unwrap_or_else(|error| panic!("{combination}: {error:?}\n{}", peer.output()));
    while flow.round(port).unwrap() {}
    let tally = flow.tally();
    assert!(tally.is_clean() && tally.packets == PACKETS, "{combination}: {tally:?}");
    let mut flow = Flow::new(combination.plan(u64::MAX));
    while flow.tally().packets < PACKETS {
        assert!(flow.round(port).unwrap());
    }
    peer.kill().unwrap();
    let (start, mut noticed) = (Instant::now(), false);
    while !noticed && start.elapsed() < PATIENCE {
        noticed = flow.round(port).is_err();
    }
    assert!(noticed, "{combination}: testpmd is dead, and nobody noticed");
}

#[test]
fn a_killed_front_end_leaves_nothing_and_the_next_is_served_with_testpmd() {
    let _turn = common::turn();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let mut offer = combination(Side::Device, 0).offer();
    offer.features = F::VERSION_1 | F::RING_PACKED | F::MRG_RXBUF | F::IN_ORDER | F::MQ | F::CTRL_VQ;
    offer.pairs = 2;
    let backend = Backend::bind(&socket, offer).unwrap();
    let before = Open::now();
    for time in 0..TIMES {
        let combination = combination(Side::Device, time);
        let peer = Testpmd::start(&combination.testpmd(&socket)).unwrap();
        let mut session = backend.accept(PATIENCE).unwrap();
        session.until_running(combination.pairs, PATIENCE).unwrap();
        assert_eq!(session.device().features().contains(F::RING_PACKED), combination.ring == Format::Packed);
        assert_ne!(Open::now(), before);
        traffic_until_killed(&combination, &mut session, peer);
        drop(session);
        assert_eq!(Open::now(), before, "after {}", time + 1);
    }
}

#[test]
fn a_killed_back_end_leaves_nothing_and_the_next_is_used_with_testpmd() {
    let _turn = common::turn();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let before = Open::now();
    for time in 0..TIMES {
        let combination = combination(Side::Driver, time);
        let mut peer = Testpmd::start(&combination.testpmd(&socket)).unwrap();
        peer.wait_for("Start automatic packet forwarding").unwrap();
        let mut frontend = Frontend::connect(&socket, &combination.request()).unwrap();
        assert_ne!(Open::now(), before);
        traffic_until_killed(&combination, &mut frontend, peer);
        drop(frontend);
        // A server that was killed leaves its socket behind, whose name the next one can't take.
        std::fs::remove_file(&socket).unwrap();
        assert_eq!(Open::now(), before, "after {}", time + 1);
    }
}
