//! Nobody polls: each side waits until the other tells it.

#[allow(dead_code, reason = "a part is needed here")]
mod common;

use anyhow::{Result, ensure};
use sluice_abi::net::F;
use std::time::Duration;
use vhost_peers::backend::{Backend, Session};
use vhost_peers::frontend::{Frontend, Request};
use vhost_peers::testpmd::Testpmd;
use vhost_peers::traffic::{Flow, Port};
use vhost_peers::{Combination, Format, Side};

const PACKETS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(30);
/// After so long without a word, with frames on their way, one was forgotten.
const SILENCE: Duration = Duration::from_secs(3);

/// A port that can be told.
trait Told: Port {
    fn ask(&mut self) -> Result<()>;
    fn wait(&mut self) -> Result<bool>;
}

impl Told for Session {
    fn ask(&mut self) -> Result<()> {
        self.device().ask_for_notifications(0, true);
        Ok(())
    }

    fn wait(&mut self) -> Result<bool> {
        Session::wait(self, 0, SILENCE)
    }
}

impl Told for Frontend {
    fn ask(&mut self) -> Result<()> {
        self.ask_for_notifications(0)
    }

    fn wait(&mut self) -> Result<bool> {
        Frontend::wait(self, 0, SILENCE)
    }
}

/// Waits before each round in which nothing would be there.
struct Sleeper<'p, P> {
    port: &'p mut P,
    on_their_way: u64,
    idle: bool,
    told: u64,
}

impl<P: Told> Port for Sleeper<'_, P> {
    fn send(&mut self, pair: u16, frame: &[u8]) -> Result<bool> {
        let sent = self.port.send(pair, frame)?;
        self.on_their_way += u64::from(sent);
        Ok(sent)
    }

    fn flush(&mut self, pair: u16) -> Result<()> {
        self.port.flush(pair)
    }

    fn receive(&mut self, pair: u16, into: &mut [u8]) -> Result<Option<usize>> {
        let mut received = self.port.receive(pair, into)?;
        if received.is_none() {
            // What comes before this is seen here, what comes after it is told.
            self.port.ask()?;
            received = self.port.receive(pair, into)?;
        }
        // A late probe was not counted when it was sent.
        self.on_their_way = self.on_their_way.saturating_sub(received.is_some().into());
        self.idle = received.is_none();
        Ok(received)
    }

    fn serve(&mut self) -> Result<()> {
        self.port.serve()?;
        if self.idle && self.on_their_way > 0 {
            ensure!(self.port.wait()?, "told {} times, and then no more", self.told);
            self.told += 1;
        }
        Ok(())
    }
}

fn combination(side: Side, ring: Format) -> Combination {
    Combination { side, ring, mergeable: true, in_order: false, vectorized: false, queue_size: 256, pairs: 1 }
}

/// Every frame comes back, and each time we slept we were woken for it.
fn sleeps_well(combination: &Combination, port: &mut impl Told, peer: &Testpmd) {
    let mut flow = Flow::new(combination.plan(PACKETS));
    flow.warm_up(port, PATIENCE).unwrap_or_else(|error| panic!("{combination}: {error:?}\n{}", peer.output()));
    let mut sleeper = Sleeper { port, on_their_way: 0, idle: false, told: 0 };
    while flow.round(&mut sleeper).unwrap_or_else(|error| panic!("{combination}: {error}")) {}
    let (told, tally) = (sleeper.told, flow.tally());
    assert!(tally.is_clean() && tally.packets == PACKETS, "{combination}: {tally:?}, told {told} times");
    assert!(told > 0, "{combination}: it never had to wait");
}

#[test]
fn our_driver_side_is_told_of_frames_with_testpmd() {
    let _turn = common::turn();
    for (ring, event_idx) in [Format::Split, Format::Packed].iter().flat_map(|&ring| [(ring, false), (ring, true)]) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let combination = combination(Side::Driver, ring);
        let mut peer = Testpmd::start(&combination.testpmd(&socket)).unwrap();
        peer.wait_for("Start automatic packet forwarding").unwrap();
        let mut features = combination.features();
        features.set(F::EVENT_IDX, event_idx);
        let mut frontend = Frontend::connect(&socket, &Request { features, ..combination.request() }).unwrap();
        sleeps_well(&combination, &mut frontend, &peer);
    }
}

#[test]
fn our_device_side_is_told_of_frames_and_tells_nobody_who_polls_with_testpmd() {
    let _turn = common::turn();
    for ring in [Format::Split, Format::Packed] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let combination = combination(Side::Device, ring);
        let backend = Backend::bind(&socket, combination.offer()).unwrap();
        let peer = Testpmd::start(&combination.testpmd(&socket)).unwrap();
        let mut session = backend.accept(PATIENCE).unwrap();
        session.until_running(1, PATIENCE).unwrap();
        sleeps_well(&combination, &mut session, &peer);
        // Its driver polls and says so in the rings.
        assert_eq!(session.device().calls(), 0, "{combination}");
    }
}
