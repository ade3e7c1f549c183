//! Frames longer than a network's: jumbo frames, and TCP frames that are still to be segmented. Arguments:
//!
//! | argument | what it does |
//! |---|---|
//! | `send FILE PEER..` | sends the frames of the capture FILE, one of the machine's modules, to each peer in turn |
//! | `whole RING FILE` | agrees to complete checksums and to segment, with buffers that hold such a frame |
//! | `merged RING FILE` | agrees to the same, with buffers of 2 KiB: a frame lies in as many of them as it takes |
//! | `plain RING FILE` | agrees to neither |
//!
//! A receiver ends once exactly the frames of its FILE have arrived, and with an error at the first that is another. In
//! the sender's FILE each TCP frame has the sum of the pseudo header where its checksum belongs. A receiver that agreed
//! completes it, and the sender completes it for one that did not.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod capture;
mod merged;
mod receive;
mod send;

use alloc::boxed::Box;
use sluice_vnf::abi::net::{ETHERNET_HEADER, F, Offloads};
use sluice_vnf::{Error, RingFormat, Vnf};

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 18);

/// Why a run fails.
type Failure = Box<dyn core::error::Error>;

/// The offloads that a receiver agrees to.
const OFFLOADS: Offloads = Offloads::CSUM.union(Offloads::TSO4).union(Offloads::TSO6).union(Offloads::ECN);
/// The same offloads as features of its device.
const FEATURES: F = F::GUEST_CSUM.union(F::GUEST_TSO4).union(F::GUEST_TSO6).union(F::GUEST_ECN);
/// The length of the longest frame of a network with an MTU of 1,500 bytes.
const LONGEST: u16 = 1500 + ETHERNET_HEADER;

fn run(vnf: &mut Vnf) -> Result<(), Failure> {
    let mut words = vnf.args().split_whitespace();
    let (role, second, third) = (words.next(), words.next(), words.next());
    let ring = second.and_then(RingFormat::from_name);
    match (role, ring, second, third) {
        (Some("whole"), Some(ring), _, Some(file)) => receive::receive(vnf, ring, OFFLOADS, file),
        (Some("plain"), Some(ring), _, Some(file)) => receive::receive(vnf, ring, Offloads::empty(), file),
        (Some("merged"), Some(ring), _, Some(file)) => merged::receive(vnf, ring, file),
        (Some("send"), None, Some(file), Some(_)) => send::send(vnf, file, vnf.args().split_whitespace().skip(2)),
        _ => Err(Error::Arguments("send FILE PEER.., or whole, merged or plain RING FILE").into()),
    }
}
