//! From a frame's bytes to its key.
//!
//! A header is proven if all of it is there and its lengths agree with those of the frame and of the header around it.
//! The first one that is not ends the way: its fields, and those of all behind it, are 0, and its bits in
//! [`Layers`](crate::Layers) are clear. More bytes of the same frame never prove less.
//!
//! [`Parsed::of`] tries one path of fixed offsets first, for TCP and UDP over IP behind at most one tag, and else goes
//! header by header, a module for each family.

mod arp;
mod fast;
mod ipv4;
pub(crate) mod ipv6;
pub(crate) mod link;
pub(crate) mod nsh;
pub(crate) mod transport;

use crate::key::Key;

/// Number of bytes at the start of a frame that hold every header whose fields are in a key, unless it has more than
/// plain ones: two tags, a network service header of MD type 1, Ethernet, IPv6 and TCP take 120 bytes.
pub const HEAD: usize = 128;

/// A frame's key, and where the headers that actions change are. The offsets are in bytes from the start of the frame,
/// and valid where the key's layers have the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The key.
    pub key: Key,
    /// Offset of the header of IPv4 or IPv6.
    pub network: u16,
    /// Offset of the transport header.
    pub transport: u16,
    /// The destination address of IPv6 is not that of the checksum, as a routing header has segments left.
    /// See: RFC 8200, 8.1.
    pub routed: bool,
}

impl Parsed {
    /// Nothing is proven.
    pub(crate) const EMPTY: Self = Self { key: Key::EMPTY, network: 0, transport: 0, routed: false };

    /// Returns the key of a frame of `len` bytes that came in by `in_port` and starts with `head`. What lies behind
    /// `head` is not proven, so [`HEAD`] bytes are enough of an ordinary frame.
    #[inline]
    pub fn of(in_port: u16, head: &[u8], len: u16) -> Self {
        let mut parsed = Self::default();
        parsed.parse(in_port, head, len);
        parsed
    }

    /// Becomes what [`Parsed::of`] returns, in its place: a key that is copied right after its words were written is
    /// waited for.
    #[inline]
    pub fn parse(&mut self, in_port: u16, head: &[u8], len: u16) {
        if fast::parse(self, in_port, head, len.into()).is_none() {
            *self = Self::by_steps(in_port, head, len);
        }
    }

    /// Returns what [`Parsed::of`] returns, header by header.
    #[cold]
    pub(crate) fn by_steps(in_port: u16, head: &[u8], len: u16) -> Self {
        let mut parsed = Self { key: Key { in_port, ..Key::default() }, ..Self::default() };
        let head = head.get(..len.into()).unwrap_or(head);
        // A header that is missing ends the way. What was proven before stays in `parsed`.
        let _ = link::ethernet(&mut parsed, Bytes { head, len: len.into(), at: 0 });
        parsed
    }
}

impl AsRef<Key> for Parsed {
    #[inline(always)]
    fn as_ref(&self) -> &Key {
        &self.key
    }
}

/// The bytes of a frame from one header on, up to the end that the headers before it say.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'f> {
    /// The first of them.
    head: &'f [u8],
    /// Number of all of them, at least that of `head`.
    len: usize,
    /// Offset in the frame.
    at: u16,
}

impl<'f> Bytes<'f> {
    /// Returns the `N` bytes at `at`.
    fn read<const N: usize>(self, at: usize) -> Option<&'f [u8; N]> {
        self.head.get(at..)?.first_chunk()
    }

    /// Returns all behind the first `count`.
    fn skip(self, count: usize) -> Option<Self> {
        let len = self.len.checked_sub(count)?;
        Some(Self { head: self.head.get(count..).unwrap_or_default(), len, at: self.at + count as u16 })
    }

    /// Returns the first `len`; `None` if there are fewer, so that a length that lies proves nothing.
    fn first(self, len: usize) -> Option<Self> {
        (len <= self.len).then(|| Self { head: self.head.get(..len).unwrap_or(self.head), len, ..self })
    }
}

const fn be16(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests;
