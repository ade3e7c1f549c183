//! Why a frame did not go on, and the counters of a path.

use core::fmt;

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The frame has no network service header where one is wanted, or ends within it.
    NoHeader,
    /// The version of the header is not 0. See: RFC 8300, 2.2.
    Version,
    /// The length of the header does not fit its MD type, or the frame. See: RFC 8300, 2.2.
    Length,
    /// The MD type is neither 1 nor 2. See: RFC 8300, 2.2.
    MdType,
    /// The inner packet is none that the function can take. See: RFC 8300, 2.2 "Next Protocol".
    Protocol,
    /// The time to live is over. See: RFC 8300, 2.2.
    Ttl,
    /// No chain of the file has this service path identifier. See: RFC 8300, 2.3.
    Path,
    /// This machine is not at this service index of the path. See: RFC 8300, 2.3.
    Index,
    /// The O bit is set, and the chain does not pass such packets. See: RFC 8300, 2.2.
    Oam,
    /// No rule of a chain matches the frame.
    Unclassified,
    /// The function did not let the packet pass.
    Refused,
    /// The next hop is not there, and its chain is closed then.
    Closed,
    /// The frame's buffer has no room for a header, or a proxy's table none for its flow.
    Room,
    /// The proxy keeps no header for a frame that came from its function.
    Unknown,
    /// The proxy keeps the header of another chain for the frame's flow.
    OtherChain,
}

impl Cause {
    /// All causes, in the order of their counters.
    pub const ALL: [Self; 15] = [
        Self::NoHeader,
        Self::Version,
        Self::Length,
        Self::MdType,
        Self::Protocol,
        Self::Ttl,
        Self::Path,
        Self::Index,
        Self::Oam,
        Self::Unclassified,
        Self::Refused,
        Self::Closed,
        Self::Room,
        Self::Unknown,
        Self::OtherChain,
    ];

    /// Returns the name that a table of counters has for the cause.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoHeader => "no header",
            Self::Version => "version",
            Self::Length => "length",
            Self::MdType => "MD type",
            Self::Protocol => "protocol",
            Self::Ttl => "TTL",
            Self::Path => "path",
            Self::Index => "index",
            Self::Oam => "OAM",
            Self::Unclassified => "unclassified",
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::Room => "room",
            Self::Unknown => "unknown",
            Self::OtherChain => "other chain",
        }
    }
}

/// Counters of frames on one path, at one machine. Each frame that arrives is counted once as a packet, and once as
/// dropped if this machine drops it. Those that the next one can't take, as they are too long, are counted with the
/// frames that were sent to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that arrived for the path.
    pub packets: u64,
    /// Length of these frames in bytes.
    pub bytes: u64,
    /// Hops that were passed by, each time that a frame passed by one.
    pub bypassed: u64,
    dropped: [u64; Cause::ALL.len()],
}

impl Counts {
    /// Returns the number of frames that were dropped for `cause`.
    pub fn dropped(&self, cause: Cause) -> u64 {
        self.dropped[cause as usize]
    }

    /// Counts a frame as dropped.
    pub fn drop_one(&mut self, cause: Cause) {
        self.dropped[cause as usize] += 1;
    }

    /// Counts a frame of `len` bytes that arrived.
    #[inline(always)]
    pub fn arrive(&mut self, len: u16) {
        self.packets += 1;
        self.bytes += u64::from(len);
    }
}

impl fmt::Display for Counts {
    /// Writes the counters in one line: of drops, the causes that there were.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packets, bytes, bypassed, dropped } = self;
        let all: u64 = dropped.iter().sum();
        write!(f, "{packets} packets, {bytes} bytes, {bypassed} bypassed, {all} dropped")?;
        let causes = Cause::ALL.iter().zip(dropped).filter(|(_, count)| **count > 0);
        for (place, (cause, count)) in causes.enumerate() {
            write!(f, "{} {} {count}", if place == 0 { ":" } else { "," }, cause.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn counters_name_the_causes_that_there_were() {
        let mut counts = Counts::default();
        assert_eq!(counts.to_string(), "0 packets, 0 bytes, 0 bypassed, 0 dropped");
        counts.arrive(60);
        counts.arrive(64);
        [Cause::Closed, Cause::Ttl, Cause::Closed].into_iter().for_each(|cause| counts.drop_one(cause));
        assert_eq!(counts.to_string(), "2 packets, 124 bytes, 0 bypassed, 3 dropped: TTL 1, closed 2");
        assert!(Cause::ALL.iter().enumerate().all(|(place, cause)| *cause as usize == place));
    }
}
