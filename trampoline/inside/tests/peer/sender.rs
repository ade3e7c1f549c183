//! A window, and what it sends.

use super::*;
use sluice_abi::PeerIdx;
use sluice_abi::call::{Code, MAX_BURST, Outcome, Packet, Status};
use sluice_abi::map::PAGE;
use sluice_inside::{Window, transmit};
use sluice_memory::{PeerSlice, Words};
use std::collections::VecDeque;

/// A window, what it sends from, and whom it sends to.
pub struct WindowSender {
    /// The window.
    pub window: Window,
    /// Its peers, by place.
    pub peers: Vec<Peer>,
    packets: Memory,
    request: Memory,
    /// Frames that [`WindowSender::send`] made so far.
    frames: u64,
    /// Whether these have 64 bytes each, for which the window has a loop of its own.
    pub lines: bool,
    /// The packet that the last call's status named.
    pub named: Option<u16>,
    /// Accepted and not yet seen to arrive, by peer.
    due: Vec<VecDeque<Vec<u8>>>,
}

/// What became of the packets of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// The call's status, without the packet that it names.
    pub status: Status,
    /// Places of the packets that were accepted.
    pub accepted: Vec<usize>,
}

impl WindowSender {
    /// A sender to `count` peers, each with a queue of `size` entries.
    pub fn new(count: u16, size: u16) -> Self {
        let mut window = Window::new();
        let peers: Vec<_> = (0..count).map(|_| Peer::new(size)).collect();
        for (place, peer) in (0..).zip(&peers) {
            assert_eq!(peer.attach(&mut window, PeerIdx(place)), Ok(()));
        }
        let packets = Memory::new(&[PACKETS_LEN]);
        let pattern = Vec::from_iter(0..=250).repeat(PACKETS_LEN as usize / 251 + 1);
        packets.run(0).copy_from_slice(0, &pattern[..PACKETS_LEN as usize]).expect("inside");
        window.set_packets(packets.run(0));
        let due = peers.iter().map(|_| VecDeque::new()).collect();
        Self { window, peers, packets, request: Memory::new(&[PAGE]), frames: 0, lines: false, named: None, due }
    }

    /// The packet memory.
    pub fn packets(&self) -> PeerSlice<'static> {
        self.packets.run(0)
    }

    /// The request block.
    pub fn request(&self) -> PeerSlice<'static> {
        self.request.run(0)
    }

    /// One call for `packets`.
    pub fn transmit(&mut self, packets: &[Packet]) -> Burst {
        for (place, packet) in (0..).zip(packets) {
            self.request().write(8 * place, *packet).expect("no more than fit");
        }
        self.call(packets.len() as u64)
    }

    /// One call for the first `count` packets of the request block.
    pub fn call(&mut self, count: u64) -> Burst {
        let request = self.request();
        let packets = usize::try_from(count).map_or(0, |count| count.min(MAX_BURST));
        let outcome = transmit(&mut self.window, request, count, Words);
        self.named = outcome.status.packet();
        Burst::of(outcome, packets)
    }

    /// One call for a packet of `len` bytes at `offset` to peer 0.
    pub fn transmit_one(&mut self, offset: u64, len: u16) -> Burst {
        let burst = self.transmit(&[Packet::new(offset as u32, len, PeerIdx(0))]);
        if burst.accepted == [0] {
            let sent = read(self.packets(), offset, u64::from(len));
            self.due[0].push_back(sent);
        }
        burst
    }

    /// One call for new frames, one to each of `peers`, which are indices. What is accepted is due.
    pub fn send(&mut self, peers: &[u8]) -> Burst {
        let first = self.frames;
        self.frames += peers.len() as u64;
        let frames: Vec<_> = (first..self.frames).map(|number| frame(number, self.lines)).collect();
        let mut packets = Vec::new();
        for (index, &peer) in peers.iter().enumerate() {
            let offset = index as u64 * u64::from(BUFFER_LEN);
            self.packets().copy_from_slice(offset, &frames[index]).expect("no more than fit");
            packets.push(Packet::new(offset as u32, frames[index].len() as u16, PeerIdx(peer)));
        }
        let burst = self.transmit(&packets);
        for &index in &burst.accepted {
            self.due[usize::from(peers[index])].push_back(frames[index].clone());
        }
        burst
    }

    /// Panics unless what is due has arrived, in order, and nothing else.
    pub fn check(&mut self) {
        for (peer, due) in self.peers.iter_mut().zip(&mut self.due) {
            for payload in due.drain(..) {
                let (elem, bytes) = peer.take().expect("accepted, so published");
                assert_eq!(bytes, with_header(&payload));
                assert_eq!(elem.len as usize, bytes.len());
            }
            assert_eq!(peer.take(), None);
            peer.memory.check();
        }
        self.packets.check();
        self.request.check();
    }
}

impl Burst {
    /// What came of a call for `count` packets, whose status must name a packet if it is about one.
    pub fn of(Outcome { status, accepted }: Outcome, count: usize) -> Self {
        let accepted: Vec<_> = (0..count).filter(|&index| status == Status::OK || accepted.contains(index)).collect();
        match (status.packet(), status.code()) {
            (Some(named), code @ (Code::PeerFault | Code::PeerNotReady | Code::BadRequest | Code::TooLong)) => {
                let ends = code == Code::BadRequest && accepted.iter().any(|&index| index > named.into());
                let refused = usize::from(named) < count && !accepted.contains(&named.into());
                assert!(refused && !ends, "{status:?} {accepted:?}");
            }
            (named, code) => {
                assert!(named.is_none() && code != Code::PeerFault && code != Code::PeerNotReady, "{status:?}")
            }
        }
        Self { status: Status(status.0 & u64::from(u32::MAX)), accepted }
    }
}

/// Frame `number`: 60 to 259 bytes, or 64, that no other frame has.
fn frame(number: u64, line: bool) -> Vec<u8> {
    let len = if line { 64 } else { 60 + number * 37 % 200 };
    number.to_le_bytes().into_iter().chain((8..len).map(|at| (at * 7 + number) as u8)).collect()
}
