//! One stream of lines for many writers: a line comes whole, and nobody waits for another's.

/// Where bytes go.
pub trait Sink {
    /// Sends as many of the first `bytes` as there is room for now; how many.
    fn send(&mut self, bytes: &[u8]) -> usize;
}

/// Bytes that are sent at once, so that whoever waits for the stream waits for no more. As many as a 16550 has room for.
pub const PIECE: usize = 16;

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many bytes of it were sent.
    Bytes(usize),
    /// None: another writer's line is in hand. This one's comes next, or after those of others who wait.
    NotItsTurn,
}

/// The stream. A writer sends its line piece by piece, in its own time; then it is the next one's turn.
pub struct Stream<S> {
    sink: S,
    /// Whose turn it is.
    writer: Option<u32>,
    /// Whether part of its line has been sent.
    begun: bool,
    /// Writers that were refused, by bits.
    waiting: u128,
}

impl<S: Sink> Stream<S> {
    /// A stream into `sink`.
    pub const fn new(sink: S) -> Self {
        Self { sink, writer: None, begun: false, waiting: 0 }
    }

    /// Sends a piece of what is left of a line of `writer`, a number below 128.
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

    /// The line is over. Those who wait take turns.
    fn pass_on(&mut self, writer: u32) {
        let is_waiting = |&other: &u32| self.waiting >> other & 1 == 1;
        self.writer = (1..=128).map(|further| (writer + further) % 128).find(is_waiting);
        self.waiting &= !self.writer.map_or(0, |next| 1 << next);
        self.begun = false;
    }

    /// Sends all of `text` now, whoever's turn it is. A line that is in hand is broken.
    pub fn send_now(&mut self, text: &[u8]) {
        let end: &[u8] = if core::mem::take(&mut self.begun) { b"\n" } else { b"" };
        for mut rest in [end, text] {
            while !rest.is_empty() {
                rest = &rest[self.sink.send(rest)..];
            }
        }
    }

    /// The sink.
    #[cfg(test)]
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }
}
