//! The one operation of a window: a burst of frames, each into the receive queue of the peer it names.
//!
//! # Why in two steps
//! Every buffer of the burst is filled before any queue is published. So a call that is interrupted is undone without the peer
//! noticing or completed without the sender's help, and `used.idx`, the cache line both sides want, moves once per burst.

use crate::Enqueue;
use crate::window::{PeerWindow, Window};
use sluice_abi::call::{Clause, Code, MAX_BURST, Outcome, Packet, Status};
use sluice_abi::directory::MAX_PEERS;
use sluice_memory::{PeerSlice, Table};

/// Sends the first `count` packets of `request`, an array of [`Packet`] that the sender may be changing: each is read whole, and
/// what is read again is checked again.
///
/// In order for each peer. A packet is refused if its peer is not ready, or has no buffer left, or had none for an earlier
/// packet of this call; a packet that the sender described wrongly is refused with all that follow it.
#[inline]
pub fn transmit(window: &mut Window, request: PeerSlice<'static>, count: u64) -> Outcome {
    window.begin();
    let mut call = Call { blocked: 0, touched: 0, status: Status::OK };
    let count = u16::try_from(count).ok().filter(|&count| usize::from(count) <= MAX_BURST);
    match count.and_then(|count| request.table(0, count)) {
        Some(packets) => call.fill(window, packets),
        None => call.report(Status::new(Code::BadRequest)),
    }
    window.publish(call.touched);
    Outcome { status: call.status, accepted: window.accepted }
}

/// Progress of one call.
struct Call {
    /// Bit `p`: no more for peer `p` in this call.
    blocked: u32,
    /// Bit `p`: peer `p` has something to publish.
    touched: u32,
    /// What went wrong first; a full ring is what goes wrong least.
    status: Status,
}

/// Why packets of one peer in a row came to an end.
enum Stop {
    /// The next packet is for another peer, or there is none.
    RunEnds,
    /// The peer has no buffer left.
    Full,
    /// The peer broke a rule.
    Fault(Clause),
    /// The sender described a packet wrongly.
    BadRequest,
}

impl Call {
    /// Takes the burst apart into runs of packets to one peer.
    fn fill(&mut self, window: &mut Window, request: Table<'static, Packet>) {
        let Window { peers, packets: Some(packets), accepted, .. } = window else {
            return self.report(Status::new(Code::NotRegistered));
        };
        let mut at = 0;
        while let Some(Packet { peer: index, .. }) = request.get(at) {
            let Some(peer) = self.open(peers, index) else {
                at += 1;
                continue;
            };
            let (end, stop) = run(peer, *packets, index, &request, at);
            accepted.insert_run(usize::from(at), usize::from(end));
            // One that was not filled is refused. (None is, and it names another peer by now, if the sender is changing it.)
            at = end.max(at + 1);
            self.touched |= bit(index);
            match stop {
                Stop::RunEnds => {}
                Stop::Full => {
                    self.blocked |= bit(index);
                    self.report(Status::FULL);
                }
                Stop::BadRequest => return self.report(Status::new(Code::BadRequest)),
                Stop::Fault(clause) => {
                    peer.quarantined = true;
                    self.report(Status::peer_fault(clause, index));
                }
            }
        }
    }

    /// The peer at place `index`, if it takes packets.
    fn open<'p>(&mut self, peers: &'p mut [Option<PeerWindow>; MAX_PEERS], index: u16) -> Option<&'p mut PeerWindow> {
        let peer = peers.get_mut(usize::from(index)).and_then(Option::as_mut).filter(|peer| !peer.quarantined);
        if peer.is_none() && self.touched & bit(index) == 0 {
            self.report(Status::of_peer(Code::PeerNotReady, index));
        }
        peer.filter(|_| self.blocked & bit(index) == 0)
    }

    #[cold]
    fn report(&mut self, status: Status) {
        if self.status == Status::OK || self.status == Status::FULL {
            self.status = status;
        }
    }
}

const fn bit(peer: u16) -> u32 {
    1u32.wrapping_shl(peer as u32)
}

/// Fills buffers of `peer`, at place `index`, with packets of `request` from `from` on, while they are for it: the place of the
/// first that was not filled, and why.
#[inline(always)]
fn run(
    peer: &mut PeerWindow,
    packets: PeerSlice<'static>,
    index: u16,
    request: &Table<'static, Packet>,
    from: u16,
) -> (u16, Stop) {
    let room = match peer.queue.available() {
        Ok(room) => room,
        Err(clause) => return (from, Stop::Fault(clause)),
    };
    let (first, _) = peer.regions.first();
    let end = from.saturating_add(room).min(request.size());
    let mut at = from;
    while at < end {
        let (filled, unusual) = match peer.way {
            Some(way) => peer.queue.enqueue_usual((request, at, end), way, first, index),
            None => (0, true),
        };
        at += filled;
        if unusual {
            if let Err(stop) = one(peer, packets, index, request.get(at)) {
                return (at, stop);
            }
            at += 1;
        }
    }
    (at, if at < request.size() { Stop::Full } else { Stop::RunEnds })
}

/// A packet that is another peer's, or wrong, or goes where it is not usual.
#[cold]
#[inline(never)]
fn one(peer: &mut PeerWindow, packets: PeerSlice<'_>, index: u16, packet: Option<Packet>) -> Result<(), Stop> {
    let Packet { offset, len, .. } = packet.filter(|packet| packet.peer == index).ok_or(Stop::RunEnds)?;
    if len > peer.longest {
        return Err(Stop::BadRequest);
    }
    let frame = packets.claim(u64::from(offset), u64::from(len)).map_err(|_| Stop::BadRequest)?;
    match peer.queue.enqueue(&peer.regions, frame, peer.owed) {
        Ok(Enqueue::Filled) => Ok(()),
        Ok(Enqueue::TooLong) => Err(Stop::BadRequest),
        Err(clause) => Err(Stop::Fault(clause)),
    }
}
