//! Numbered frames: what a sender takes for accepted arrives once, whole, in order, or the receiver says so.

use super::Error;
use super::crossing;
use super::leap::{End, Landing};
use sluice::{BufferLen, Mempool, PacketMemory, RX_SIZE, Receive, RingFormat, VirtioNet};
use sluice_abi::PeerIdx;
use sluice_abi::call::{Accepted, Packet, Status};
use sluice_memory::PeerSlice;
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("receive", |machine, how| receive(machine, super::format(how)?))];

/// The number of words of a frame. Each word is the frame's number.
const WORDS: u64 = 8;
/// The bytes of a frame.
pub type Frame = [u64; WORDS as usize];
/// The number of the last frame, whose last word is how many frames came before.
const LAST: u64 = u64::MAX;
/// The offset of the sender's buffers, with room for a header before.
const BUFFER: u32 = 2048;
const HEADROOM: u32 = 64;

/// Returns the frame of number `number`.
pub const fn frame(number: u64) -> Frame {
    [number; WORDS as usize]
}

/// Returns the last frame, after `count` others.
pub const fn last(count: u64) -> Frame {
    let mut words = frame(LAST);
    words[WORDS as usize - 1] = count;
    words
}

/// Sends frames in order, whatever becomes of a call.
pub struct NumberedSender {
    own: PacketMemory,
    request: PeerSlice<'static>,
    /// The number of frames that the gate has taken.
    pub sent: u64,
    /// The least number of further frames that find room in the receiver's ring.
    room: u64,
}

impl NumberedSender {
    pub fn new(own: PacketMemory, request: PeerSlice<'static>) -> Self {
        Self { own, request, sent: 0, room: RX_SIZE as u64 }
    }

    /// Lets the receiver, on the same processor, take all frames, unless `count` more find room as it is.
    pub fn make_room(&mut self, machine: &Vnf, count: u64) {
        if self.room < count {
            machine.yield_now();
            self.room = RX_SIZE as u64;
        }
    }

    /// Returns whether the next `count` frames go up to the end of the ring's arrays: a call into a packed ring then
    /// takes two instructions less.
    pub const fn ends_the_ring(&self, count: u64) -> bool {
        count > 0 && (self.sent + count).is_multiple_of(RX_SIZE as u64)
    }

    /// Requests the next `count` frames to be sent to peer 0, with headers if `headers`.
    pub fn ask(&self, count: u64, headers: bool) -> Result<(), Error> {
        for index in 0..count {
            self.fill(index, frame(self.sent + index), headers)?;
        }
        Ok(())
    }

    /// Requests the last frame to be sent.
    pub fn ask_last(&self) -> Result<(), Error> {
        self.fill(0, last(self.sent), false)
    }

    /// Sends the last frame, at the beginning of a turn, so that the end of the turn does not abort the call.
    pub fn finish(self, machine: &Vnf) -> Result<(), Error> {
        self.ask_last()?;
        machine.yield_now();
        while crossing::call(&crossing::proper(1)).end() != End::Returned(Status::OK) {
            machine.yield_now();
        }
        Ok(())
    }

    fn fill(&self, index: u64, words: Frame, header: bool) -> Result<(), Error> {
        let offset = index as u32 * BUFFER + HEADROOM;
        let memory = self.own.memory.sub(u64::from(offset), 8 * WORDS).map_err(|_| Error::Arguments)?;
        (0..).zip(words).try_for_each(|(at, word)| memory.write(8 * at, word)).map_err(|_| Error::Arguments)?;
        let packet = Packet::new(offset, 8 * WORDS as u16, PeerIdx(0));
        let packet = if header { packet.with_hdr() } else { packet };
        self.request.write(8 * index, packet).map_err(|_| Error::Arguments)
    }

    /// Counts what a call of `count` frames delivered. That must be the first few.
    pub fn note(&mut self, landing: &Landing, count: u64) -> Result<(), Error> {
        let accepted = match landing.end() {
            End::Returned(Status::OK) => count,
            End::Exception(vector) => return Err(Error::Landed { offset: landing.rip as u16, vector }),
            End::Aborted | End::Returned(_) => {
                let [first, rest @ ..] = landing.general.as_chunks::<4>().0[2];
                let accepted = Accepted([first, rest[0], rest[1], rest[2]]);
                let run = u64::from(first.trailing_ones());
                if accepted.count() as u64 != run || run > count {
                    return Err(Error::NotStopped(first));
                }
                run
            }
        };
        self.sent += accepted;
        self.room = self.room.saturating_sub(accepted);
        Ok(())
    }

    /// Does the same for a call that found room, and returns whether it was aborted. All of the call was delivered, or
    /// nothing.
    pub fn note_whole(&mut self, landing: &Landing, count: u64) -> Result<bool, Error> {
        let before = self.sent;
        self.note(landing, count)?;
        match (landing.end(), self.sent - before) {
            (End::Aborted, sent) if sent == 0 || sent == count => Ok(true),
            (End::Returned(Status::OK), _) => Ok(false),
            (_, sent) => Err(Error::NotStopped(sent)),
        }
    }
}

/// Receives until the last frame.
fn receive(machine: &mut Vnf, ring: RingFormat) -> Result<(), Error> {
    let (_, memory) = machine.connect()?;
    let (queue, buffers) = memory.split_at(VirtioNet::QUEUE_LEN).ok_or(Error::Arguments)?;
    let mut free = [0; 2 * RX_SIZE];
    let pool = Mempool::new(buffers, BufferLen::default(), &mut free).map_err(|error| Error::Machine(error.into()))?;
    let net = VirtioNet::start(machine.transport(), queue, &pool, ring);
    let mut net = net.map_err(|error| Error::Machine(error.into()))?;
    let (mut seen, mut burst, mut patience) = (Seen::default(), pool.burst(), machine.patience());
    while !seen.over {
        let received = net.rx_burst(&mut burst, sluice::MAX_BURST).map_err(|error| Error::Machine(error.into()))?;
        if received == 0 {
            patience.wait(machine)?;
            continue;
        }
        patience.renew();
        for frame in burst.frames() {
            seen.see(core::array::from_fn(|at| frame.head(8 * at).map_or(0, u64::from_le_bytes)));
        }
        burst.clear();
    }
    seen.report()
}

/// The frames that a receiver has taken.
#[derive(Default)]
pub struct Seen {
    /// The number of the next frame.
    pub expected: u64,
    /// Whether the last frame came.
    pub over: bool,
    /// The number of frames that were wrong.
    pub wrong: u64,
}

impl Seen {
    /// Takes note of the next frame.
    pub fn see(&mut self, words: Frame) {
        self.over = words[0] == LAST;
        let wanted = if self.over { last(self.expected) } else { frame(self.expected) };
        self.wrong += u64::from(words != wanted);
        if !self.over {
            self.expected = words[0].wrapping_add(1);
        }
    }

    /// Returns an error if a frame was wrong.
    pub fn right(&self) -> Result<(), Error> {
        if self.wrong == 0 { Ok(()) } else { Err(Error::Harmed(self.wrong as usize)) }
    }

    /// Returns the state of a receiver that has taken `expected` frames before.
    pub fn after(expected: u64) -> Self {
        Self { expected, ..Self::default() }
    }

    /// Prints the counts.
    pub fn report(self) -> Result<(), Error> {
        println!("received {} wrong {}", self.expected, self.wrong);
        self.right()
    }
}
