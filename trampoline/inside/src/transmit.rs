//! The one operation of a window: to put a burst of frames into the receive queues of the peers that they name.
//!
//! # Why in two steps
//! Every buffer of the burst is filled before any queue is published. So a call that is interrupted is undone without
//! the peer noticing or completed without the sender's help, and `used.idx`, the cache line both sides want, moves once
//! per burst.

use crate::Enqueue;
use crate::peer_window::{Entry, PeerWindow};
use crate::phase::Phase;
use crate::runs::Runs;
use crate::window::{Window, bit};
use sluice_abi::call::{Accepted, Clause, Code, HDR, MAX_BURST, Outcome, Packet, Status};
use sluice_abi::net::{self, HDR_LEN, Hdr, PLAIN_HDR};
use sluice_memory::{Lanes, PeerSlice, Table, speculation};
use zerocopy::FromBytes;

/// Sends the first `count` packets of `request`, an array of [`Packet`] that the sender may be changing: whatever is
/// read again is checked again.
///
/// In order for each peer. A packet is refused if its peer is not ready, or has no buffer left, or had none for an
/// earlier packet of this call, or if it is too long for its peer; a packet that the sender described wrongly is
/// refused with all that follow it. `lanes`: the registers that the frames pass through; what is left there is cleared.
#[inline]
pub fn transmit(window: &mut Window, request: PeerSlice<'static>, count: u64, lanes: impl Lanes) -> Outcome {
    let room = (request.len() / size_of::<Packet>() as u64).min(MAX_BURST as u64);
    let count = speculation::within(count, room).map(|count| count as u16);
    let Some((count, block)) = count.zip(request.table(0, room as u16)) else {
        window.refuse();
        return Outcome::nothing(Status::new(Code::BadRequest));
    };
    let request = block.first(count);
    let count = request.size();
    // With flags the upper half is no peer's index: such a packet is left to the general path.
    let first = request.len_and_peer(0).unwrap_or(0);
    let index = (first >> 16) as u16;
    window.begin(count, index);
    let (phase, mut peer) = window.phase_and_peer(index.into());
    let filled = peer.as_mut().map_or(0, |peer| peer.enqueue_all(request, first, lanes));
    if filled < count {
        return Call { blocked: 0, status: Status::OK, lanes }.go_on(window, request, filled);
    }
    // All packets are for one peer, and nothing is special about any of them.
    phase.set(Phase::WHOLE);
    if let Some(peer) = peer {
        peer.queue.publish();
    }
    Outcome::WHOLE
}

/// Progress of a call that the fast path does not finish.
struct Call<L> {
    /// Peers to which nothing more is sent in this call, by bits.
    blocked: u64,
    /// The first error of the call, with its packet. [`Status::FULL`] is replaced by any other.
    status: Status,
    lanes: L,
}

/// Why a packet was not taken.
enum Refused {
    /// The peer has no buffer left.
    Full,
    /// The peer broke a rule.
    Fault(Clause),
    /// The frame is longer than the peer takes.
    TooLong,
    /// The sender described the packet wrongly.
    BadRequest,
}

impl<L: Lanes> Call<L> {
    /// Sends the packets that follow the first `at`, which are filled.
    #[inline(never)]
    fn go_on(mut self, window: &mut Window, request: Table<'static, Packet>, mut at: u16) -> Outcome {
        window.begin_others();
        window.accepted = Accepted::default();
        window.accepted.insert_run(0, usize::from(at));
        while let Some(packet) = request.get(at) {
            match self.next(window, request, packet, at) {
                // A packet that was refused counts as handled: step over it.
                Ok(filled) => at += filled.max(1),
                Err(()) => break,
            }
        }
        window.publish();
        Outcome { status: self.status, accepted: window.accepted }
    }

    /// Sends the packet at index `at`, and those after it that are for the same peer and suit the fast path. Returns
    /// how many are filled, or an error if the rest of the call is refused.
    fn next(
        &mut self,
        window: &mut Window,
        request: Table<'static, Packet>,
        packet: Packet,
        at: u16,
    ) -> Result<u16, ()> {
        let index = packet.peer;
        if window.packets.is_empty() {
            self.report(Status::new(Code::NotRegistered));
            return Err(());
        }
        window.touch(index);
        let burst = window.calls();
        let (packets, Some(peer)) = window.packets_and_peer(index) else {
            self.report(Status::of_peer(Code::PeerNotReady, index).naming(at));
            return Ok(0);
        };
        if self.blocked & bit(index.get()) != 0 {
            return Ok(0);
        }
        let filled = loop {
            match peer.enqueue_more(request.from(at), index, self.lanes) {
                0 => match peer.enter(burst) {
                    Entry::Open => break one(peer, packets, packet, self.lanes).map(|()| 1),
                    Entry::Entered => {}
                    Entry::Locked => break Err(Refused::Full),
                    Entry::Broken(clause) => break Err(Refused::Fault(clause)),
                },
                filled => break Ok(filled),
            }
        };
        match filled {
            Ok(filled) => {
                window.accepted.insert_run(usize::from(at), usize::from(at + filled));
                return Ok(filled);
            }
            Err(Refused::Full) => {
                self.blocked |= bit(index.get());
                self.report(Status::FULL);
            }
            Err(Refused::Fault(clause)) => {
                peer.quarantined = Some(clause);
                self.report(Status::peer_fault(clause, index).naming(at));
            }
            Err(Refused::TooLong) => self.report(Status::of_peer(Code::TooLong, index).naming(at)),
            Err(Refused::BadRequest) => {
                self.report(Status::new(Code::BadRequest).naming(at));
                return Err(());
            }
        }
        Ok(0)
    }

    fn report(&mut self, status: Status) {
        if self.status == Status::OK || self.status == Status::FULL {
            self.status = status;
        }
    }
}

/// Offset in a frame of its EtherType, or of the type of its first VLAN tag, in bytes.
const TYPE: u64 = net::ETHERNET_HEADER as u64 - 2;

/// Sends a packet that is wrong, has a header, or goes into a buffer that the fast path does not fill.
fn one(peer: &mut PeerWindow, packets: &Runs, packet: Packet, lanes: impl Lanes) -> Result<(), Refused> {
    // A window serves queue 0 of each peer; other bits mean nothing.
    if packet.flags & !HDR != 0 {
        return Err(Refused::BadRequest);
    }
    if peer.queue.available().map_err(Refused::Fault)? == 0 {
        return Err(Refused::Full);
    }
    let (hdr, frame) = frame(packets, packet).ok_or(Refused::BadRequest)?;
    // A frame that is still to be segmented may be longer than the MTU.
    if packet.len > peer.max_frame.saturating_add(tags(frame)) && hdr.gso_type == net::gso::NONE {
        return Err(Refused::TooLong);
    }
    match peer.queue.enqueue(&peer.regions, &hdr, frame, peer.min_buffer, lanes).map_err(Refused::Fault)? {
        Enqueue::Filled => Ok(()),
        Enqueue::Full => Err(Refused::Full),
        Enqueue::TooLong => Err(Refused::TooLong),
        Enqueue::BadHeader => Err(Refused::BadRequest),
    }
}

/// Returns the length in bytes of the VLAN tags of `frame`, two at most: a service tag and a customer tag. They belong
/// to the Ethernet header, and not to what the MTU bounds. A sender that changes them meanwhile has sent a frame that
/// is longer by that many bytes, which the peer's buffer holds. See: VIRTIO 5.1.4.1 "Device Requirements: Device
/// configuration layout", IEEE 802.1Q clause 9.
pub fn tags(frame: PeerSlice<'_>) -> u16 {
    let tag = |at| frame.read(at).is_ok_and(|kind| net::VLAN_TYPES.contains(&u16::from_be(kind)));
    match (tag(TYPE), tag(TYPE + u64::from(net::VLAN_TAG))) {
        (false, _) => 0,
        (true, false) => net::VLAN_TAG,
        (true, true) => 2 * net::VLAN_TAG,
    }
}

/// Returns header and bytes of the frame that `packet` describes, if packet memory holds all of them. The header is
/// read once.
fn frame(packets: &Runs, packet: Packet) -> Option<(Hdr, PeerSlice<'static>)> {
    let mut hdr = PLAIN_HDR;
    if packet.flags & HDR != 0 {
        let at = u64::from(packet.offset).checked_sub(HDR_LEN.into())?;
        packets.find(at, HDR_LEN.into())?.copy_to_slice(0, &mut hdr).ok()?;
    }
    let frame = packets.find(packet.offset.into(), packet.len.into()).filter(|frame| !frame.is_empty())?;
    Some((Hdr::read_from_bytes(&hdr).ok()?, frame))
}
