//! The one operation of a window: a burst of frames, each into the receive queue of the peer it names.
//!
//! # Why in two steps
//! Every buffer of the burst is filled before any queue is published. So a call that is interrupted is undone without the peer
//! noticing or completed without the sender's help, and `used.idx`, the cache line both sides want, moves once per burst.

use crate::Enqueue;
use crate::window::{PeerWindow, Window};
use sluice_abi::call::{Clause, Code, MAX_BURST, Outcome, Packet, Status};
use sluice_abi::directory::MAX_PEERS;
use sluice_abi::net::HDR_LEN;
use sluice_memory::{PeerSlice, Words};

const PACKET_LEN: u64 = size_of::<Packet>() as u64;

/// Sends the first `count` packets of `request`, an array of [`Packet`] that the sender may be changing: each is read once.
///
/// In order for each peer. A packet is refused if its peer is not ready, or has no buffer left, or had none for an earlier
/// packet of this call; a packet that the sender described wrongly is refused with all that follow it.
#[inline]
pub fn transmit(window: &mut Window, request: PeerSlice<'_>, count: u64) -> Outcome {
    window.begin();
    let mut call = Call { blocked: 0, touched: 0, status: Status::OK };
    if count <= MAX_BURST as u64 {
        call.fill(window, request, count as usize);
    } else {
        call.report(Status::new(Code::BadRequest));
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
    /// What went wrong first.
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
    fn fill(&mut self, window: &mut Window, request: PeerSlice<'_>, count: usize) {
        let Window { peers, packets: Some(packets), accepted, .. } = window else {
            return self.report(Status::new(Code::NotRegistered));
        };
        let mut at = 0;
        while at < count {
            let Some(words) = request.words(at as u64 * PACKET_LEN, (count - at) as u64) else {
                return self.report(Status::new(Code::BadRequest));
            };
            let Some(index) = words.clone().next().map(|word| (word >> 48) as u16) else { return };
            let Some(peer) = self.open(peers, index) else {
                at += 1;
                continue;
            };
            let (filled, stop) = run(peer, *packets, index, words);
            accepted.insert_run(at, at + filled);
            // One that was not filled is refused. (None is, and it names another peer by now, if the sender is changing it.)
            at += filled.max(1);
            self.touched |= bit(index);
            match stop {
                Stop::RunEnds => {}
                Stop::Full => self.blocked |= bit(index),
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
        if self.status == Status::OK {
            self.status = status;
        }
    }
}

const fn bit(peer: u16) -> u32 {
    1u32.wrapping_shl(peer as u32)
}

/// Fills buffers of `peer`, at place `index`, with the packets in `words` while they are for it: how many, and why no more.
///
/// This is the loop that decides what a packet costs; docs/performance.md has its instructions.
#[inline(never)]
fn run(peer: &mut PeerWindow, packets: PeerSlice<'_>, index: u16, words: Words<'_>) -> (usize, Stop) {
    let room = match peer.queue.available() {
        Ok(room) => usize::from(room),
        Err(clause) => return (0, Stop::Fault(clause)),
    };
    let frames = packets.reach(peer.longest);
    let buffers = peer.regions.reach(u64::from(HDR_LEN) + peer.longest);
    let own = u64::from(index) << 16;
    let mut now = words.at_most(room);
    let all = now.left();
    while let Some(word) = now.next() {
        // Too large, too, if the packet is for another peer.
        let (offset, len) = (word & 0xffff_ffff, (word >> 32).wrapping_sub(own));
        let frame = match frames.claim(offset, len) {
            Some(frame) => frame,
            None => match unusual(peer, packets, index, word) {
                Ok(frame) => frame,
                Err(stop) => return (all - now.left() - 1, stop),
            },
        };
        match peer.queue.enqueue(&peer.regions, buffers, frame, peer.owed) {
            Ok(Enqueue::Filled) => {}
            Ok(Enqueue::TooLong) => return (all - now.left() - 1, Stop::BadRequest),
            Err(clause) => return (all - now.left() - 1, Stop::Fault(clause)),
        }
    }
    (all, if all < words.left() { Stop::Full } else { Stop::RunEnds })
}

/// A packet that is another peer's, or wrong, or at the very end of packet memory.
#[cold]
#[inline(never)]
fn unusual<'p>(peer: &PeerWindow, packets: PeerSlice<'p>, index: u16, word: u64) -> Result<PeerSlice<'p>, Stop> {
    if (word >> 48) as u16 != index {
        return Err(Stop::RunEnds);
    }
    let len = word >> 32 & 0xffff;
    if len > peer.longest {
        return Err(Stop::BadRequest);
    }
    packets.claim(word & 0xffff_ffff, len).map_err(|_| Stop::BadRequest)
}
