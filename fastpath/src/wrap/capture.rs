//! A port that writes a capture file of its frames.

use crate::{Burst, Frame, Receive, RxError, RxStats, Transmit, TxError, TxStats};
use sluice_abi::PeerIdx;
use sluice_abi::call::{MAX_BURST, Packet};

/// A destination of capture files. A function from bytes to `Result<(), E>` is one.
pub trait Sink {
    /// Error of bytes that can't be written.
    type Error;

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The first error ends the capture.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> Sink for F {
    type Error = E;

    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        self(bytes)
    }
}

/// Number of bytes that are copied out of packet memory at a time.
const PIECE: usize = 256;

/// A port that writes each frame that was received, or delivered, to a capture file. An error of the sink costs no
/// frame: the capture ends, and the port goes on.
///
/// The file is a classic one with nanoseconds. See: draft-ietf-opsawg-pcap, "PCAP Capture File Format".
pub struct PcapWriter<P, S: Sink, C> {
    inner: P,
    capture: Capture<S, C>,
}

struct Capture<S: Sink, C> {
    sink: S,
    clock: C,
    error: Option<S::Error>,
}

impl<P, S: Sink, C: Fn() -> u64> PcapWriter<P, S, C> {
    /// Returns a port that writes the frames of `inner` to `sink`, the file's header first. `clock` returns nanoseconds
    /// since 1970-01-01 UTC, or any other moment.
    pub fn new(inner: P, sink: S, clock: C) -> Self {
        let mut capture = Capture { sink, clock, error: None };
        let version = 2 | 4 << 16;
        let ethernet = 1;
        capture.words(&[0xa1b2_3c4d, version, 0, 0, u16::MAX.into(), ethernet]);
        Self { inner, capture }
    }

    /// Returns the error that ended the capture; `None` while it goes on.
    pub const fn error(&self) -> Option<&S::Error> {
        self.capture.error.as_ref()
    }

    /// Returns the port inside, and the sink.
    pub fn into_parts(self) -> (P, S) {
        (self.inner, self.capture.sink)
    }
}

impl<S: Sink, C: Fn() -> u64> Capture<S, C> {
    fn write(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.error = self.sink.write(bytes).err();
        }
    }

    fn words<const N: usize>(&mut self, words: &[u32; N]) {
        self.write(words.map(u32::to_le_bytes).as_flattened());
    }

    fn record(&mut self, frame: Frame<'_>) {
        let (now, len) = ((self.clock)(), frame.len());
        self.words(&[(now / 1_000_000_000) as u32, (now % 1_000_000_000) as u32, len.into(), len.into()]);
        let mut bytes = [0; PIECE];
        for at in (0..usize::from(len)).step_by(PIECE) {
            let piece = &mut bytes[..PIECE.min(usize::from(len) - at)];
            // The piece is within the frame.
            if frame.copy_to_slice(at, piece).is_ok() {
                self.write(piece);
            }
        }
    }
}

impl<P: Receive, S: Sink, C: Fn() -> u64> Receive for PcapWriter<P, S, C> {
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        let before = into.len();
        let received = self.inner.rx_burst(into, most);
        into.frames().skip(before).for_each(|frame| self.capture.record(frame));
        received
    }

    fn rx_stats(&self) -> RxStats {
        self.inner.rx_stats()
    }
}

impl<P: Transmit, S: Sink, C: Fn() -> u64> Transmit for PcapWriter<P, S, C> {
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        let mut offered = [Packet::new(0, 0, PeerIdx(0)); MAX_BURST];
        let count = burst.len();
        offered[..count].copy_from_slice(burst.packets());
        let sent = self.inner.tx_burst(burst, most);
        // Frames that stayed are in order. The bytes of the others are in their buffers until the next call.
        let mut left = burst.packets().iter().map(|packet| burst.pool().start_of(packet.offset)).peekable();
        for &packet in &offered[..count] {
            if left.next_if_eq(&burst.pool().start_of(packet.offset)).is_none() {
                self.capture.record(Frame::bare(burst.pool(), packet));
            }
        }
        sent
    }

    fn tx_stats(&self) -> TxStats {
        self.inner.tx_stats()
    }
}
