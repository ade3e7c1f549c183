//! The network service header of a frame. See: RFC 8300, 2.
//!
//! A frame has an outer Ethernet header without tags, whose EtherType is 0x894F, then the header, then the inner
//! packet. The first eight bytes of the header are one number here:
//!
//! | bits | what |
//! |---|---|
//! | 63:62 | version, 0 |
//! | 61 | O: the packet is of operations, administration and maintenance |
//! | 60 | unassigned, kept as it is |
//! | 59:54 | time to live |
//! | 53:48 | length of the header in words of 4 bytes |
//! | 47:44 | unassigned, kept as they are |
//! | 43:40 | MD type |
//! | 39:32 | next protocol |
//! | 31:8 | service path identifier: see [`Spi`] |
//! | 7:0 | service index |
//!
//! Context headers are neither read nor changed.

use crate::Cause;
use sluice_switch::{ether_type, next};
use sluice_vnf::{Frame, FrameError, FrameMut};

/// The EtherType of a network service header. See: RFC 8300, 6.1.
pub const ETHER_TYPE: u16 = ether_type::NSH;
/// Length of the outer Ethernet header, behind which the network service header begins.
pub const AT: u16 = 14;
/// Length of a header of MD type 1. See: RFC 8300, 2.4.
pub const MD1_LEN: u16 = 24;
/// Length of the longest header, of 63 words.
pub const MAX_LEN: u16 = 252;
/// Time to live that a classifier gives. See: RFC 8300, 2.2.
pub const FIRST_TTL: u8 = 63;
/// Service index that a classifier gives. See: RFC 8300, 2.3.
pub const FIRST_INDEX: u8 = 255;

/// The way along a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the chain's first end to its second.
    Forward,
    /// From the second end to the first, through the same hops in the opposite order.
    Return,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Forward, Self::Return];

    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        if matches!(self, Self::Forward) { "forward" } else { "return" }
    }
}

/// A service path identifier: direction (23), number of the path (22:8), version of the chain (7:0). So each version of
/// a chain is a path of its own, whatever the MD type, and a hop can't take a packet of one version for a packet of
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spi(u32);

impl Spi {
    /// Largest number of a path.
    pub const LAST_PATH: u16 = 0x7fff;

    /// Returns the identifier of path number `path`, at most [`Spi::LAST_PATH`].
    pub const fn new(path: u16, version: u8, direction: Direction) -> Self {
        let back = matches!(direction, Direction::Return) as u32;
        Self(back << 23 | ((path & Self::LAST_PATH) as u32) << 8 | version as u32)
    }

    /// Returns the identifier in the low 24 bits of `value`.
    pub const fn from_bits(value: u32) -> Self {
        Self(value & 0xff_ffff)
    }

    /// Returns the 24 bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns whether both are the same direction of the same chain, in whatever version.
    pub const fn is_version_of(self, other: Self) -> bool {
        self.0 >> 8 == other.0 >> 8
    }

    /// Returns the direction.
    pub const fn direction(self) -> Direction {
        if self.0 >> 23 == 0 { Direction::Forward } else { Direction::Return }
    }
}

/// The first eight bytes of a header that was checked: its version, MD type and length are those of RFC 8300, and the
/// frame is long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nsh(pub(crate) u64);

impl Nsh {
    /// Returns a header of MD type 1 in front of an Ethernet frame.
    pub const fn new(path: Spi) -> Self {
        let first = (FIRST_TTL as u64) << 6 | (MD1_LEN / 4) as u64;
        Self(first << 48 | 1 << 40 | (next::ETHERNET as u64) << 32 | (path.0 as u64) << 8 | FIRST_INDEX as u64)
    }

    /// Returns whether `frame` says that it has a network service header.
    pub fn is_in(frame: &Frame<'_>) -> bool {
        frame.head(12) == Some(ETHER_TYPE.to_be_bytes())
    }

    /// Reads the header of `frame`.
    ///
    /// # Errors
    /// [`Cause::NoHeader`], [`Cause::Version`], [`Cause::Length`] and [`Cause::MdType`].
    #[inline]
    pub fn read(frame: &Frame<'_>) -> Result<Self, Cause> {
        let bytes = frame.bytes();
        let ether_type: u16 = bytes.read_own(12).map_err(|_| Cause::NoHeader)?;
        let word: u64 = bytes.read_own(AT.into()).map_err(|_| Cause::NoHeader)?;
        if ether_type != ETHER_TYPE.to_be() {
            Err(Cause::NoHeader)
        } else {
            Self::check(u64::from_be(word), frame.len())
        }
    }

    /// Returns the header that begins with `word`, in a frame of `len` bytes.
    pub(crate) fn check(word: u64, len: u16) -> Result<Self, Cause> {
        let nsh = Self(word);
        let fits = match (nsh.md_type(), nsh.len()) {
            _ if word >> 62 != 0 => return Err(Cause::Version),
            (1, header) => header == MD1_LEN,
            (2, header) => header >= 8,
            _ => return Err(Cause::MdType),
        };
        // There is a packet behind the header.
        if fits && len > AT + nsh.len() { Ok(nsh) } else { Err(Cause::Length) }
    }

    /// Returns the length of the header in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no header is empty")]
    pub const fn len(self) -> u16 {
        4 * (self.0 >> 48 & 0x3f) as u16
    }

    /// Returns the MD type.
    pub const fn md_type(self) -> u8 {
        (self.0 >> 40 & 0xf) as u8
    }

    /// Returns the next protocol.
    pub const fn next(self) -> u8 {
        (self.0 >> 32) as u8
    }

    /// Returns the EtherType of an inner packet without an Ethernet header; `None` if it has one.
    ///
    /// # Errors
    /// [`Cause::Protocol`] if it is neither Ethernet nor IP.
    pub(crate) const fn ether_type(self) -> Result<Option<[u8; 2]>, Cause> {
        match self.next() {
            next::ETHERNET => Ok(None),
            next::IPV4 => Ok(Some(ether_type::IPV4.to_be_bytes())),
            next::IPV6 => Ok(Some(ether_type::IPV6.to_be_bytes())),
            _ => Err(Cause::Protocol),
        }
    }

    /// Returns whether the O bit is set.
    pub const fn is_oam(self) -> bool {
        self.0 >> 61 & 1 != 0
    }

    /// Returns the time to live.
    pub const fn ttl(self) -> u8 {
        (self.0 >> 54 & 0x3f) as u8
    }

    /// Returns the service path identifier.
    pub const fn path(self) -> Spi {
        Spi::from_bits((self.0 >> 8) as u32)
    }

    /// Returns the service index.
    pub const fn index(self) -> u8 {
        self.0 as u8
    }

    /// Returns the header with service index `index`.
    pub const fn with_index(self, index: u8) -> Self {
        Self(self.0 & !0xff | index as u64)
    }

    /// Returns the header behind one more forwarder: a time to live of 0 becomes 63, as forwarders that do not know the
    /// field leave 0. See: RFC 8300, 2.2.
    ///
    /// # Errors
    /// [`Cause::Ttl`] if the time to live is 0 then.
    pub const fn forwarded(self) -> Result<Self, Cause> {
        let ttl = self.ttl().wrapping_sub(1) & 0x3f;
        if ttl == 0 { Err(Cause::Ttl) } else { Ok(Self(self.0 & !(0x3f << 54) | (ttl as u64) << 54)) }
    }

    /// Writes the first eight bytes into `frame`, which has a header.
    ///
    /// # Errors
    /// [`Cause::NoHeader`] if the frame is too short for one.
    #[inline(always)]
    pub fn write(self, frame: &FrameMut<'_>) -> Result<(), Cause> {
        frame.bytes().write_own(AT.into(), self.0.to_be()).map_err(|_| Cause::NoHeader)
    }

    /// Puts this header of MD type 1 in front of the Ethernet frame `frame`, with `context` as its context header,
    /// behind an outer Ethernet header with the frame's own addresses.
    ///
    /// # Errors
    /// [`Cause::NoHeader`] if the frame is shorter than an Ethernet header, [`Cause::Room`] if its buffer has no room.
    pub fn push(self, frame: &mut FrameMut<'_>, context: &[u8; 16]) -> Result<(), Cause> {
        let header: [u8; AT as usize] = frame.head(0).ok_or(Cause::NoHeader)?;
        let mut bytes = [0; (AT + MD1_LEN) as usize];
        bytes[..12].copy_from_slice(&header[..12]);
        bytes[12..14].copy_from_slice(&ETHER_TYPE.to_be_bytes());
        bytes[14..22].copy_from_slice(&self.0.to_be_bytes());
        bytes[22..].copy_from_slice(context);
        frame.prepend(AT + MD1_LEN)?;
        Ok(frame.set(0, &bytes)?)
    }

    /// Takes this header, which is that of `frame`, away, and returns it with the outer Ethernet header. A frame whose
    /// inner packet has no Ethernet header keeps the outer addresses.
    ///
    /// # Errors
    /// [`Cause::Protocol`] if the inner packet is neither Ethernet nor IP; [`Cause::Length`].
    pub fn pop(self, frame: &mut FrameMut<'_>) -> Result<Outer, Cause> {
        let ether_type = self.ether_type()?;
        let mut outer = Outer { bytes: [0; Outer::LEN], len: AT + self.len() };
        frame.copy_to_slice(0, outer.bytes.get_mut(..outer.len.into()).ok_or(Cause::Length)?)?;
        match ether_type {
            // An Ethernet frame that is none would be sent as one.
            None if frame.len() < outer.len + AT => return Err(Cause::Length),
            None => frame.trim_front(outer.len)?,
            Some(ether_type) => {
                frame.trim_front(self.len())?;
                frame.set(0, &outer.bytes[..12])?;
                frame.set(12, &ether_type)?;
            }
        }
        Ok(outer)
    }
}

/// A network service header with the outer Ethernet header in front of it, as they were taken off a frame.
#[derive(Clone)]
pub struct Outer {
    bytes: [u8; Self::LEN],
    len: u16,
}

impl Outer {
    const LEN: usize = (AT + MAX_LEN) as usize;

    /// Returns the network service header.
    pub fn nsh(&self) -> Nsh {
        let word = self.bytes[AT.into()..].first_chunk().copied().unwrap_or_default();
        Nsh(u64::from_be_bytes(word))
    }

    /// Puts the headers in front of `frame` again.
    ///
    /// # Errors
    /// [`Cause::NoHeader`] if the frame is shorter than an Ethernet header, [`Cause::Room`] if its buffer has no room.
    pub fn push(&self, frame: &mut FrameMut<'_>) -> Result<(), Cause> {
        if frame.len() < AT {
            return Err(Cause::NoHeader);
        }
        // The Ethernet header in front of an IP packet was the outer one.
        let own = if self.nsh().next() == next::ETHERNET { 0 } else { AT };
        frame.prepend(self.len - own)?;
        Ok(frame.set(0, self.bytes.get(..self.len.into()).unwrap_or_default())?)
    }
}

impl From<FrameError> for Cause {
    fn from(error: FrameError) -> Self {
        if matches!(error, FrameError::NoRoom { .. }) { Self::Room } else { Self::Length }
    }
}

#[cfg(test)]
mod tests;
