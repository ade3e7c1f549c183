//! One stream of lines for many writers: lines are never mixed, and no writer waits while another's line is printed.

/// A device that prints bytes.
pub trait Sink {
    /// Sends as many of the first `bytes` as there is room for now. Returns how many that were.
    fn send(&mut self, bytes: &[u8]) -> usize;
}

/// Number of bytes that are sent at once, and for which another writer waits at most: the FIFO of a 16550 holds as
/// many.
pub const PIECE: usize = 16;

/// Outcome of sending a piece of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// This number of bytes was sent.
    Bytes(usize),
    /// Nothing was sent: another writer's line is in hand. This writer's line follows, or comes after those of others
    /// that wait.
    NotItsTurn,
}

/// A stream of lines. A writer sends its line piece by piece, in its own time; then it is the next writer's turn.
pub struct Stream<S> {
    sink: S,
    /// The writer whose turn it is.
    writer: Option<u32>,
    /// Whether part of that writer's line has been sent.
    begun: bool,
    /// Writers that were refused: bit *n* is writer *n*.
    waiting: u128,
}

impl<S: Sink> Stream<S> {
    /// Returns a stream that prints to `sink`.
    pub const fn new(sink: S) -> Self {
        Self { sink, writer: None, begun: false, waiting: 0 }
    }

    /// Sends a piece of `rest`, the part of a line of `writer` that was not sent yet. Writers are numbers below 128.
    pub fn send(&mut self, writer: u32, rest: &[u8]) -> Sent {
        if *self.writer.get_or_insert(writer) != writer {
            self.waiting |= 1 << writer;
            return Sent::NotItsTurn;
        }
        let sent = self.sink.send(&rest[..rest.len().min(PIECE)]);
        self.begun |= sent > 0;
        if sent == rest.len() {
            self.pass_on(writer);
        }
        Sent::Bytes(sent)
    }

    /// Ends the line of `writer`. The writers that wait take turns.
    fn pass_on(&mut self, writer: u32) {
        let is_waiting = |&other: &u32| self.waiting >> other & 1 == 1;
        self.writer = (1..=128).map(|further| (writer + further) % 128).find(is_waiting);
        self.waiting &= !self.writer.map_or(0, |next| 1 << next);
        self.begun = false;
    }

    /// Sends all of `text` now, even in the middle of another writer's line, which is broken then.
    pub fn send_now(&mut self, text: &[u8]) {
        let end: &[u8] = if core::mem::take(&mut self.begun) { b"\n" } else { b"" };
        for mut rest in [end, text] {
            while !rest.is_empty() {
                rest = &rest[self.sink.send(rest)..];
            }
        }
    }

    /// Returns the sink.
    #[cfg(test)]
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }
}
