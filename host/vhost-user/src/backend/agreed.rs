//! What a front-end and a back-end agree on, in two phases: protocol features, which say what messages there are, and
//! then features, without which no ring can be set up. A front-end may begin a phase again.

use crate::message::Fault;
use bitflags::bitflags;
use sluice_abi::net::F;

/// `VHOST_USER_F_PROTOCOL_FEATURES`: the front-end knows the messages that protocol features add.
const PROTOCOL_FEATURES: u64 = 1 << 30;
/// `VHOST_F_LOG_ALL`: pages that are written are marked in the log.
const LOG_ALL: u64 = 1 << 26;

bitflags! {
    /// Protocol features. See: "Vhost-user Protocol", "Protocol features".
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Protocol: u64 {
        /// There may be several queue pairs.
        const MQ = 1 << 0;
        /// The log is shared memory.
        const LOG_SHMFD = 1 << 1;
        /// The back-end announces the guest.
        const RARP = 1 << 2;
        /// A message without a reply of its own has one if the front-end wants.
        const REPLY_ACK = 1 << 3;
        /// The front-end tells the MTU.
        const MTU = 1 << 4;
        /// The front-end sets the device status.
        const STATUS = 1 << 16;
    }
}

/// What is offered.
#[derive(Clone, Copy, Debug)]
pub struct Offered {
    features: F,
    /// Whether the front-end may migrate its guest.
    migration: bool,
}

impl Offered {
    pub const fn new(features: F) -> Self {
        Self { features, migration: false }
    }

    pub const fn add_migration(&mut self) {
        self.migration = true;
    }

    /// Returns the features, as GET_FEATURES is answered.
    pub const fn features(&self) -> u64 {
        self.features.bits() | PROTOCOL_FEATURES | if self.migration { LOG_ALL } else { 0 }
    }

    /// Returns the protocol features, as GET_PROTOCOL_FEATURES is answered.
    pub fn protocol(&self) -> Protocol {
        let mut protocol = Protocol::MQ | Protocol::REPLY_ACK | Protocol::STATUS;
        protocol.set(Protocol::LOG_SHMFD | Protocol::RARP, self.migration);
        protocol.set(Protocol::MTU, self.features.contains(F::MTU));
        protocol
    }
}

/// The first phase: which messages there are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Messages(Option<Protocol>);

impl Messages {
    /// Agrees on what the front-end chose.
    pub fn choose(offered: &Offered, chosen: u64) -> Result<Self, Fault> {
        let all = Protocol::from_bits(chosen).filter(|&chosen| offered.protocol().contains(chosen));
        all.map(|chosen| Self(Some(chosen))).ok_or(Fault::NotOffered { what: "protocol features", chosen })
    }

    /// Returns whether `feature` was agreed on.
    pub fn have(self, feature: Protocol) -> bool {
        self.0.is_some_and(|chosen| chosen.contains(feature))
    }

    /// Refuses a message of a `feature` that was not agreed on.
    pub fn need(self, feature: Protocol) -> Result<(), Fault> {
        if self.have(feature) { Ok(()) } else { Err(Fault::NotAgreed) }
    }
}

/// The second phase: how rings are set up. Only SET_FEATURES makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// The features of the driver.
    pub features: F,
    /// Whether rings are enabled by SET_VRING_ENABLE. Else a ring is enabled once it is started.
    pub enabled_by_message: bool,
    /// Whether pages that are written are marked in the log.
    pub logged: bool,
}

impl Rings {
    /// Agrees on what the front-end chose.
    pub fn choose(offered: &Offered, messages: Messages, chosen: u64) -> Result<Self, Fault> {
        if chosen & !offered.features() != 0 {
            return Err(Fault::NotOffered { what: "features", chosen });
        }
        let features = F::from_bits_truncate(chosen & !(PROTOCOL_FEATURES | LOG_ALL));
        // QEMU and DPDK repeat the bit here; who has chosen protocol features knows the message anyway.
        let enabled_by_message = chosen & PROTOCOL_FEATURES != 0 || messages.0.is_some();
        Ok(Self { features, enabled_by_message, logged: chosen & LOG_ALL != 0 })
    }

    /// Returns whether rings that run may go on with `new`. Only the log may begin or end meanwhile.
    pub fn may_become(self, new: Self) -> bool {
        Self { logged: false, ..self } == Self { logged: false, ..new }
    }

    /// Returns whether rings are packed.
    pub const fn packed(self) -> bool {
        self.features.contains(F::RING_PACKED)
    }
}
