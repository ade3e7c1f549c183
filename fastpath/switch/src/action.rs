//! What a flow entry does with a frame: a list of actions that can only change the frame, send it by one port, or drop
//! it.

mod apply;
mod checksum;
mod list;
mod quick;

pub use apply::{Cause, Verdict};
pub(crate) use apply::{follow, go};
pub use checksum::update as update_checksum;
pub use list::{ActionError, ActionList, LIST_WORDS};
pub(crate) use quick::Plan;

/// One action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends the frame by the port with this number. It is the last action of its list; without it the frame is
    /// dropped.
    Output(u16),
    /// Sets the destination address of the outer Ethernet header.
    SetDestination([u8; 6]),
    /// Sets the source address of the outer Ethernet header.
    SetSource([u8; 6]),
    /// Sets the bits `mask` of the outer tag's control information.
    SetTag {
        /// Priority (15:13), drop eligible (12), VLAN identifier (11:0).
        control: u16,
        /// The bits that are set.
        mask: u16,
    },
    /// Adds a tag in front of those that the frame has.
    PushTag {
        /// The tag is a service tag.
        service: bool,
        /// Priority (15:13), drop eligible (12), VLAN identifier (11:0).
        control: u16,
    },
    /// Takes the outer tag away.
    PopTag,
    /// Sets the source address of IPv4.
    SetIpv4Source([u8; 4]),
    /// Sets the destination address of IPv4.
    SetIpv4Destination([u8; 4]),
    /// Sets the source address of IPv6.
    SetIpv6Source([u8; 16]),
    /// Sets the destination address of IPv6.
    SetIpv6Destination([u8; 16]),
    /// Sets the bits `mask` of IPv4's type of service, or of IPv6's traffic class.
    SetTos {
        /// The bits.
        value: u8,
        /// The bits that are set.
        mask: u8,
    },
    /// Sets the time to live, or the hop limit: not 0.
    SetTtl(u8),
    /// Takes 1 from the time to live, or from the hop limit, and drops a frame in which it is 0 or 1.
    DecrementTtl,
    /// Sets the source port of TCP or UDP.
    SetSourcePort(u16),
    /// Sets the destination port of TCP or UDP.
    SetDestinationPort(u16),
    /// Puts the frame into a network service header of MD type 1, behind an outer Ethernet header with the frame's own
    /// addresses. See: RFC 8300, 2.4, 6.1.
    PushNsh(Nsh),
    /// Takes the frame out of the network service header that it is in, tags before the header included.
    PopNsh,
}

/// The fields of a network service header that a list of actions may choose. See: RFC 8300, 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nsh {
    /// Service path identifier (31:8), service index (7:0).
    pub path: u32,
    /// Time to live, 0 to 63.
    pub ttl: u8,
    /// Fixed context header of MD type 1.
    pub context: [u8; 16],
}
