//! Nobody polls: each side waits until the other notifies it.

#[path = "../../../host/vhost-user/tests/common/mod.rs"]
#[allow(dead_code, reason = "a part is needed here")]
mod common;

use anyhow::{Result, ensure};
use sluice_abi::net::F;
use sluice_vhost_user::{Backend, Frontend, Request, Session};
use std::time::Duration;
use vhost_peers::testpmd::Testpmd;
use vhost_peers::traffic::{Flow, Port};
use vhost_peers::{Combination, Format, Side};

const PACKETS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(30);
/// With frames on their way, a side that was not notified for this long was forgotten.
const SILENCE: Duration = Duration::from_secs(3);

/// A port that can be notified.
trait Notified: Port {
    /// Asks for a notification of the next frame.
    fn ask(&mut self) -> Result<()>;
    /// Waits for a notification, and returns whether one came within [`SILENCE`].
    fn wait(&mut self) -> Result<bool>;
}

impl Notified for Session {
    fn ask(&mut self) -> Result<()> {
        self.device().ask_for_notifications(0, true);
        Ok(())
    }

    fn wait(&mut self) -> Result<bool> {
        Ok(Session::wait(self, 0, SILENCE)?)
    }
}

impl Notified for Frontend {
    fn ask(&mut self) -> Result<()> {
        Ok(self.ask_for_notifications(0)?)
    }

    fn wait(&mut self) -> Result<bool> {
        Ok(Frontend::wait(self, 0, SILENCE)?)
    }
}

/// A port that waits for a notification before each round that would find no frame.
struct Sleeper<'p, P> {
    port: &'p mut P,
    on_their_way: u64,
    idle: bool,
    notified: u64,
}

impl<P: Notified> Port for Sleeper<'_, P> {
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
            // A frame that came before this is seen here; one that comes after it is notified of.
            self.port.ask()?;
            received = self.port.receive(pair, into)?;
        }
        // A probe that comes late was not counted when it was sent.
        self.on_their_way = self.on_their_way.saturating_sub(received.is_some().into());
        self.idle = received.is_none();
        Ok(received)
    }

    fn serve(&mut self) -> Result<()> {
        self.port.serve()?;
        if self.idle && self.on_their_way > 0 {
            ensure!(self.port.wait()?, "notified {} times, and then no more", self.notified);
            self.notified += 1;
        }
        Ok(())
    }
}

fn combination(side: Side, ring: Format) -> Combination {
    Combination { side, ring, mergeable: true, in_order: false, vectorized: false, queue_size: 256, pairs: 1 }
}

/// Asserts that every frame comes back, and that each sleep ended with a notification.
fn sleeps_well(combination: &Combination, port: &mut impl Notified, peer: &Testpmd) {
    let mut flow = Flow::new(combination.plan(PACKETS));
    flow.warm_up(port, PATIENCE).unwrap_or_else(|error| panic!("{combination}: {error:?}\n{}", peer.output()));
    let mut sleeper = Sleeper { port, on_their_way: 0, idle: false, notified: 0 };
    while flow.round(&mut sleeper).unwrap_or_else(|error| panic!("{combination}: {error}")) {}
    let (notified, tally) = (sleeper.notified, flow.tally());
    assert!(tally.is_clean() && tally.packets == PACKETS, "{combination}: {tally:?}, notified {notified} times");
    assert!(notified > 0, "{combination}: no round had to wait");
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
        // The driver of testpmd polls, and says so in the rings.
        assert_eq!(session.device().calls(), 0, "{combination}");
    }
}
