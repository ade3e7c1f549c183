//! The virtio features that front-ends may choose from.

use sluice_abi::net::F;

/// Returns what a device with `pairs` queue pairs offers: all that rings and switch know. What the control queue serves
/// is the front-end's own, and only the feature bits pass here.
pub const fn features(pairs: u16) -> F {
    let rings = F::INDIRECT_DESC.union(F::EVENT_IDX).union(F::IN_ORDER).union(F::RING_PACKED);
    let to_device = F::CSUM.union(F::HOST_TSO4).union(F::HOST_TSO6).union(F::HOST_ECN);
    let to_driver = F::GUEST_CSUM.union(F::GUEST_TSO4).union(F::GUEST_TSO6).union(F::GUEST_ECN).union(F::GUEST_UFO);
    let frames = F::MRG_RXBUF.union(to_device).union(to_driver);
    let control = F::CTRL_VQ.union(F::CTRL_RX).union(F::CTRL_VLAN).union(F::CTRL_MAC_ADDR).union(F::GUEST_ANNOUNCE);
    let control = if pairs > 1 { control.union(F::MQ) } else { control };
    F::VERSION_1.union(F::MAC).union(F::STATUS).union(F::MTU).union(frames).union(rings).union(control)
}
