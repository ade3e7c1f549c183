//! What is run: the combinations of sides, formats, features and sizes.

use crate::testpmd::{Counters, Forward, Options, Testpmd};
use crate::traffic::{Flow, Plan, Port, Tally};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use sluice_abi::net::F;
use sluice_vhost_user::{Backend, Frontend, Offer, Request};
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the two ends may take to find each other.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Which end of the rings is Sluice's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Sluice has the device, and testpmd is a driver.
    Device,
    /// Sluice has the driver, and testpmd is a device.
    Driver,
}

/// The format of the rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Split rings. See: VIRTIO 2.7 "Split Virtqueues".
    Split,
    /// Packed rings. See: VIRTIO 2.8 "Packed Virtqueues".
    Packed,
}

/// One way to set up both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Combination {
    /// The side that is Sluice's.
    pub side: Side,
    /// The format of all queues.
    pub ring: Format,
    /// Whether a frame may fill several receive buffers. If so, some frames do.
    pub mergeable: bool,
    /// Whether buffers are used in the order in which they were given.
    pub in_order: bool,
    /// Whether testpmd is asked for its vectorized receive path. That of packed rings needs a processor with AVX-512.
    pub vectorized: bool,
    /// The number of entries of each queue.
    pub queue_size: u16,
    /// The number of queue pairs.
    pub pairs: u16,
}

/// What became of the frames of one combination.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The combination that was run.
    #[serde(flatten)]
    pub combination: Combination,
    /// The number of frames that were sent.
    pub packets: u64,
    /// The number of frames that never came back.
    pub lost: u64,
    /// The number of frames that came back twice.
    pub doubled: u64,
    /// The number of frames that came back out of order.
    pub reordered: u64,
    /// The number of frames that came back changed.
    pub torn: u64,
    /// The time from the first frame sent to the last one taken.
    pub seconds: f64,
    /// The receive path that testpmd's driver says it takes. Its device has one path only.
    pub receive_path: Option<String>,
    /// The counters of testpmd.
    #[serde(skip)]
    pub counters: Counters,
}

impl Row {
    /// Returns whether every frame came back once, whole and in order, and testpmd dropped none.
    pub fn is_clean(&self) -> bool {
        let Self { lost, doubled, reordered, torn, .. } = self;
        [lost, doubled, reordered, torn, &self.counters.dropped].iter().all(|&&count| count == 0)
    }
}

impl Combination {
    /// Returns all combinations: both sides, both formats, every set of features that testpmd can have, queue sizes, 1
    /// to 4 pairs.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for side in [Side::Device, Side::Driver] {
            for (ring, sizes) in [(Format::Split, &[256, 1024][..]), (Format::Packed, &[256, 1024, 1000])] {
                for (mergeable, in_order, vectorized) in features(side, ring) {
                    for (&queue_size, pairs) in sizes.iter().flat_map(|size| (1..=4).map(move |pairs| (size, pairs))) {
                        all.push(Self { side, ring, mergeable, in_order, vectorized, queue_size, pairs });
                    }
                }
            }
        }
        all
    }

    /// Returns the features that both ends agree on.
    pub fn features(&self) -> F {
        let mut features = F::VERSION_1 | F::INDIRECT_DESC;
        features.set(F::RING_PACKED, self.ring == Format::Packed);
        features.set(F::MRG_RXBUF, self.mergeable);
        features.set(F::IN_ORDER, self.in_order);
        features.set(F::MQ | F::CTRL_VQ, self.pairs > 1);
        features
    }

    /// Returns the options of testpmd with its end at `socket`.
    pub fn testpmd(&self, socket: &Path) -> Options {
        let Self { pairs, queue_size, .. } = *self;
        let (path, flag) = (socket.display(), |on: bool| u8::from(on));
        let vdev = match self.side {
            Side::Device => format!(
                "net_virtio_user0,path={path},queues={pairs},cq={},queue_size={queue_size},\
                 packed_vq={},mrg_rxbuf={},in_order={},vectorized={}",
                flag(pairs > 1),
                flag(self.ring == Format::Packed),
                flag(self.mergeable),
                flag(self.in_order),
                flag(self.vectorized),
            ),
            Side::Driver => format!("net_vhost0,iface={path},queues={pairs}"),
        };
        let wide_vectors = self.vectorized && self.ring == Format::Packed;
        let (forward, more) = (Forward::Back, Vec::new());
        Options { vdevs: vec![vdev], forward, pairs, ring: queue_size, wide_vectors, more }
    }

    /// Returns the plan for `packets` frames. At most half a ring is on its way, so that neither end ever has to drop a
    /// frame.
    pub fn plan(&self, packets: u64) -> Plan {
        Plan { pairs: self.pairs, packets, long_frames: self.mergeable, window: usize::from(self.queue_size / 2) }
    }

    /// Returns what the back-end offers.
    pub fn offer(&self) -> Offer {
        Offer { features: self.features(), pairs: self.pairs }
    }

    /// Returns what the front-end asks for.
    pub fn request(&self) -> Request {
        Request { features: self.features(), pairs: self.pairs, size: self.queue_size }
    }

    /// Runs the combination with `packets` frames.
    pub fn run(&self, packets: u64) -> Result<Row> {
        self.run_both_ends(packets).with_context(|| self.to_string())
    }

    fn run_both_ends(&self, packets: u64) -> Result<Row> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("socket");
        match self.side {
            Side::Device => {
                let backend = Backend::bind(&socket, self.offer())?;
                let mut peer = Testpmd::start(&self.testpmd(&socket))?;
                let mut session = backend.accept(PATIENCE).with_context(|| peer.output())?;
                session.until_running(self.pairs, PATIENCE).with_context(|| peer.output())?;
                let chosen = session.device().features();
                if chosen & (F::RING_PACKED | F::MRG_RXBUF | F::IN_ORDER)
                    != self.features() & (F::RING_PACKED | F::MRG_RXBUF | F::IN_ORDER)
                {
                    bail!("testpmd chose {chosen:?}");
                }
                self.traffic(packets, &mut session, &mut peer)
            }
            Side::Driver => {
                let mut peer = Testpmd::start(&self.testpmd(&socket))?;
                peer.wait_for("Start automatic packet forwarding")?;
                let mut frontend = Frontend::connect(&socket, &self.request()).with_context(|| peer.output())?;
                self.traffic(packets, &mut frontend, &mut peer)
            }
        }
    }

    fn traffic(&self, packets: u64, port: &mut impl Port, peer: &mut Testpmd) -> Result<Row> {
        let mut flow = Flow::new(self.plan(packets));
        flow.warm_up(port, PATIENCE).with_context(|| peer.output())?;
        let start = Instant::now();
        while flow.round(port).with_context(|| peer.output())? {}
        let seconds = start.elapsed().as_secs_f64();
        let counters = peer.stop()?;
        let Tally { packets: sent, lost, doubled, reordered, torn } = flow.tally();
        let lost = lost + (packets - sent);
        let receive_path = peer.receive_path();
        Ok(Row { combination: *self, packets: sent, lost, doubled, reordered, torn, seconds, receive_path, counters })
    }
}

/// Returns what testpmd can be asked for: mergeable, in-order, vectorized.
fn features(side: Side, ring: Format) -> Vec<(bool, bool, bool)> {
    let mut features = vec![(false, false, false), (true, false, false), (false, true, false), (true, true, false)];
    if side == Side::Device {
        // DPDK takes the vectorized path only with these features.
        features.push((false, ring == Format::Packed, true));
    }
    features
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, ring, mergeable, in_order, vectorized, queue_size, pairs } = *self;
        let names = [(mergeable, " mergeable"), (in_order, " in-order"), (vectorized, " vectorized")];
        let names: String = names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        let (side, ring) = (format!("{side:?}").to_lowercase(), format!("{ring:?}").to_lowercase());
        write!(f, "our {side} side, {ring} rings of {queue_size},{names} {pairs} pairs")
    }
}
