//! The slow path of an in-VM switch: frames for which its table has no entry, and what the host returns. See:
//! [`sluice_abi::flows`].

use super::rings::{Ring, Rings};
use super::{Switch, Tap, Told, Turn, offload};
use crate::Network;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use sluice_abi::flows::{PORTS, SLOW_HEADER, SlowHeader, SlowKind};
use sluice_abi::net::{self, F, Hdr};
use sluice_inside::Enqueue;
use sluice_memory::PeerSlice;

/// A frame without an entry.
#[derive(Clone, Copy, Debug)]
pub struct Missed<'f> {
    /// The VM of the in-VM switch.
    pub vm: u32,
    /// The port by which the frame came in, as the VM says: below [`PORTS`].
    pub port: u16,
    /// The number of the frame, as the VM says.
    pub number: u64,
    /// What its sender left to the device: checksum and segmentation. Offsets count from the start of `frame`.
    pub hdr: Hdr,
    /// The bytes of the frame, in memory of the host that nobody else writes.
    pub frame: PeerSlice<'f>,
}

impl Missed<'_> {
    /// Returns the frame with what its sender left to the device: its checksum is complete, or it is cut into segments.
    /// Returns `None` if its headers do not allow that.
    pub fn done(&self) -> Option<Vec<Vec<u8>>> {
        let mut bytes = alloc::vec![0; self.frame.len() as usize];
        self.frame.copy_to_slice(0, &mut bytes).ok()?;
        let mut frames = Vec::new();
        offload::execute(&mut bytes, &self.hdr, |frame| {
            frames.push(frame.to_vec());
            Some(())
        })?;
        Some(frames)
    }
}

/// What becomes of a frame without an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It goes to the ports whose bits are set.
    Output(u64),
    /// There is an entry by now.
    Again,
    /// It is dropped, or somebody else returns it later.
    Nothing,
}

/// Who decides about frames without an entry: a full switch.
pub trait SlowPath {
    /// Decides about a frame at time `now`. What has to be in the table for [`Answer::Again`] is published before this
    /// returns.
    fn missed(&mut self, missed: &Missed<'_>, now: u64) -> Answer;

    /// Returns the number up to which all frames of VM `vm` are decided, if it is another one than last time.
    fn decided(&mut self, vm: u32) -> Option<u64>;
}

/// Nobody decides: all frames are dropped.
impl SlowPath for () {
    fn missed(&mut self, _: &Missed<'_>, _: u64) -> Answer {
        Answer::Nothing
    }

    fn decided(&mut self, _: u32) -> Option<u64> {
        None
    }
}

impl<R: Rings> Switch<R> {
    /// Returns `frame`, which somebody else decided about, to VM `vm`, for the ports whose bits are set. Returns the
    /// notifications to send, as [`super::Served::told`]; a frame for which there is no room is counted.
    pub fn give_back(
        &mut self,
        network: &Network,
        vm: u32,
        (ports, frame): (u64, &[u8]),
        tap: &mut impl Tap,
    ) -> BTreeSet<Told> {
        let mut told = BTreeSet::new();
        let answer = SlowHeader { kind: SlowKind::Output as u32, port: 0, number: ports };
        let room = self.room.frame;
        let is_there = (vm as usize) < self.ports.len();
        let is_written = room.write(0, answer).is_ok() && room.copy_from_slice(SLOW_HEADER.into(), frame).is_ok();
        if is_there && is_written {
            let mut turn = Turn { network, now: 0, tap, told: &mut told };
            self.answer(&mut turn, vm as usize, Hdr::default(), u32::from(SLOW_HEADER) + frame.len() as u32);
        }
        told
    }

    /// Has `slow` decide about the frame of `len` bytes with header `hdr` that port `from` transmitted on its slow
    /// path, and returns the frame if need be. Returns how many bytes were returned.
    pub(super) fn missed(
        &mut self,
        turn: &mut Turn<'_, impl Tap>,
        from: usize,
        (hdr, len): (Hdr, u32),
        slow: &mut impl SlowPath,
    ) -> u64 {
        let parts = self.room.frame.read::<SlowHeader>(0).ok().zip(
            len.checked_sub(SLOW_HEADER.into())
                .and_then(|len| self.room.frame.sub(SLOW_HEADER.into(), len.into()).ok()),
        );
        let is_valid = |header: &SlowHeader| {
            SlowKind::from_word(header.kind) == Some(SlowKind::Missed) && header.port < u32::from(PORTS)
        };
        let Some((header, frame)) = parts.filter(|(header, frame)| is_valid(header) && !frame.is_empty()) else {
            self.ports[from].counters.malformed += 1;
            return 0;
        };
        turn.tap.frame(from as u32, frame);
        let left = offload::left(hdr);
        let left = Hdr { csum_start: left.csum_start.saturating_sub(SLOW_HEADER), ..left };
        let missed = Missed { vm: from as u32, port: header.port as u16, number: header.number, hdr: left, frame };
        let (kind, number) = match slow.missed(&missed, turn.now) {
            Answer::Output(0) | Answer::Nothing => return 0,
            Answer::Output(ports) => (SlowKind::Output, ports),
            Answer::Again => (SlowKind::Again, 0),
        };
        let answer = SlowHeader { kind: kind as u32, port: header.port, number };
        match self.room.frame.write(0, answer) {
            Ok(()) => self.answer(turn, from, hdr, len),
            Err(_) => 0,
        }
    }

    /// Tells port `to` up to which frame all is decided, if `slow` says so.
    pub(super) fn decided(&mut self, turn: &mut Turn<'_, impl Tap>, to: usize, slow: &mut impl SlowPath) {
        let Some(number) = slow.decided(to as u32) else { return };
        let done = SlowHeader { kind: SlowKind::Done as u32, port: 0, number };
        if self.room.frame.write(0, done).is_ok() {
            self.answer(turn, to, Hdr::default(), SLOW_HEADER.into());
        }
    }

    /// Puts the first `len` bytes of the room, a slow header and a frame with `hdr`, into the slow path of port `to`.
    /// Returns how many bytes went there.
    fn answer(&mut self, turn: &mut Turn<'_, impl Tap>, to: usize, hdr: Hdr, len: u32) -> u64 {
        let pair = turn.network.slow_pair(to as u32);
        let queue = pair.zip(turn.network.device(to as u32));
        let queue = queue.and_then(|(pair, device)| device.queue(net::receiveq(pair)));
        let hdr = offload::left(hdr);
        let port = &mut self.ports[to];
        let Some(queue) = queue else {
            port.counters.no_queue += 1;
            return 0;
        };
        let fits = hdr.fits(len, F::from_bits_truncate(queue.features).offloads_to_driver());
        let bytes = self.room.frame.sub(0, len.into()).ok().filter(|_| fits);
        let (Some(mut ring), Some(bytes)) = (self.rings.ring(to as u32, &queue), bytes) else {
            port.counters.malformed += 1;
            return 0;
        };
        let word = ring.next_used();
        let put = ring.enqueue(&hdr, bytes, 0);
        ring.publish();
        if ring.needs_notification() {
            port.tell(Told { vm: to as u32, queue: queue.index, word }, turn.told);
        }
        drop(ring);
        match put {
            Ok(Enqueue::Filled) => {
                port.counters.forwarded += 1;
                port.bytes[1] += bytes.len();
                return bytes.len();
            }
            Ok(Enqueue::Full) => port.counters.full += 1,
            Ok(Enqueue::TooLong | Enqueue::BadHeader) => port.counters.too_long += 1,
            Err(clause) => self.rings.blame(to as u32, queue.index, clause),
        }
        0
    }
}
