//! Actions on a frame.

use super::checksum::update;
use super::list::Taker;
use super::{Action, ActionList, Nsh};
use crate::head::Head;
use crate::key::Layers;
use crate::parse::Parsed;
use crate::parse::ipv6;
use crate::parse::link::{ETHERNET, TAG, ether_type};
use crate::parse::nsh::{self, MD1_WORDS};
use crate::parse::transport::protocol;
use sluice::{FrameError, FrameMut, HdrF};

/// Offset of the first tag, or of the EtherType.
const BEHIND_ADDRESSES: usize = 12;
/// Length of a network service header of MD type 1, in bytes.
const MD1: usize = 4 * MD1_WORDS as usize;
/// Offsets in a header of IPv4, and of IPv6, in bytes.
const IPV4_CHECKSUM: usize = 10;
const IPV4_TTL: usize = 8;
const IPV4_ADDRESSES: usize = 12;
const IPV6_HOP_LIMIT: usize = 7;
const IPV6_ADDRESSES: usize = 8;

/// What comes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The frame is sent by the port with this number.
    Output(u16),
    /// The frame is dropped.
    Drop(Cause),
}

/// Why a frame is dropped. Some of its actions may have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The list ends without an output.
    NoOutput,
    /// The time to live is over.
    Expired,
    /// The frame does not have the header that an action changes, or its checksum can't be brought up to date.
    Unfit,
    /// The frame has no room for the header that an action adds.
    NoRoom,
}

impl From<FrameError> for Cause {
    fn from(error: FrameError) -> Self {
        if matches!(error, FrameError::NoRoom { .. }) { Self::NoRoom } else { Self::Unfit }
    }
}

impl ActionList {
    /// Does the actions on `frame`, of which `head` was loaded, and `parsed` is what [`Parsed::of`] made of it. A frame
    /// that is dropped may be left as it was, or longer or shorter.
    #[inline]
    pub fn apply(&self, frame: &mut FrameMut<'_>, head: &mut Head, parsed: &Parsed) -> Verdict {
        let Parsed { key, network, transport, routed } = *parsed;
        let (network, transport) = (network.into(), transport.into());
        let mut work = Work { frame, head, layers: key.layers, protocol: key.protocol, network, transport, routed };
        let mut at = 0;
        while let Some((done, next)) = self.decode(at, &mut work) {
            match done {
                Ok(None) => at = next,
                Ok(Some(port)) => return Verdict::Output(port),
                Err(cause) => return Verdict::Drop(cause),
            }
        }
        Verdict::Drop(Cause::NoOutput)
    }
}

/// A frame, and where its headers are by now.
struct Work<'w, 'b> {
    frame: &'w mut FrameMut<'b>,
    head: &'w mut Head,
    layers: Layers,
    protocol: u8,
    network: usize,
    transport: usize,
    routed: bool,
}

impl Taker for &mut Work<'_, '_> {
    type Result = Result<Option<u16>, Cause>;

    /// Does an action. Returns the port, if it was the output.
    #[inline(always)]
    fn take(self, action: Action) -> Self::Result {
        match action {
            Action::Output(port) => return self.head.store(self.frame).map(|()| Some(port)),
            Action::SetDestination(address) => self.head.exchange(0, &address).map(|_| ()),
            Action::SetSource(address) => self.head.exchange(6, &address).map(|_| ()),
            Action::SetTag { control, mask } => self.set_tag(control, mask),
            Action::PushTag { service, control } => self.push_tag(service, control),
            Action::PopTag => self.pop_tag(),
            Action::SetIpv4Source(address) => self.set_ipv4(IPV4_ADDRESSES, address),
            Action::SetIpv4Destination(address) => self.set_ipv4(IPV4_ADDRESSES + 4, address),
            Action::SetIpv6Source(address) => self.set_ipv6(IPV6_ADDRESSES, address, true),
            Action::SetIpv6Destination(address) => self.set_ipv6(IPV6_ADDRESSES + 16, address, !self.routed),
            Action::SetTos { value, mask } => self.set_tos(value, mask),
            Action::SetTtl(ttl) => self.set_ttl(|_| Some(ttl)),
            Action::DecrementTtl => self.set_ttl(|ttl| ttl.checked_sub(1).filter(|ttl| *ttl > 0)),
            Action::SetSourcePort(port) => self.set_port(0, port),
            Action::SetDestinationPort(port) => self.set_port(2, port),
            Action::PushNsh(nsh) => self.push_nsh(&nsh),
            Action::PopNsh => self.pop_nsh(),
        }
        .map(|()| None)
    }
}

impl Work<'_, '_> {
    fn needs(&self, layers: Layers) -> Result<(), Cause> {
        if self.layers.contains(layers) { Ok(()) } else { Err(Cause::Unfit) }
    }

    /// Writes `new` over the bytes at `at`, and brings the checksum of the IPv4 header up to date.
    fn exchange_ipv4<const N: usize>(&mut self, at: usize, new: &[u8; N]) -> Result<[u8; N], Cause> {
        let old = self.head.exchange(at, new)?;
        let place = self.network + IPV4_CHECKSUM;
        let checksum = u16::from_be_bytes(self.head.read(place)?);
        self.head.exchange(place, &update(checksum, &old, new).to_be_bytes())?;
        Ok(old)
    }

    fn set_ipv4(&mut self, at: usize, address: [u8; 4]) -> Result<(), Cause> {
        self.needs(Layers::IPV4)?;
        let old = self.exchange_ipv4(self.network + at, &address)?;
        self.update_transport(&old, &address, true)
    }

    fn set_ipv6(&mut self, at: usize, address: [u8; 16], is_summed: bool) -> Result<(), Cause> {
        self.needs(Layers::IPV6)?;
        let old = self.head.exchange(self.network + at, &address)?;
        if is_summed { self.update_transport(&old, &address, true) } else { Ok(()) }
    }

    /// Brings the transport header's checksum up to date, if the packet has one. An address `is_pseudo`: it is summed
    /// up, but not in the header. A packet whose checksum is somewhere unknown is not changed.
    fn update_transport<const N: usize>(&mut self, old: &[u8; N], new: &[u8; N], is_pseudo: bool) -> Result<(), Cause> {
        let place = match self.protocol {
            _ if self.layers.contains(Layers::LATER) => return Ok(()),
            _ if !self.layers.contains(Layers::TRANSPORT) => {
                return if self.is_summed() { Err(Cause::Unfit) } else { Ok(()) };
            }
            protocol::TCP => self.transport + 16,
            protocol::UDP => self.transport + 6,
            protocol::ICMPV6 => self.transport + 2,
            _ => return Ok(()),
        };
        let before = u16::from_be_bytes(self.head.read(place)?);
        let after = match self.is_left_to_receiver() {
            // The field is the sum of the pseudo-header, and no complement. See: VIRTIO 5.1.6.2.
            true if is_pseudo => !update(!before, old, new),
            true => before,
            false if self.protocol != protocol::UDP => update(before, old, new),
            // A datagram without a checksum, and one whose checksum is 0. See: RFC 768.
            false if before == 0 => 0,
            false => Some(update(before, old, new)).filter(|sum| *sum != 0).unwrap_or(u16::MAX),
        };
        self.head.exchange(place, &after.to_be_bytes()).map(|_| ())
    }

    /// Returns whether behind this protocol's header, or the next one, there is a checksum over the addresses.
    fn is_summed(&self) -> bool {
        use protocol::{DCCP, ICMPV6, TCP, UDP, UDP_LITE};
        [TCP, UDP, ICMPV6, DCCP, UDP_LITE].contains(&self.protocol)
            || self.layers.contains(Layers::IPV6) && ipv6::is_extension(self.protocol)
    }

    /// Returns whether the checksum of the transport header is not complete yet.
    fn is_left_to_receiver(&self) -> bool {
        let left = |hdr: sluice::Hdr| {
            hdr.flags & HdrF::NEEDS_CSUM.bits() != 0 && usize::from(hdr.csum_start) == self.transport
        };
        self.frame.offloads().is_some_and(left)
    }

    fn set_port(&mut self, at: usize, port: u16) -> Result<(), Cause> {
        self.needs(Layers::TRANSPORT)?;
        if ![protocol::TCP, protocol::UDP].contains(&self.protocol) {
            return Err(Cause::Unfit);
        }
        let new = port.to_be_bytes();
        let old = self.head.exchange(self.transport + at, &new)?;
        self.update_transport(&old, &new, false)
    }

    fn set_tos(&mut self, value: u8, mask: u8) -> Result<(), Cause> {
        let [first, second] = self.head.read(self.network)?;
        if self.layers.contains(Layers::IPV4) {
            let tos = second & !mask | value & mask;
            return self.exchange_ipv4(self.network, &[first, tos]).map(|_| ());
        }
        self.needs(Layers::IPV6)?;
        let class = u16::from_be_bytes([first, second]) & !(u16::from(mask) << 4) | u16::from(value & mask) << 4;
        self.head.exchange(self.network, &class.to_be_bytes()).map(|_| ())
    }

    /// Sets the time to live to what `next` makes of it; `None` if it is over.
    fn set_ttl(&mut self, next: impl Fn(u8) -> Option<u8>) -> Result<(), Cause> {
        if self.layers.contains(Layers::IPV4) {
            let [ttl, protocol] = self.head.read(self.network + IPV4_TTL)?;
            let new = [next(ttl).ok_or(Cause::Expired)?, protocol];
            return self.exchange_ipv4(self.network + IPV4_TTL, &new).map(|_| ());
        }
        self.needs(Layers::IPV6)?;
        let [limit] = self.head.read(self.network + IPV6_HOP_LIMIT)?;
        self.head.exchange(self.network + IPV6_HOP_LIMIT, &[next(limit).ok_or(Cause::Expired)?]).map(|_| ())
    }

    fn set_tag(&mut self, control: u16, mask: u16) -> Result<(), Cause> {
        let [_, _, high, low] = self.outer_tag()?;
        let control = u16::from_be_bytes([high, low]) & !mask | control & mask;
        self.head.exchange(BEHIND_ADDRESSES + 2, &control.to_be_bytes()).map(|_| ())
    }

    fn push_tag(&mut self, service: bool, control: u16) -> Result<(), Cause> {
        let addresses = self.head.read::<BEHIND_ADDRESSES>(0)?;
        self.grow(TAG)?;
        self.head.exchange(0, &addresses)?;
        let [a, b] = if service { ether_type::SERVICE_TAG } else { ether_type::TAG }.to_be_bytes();
        let [c, d] = control.to_be_bytes();
        self.head.exchange(BEHIND_ADDRESSES, &[a, b, c, d]).map(|_| ())
    }

    fn pop_tag(&mut self) -> Result<(), Cause> {
        let addresses = self.head.read::<BEHIND_ADDRESSES>(0)?;
        self.outer_tag()?;
        self.shrink(TAG)?;
        self.head.exchange(0, &addresses).map(|_| ())
    }

    /// Returns the outer tag, behind which there is an EtherType.
    fn outer_tag(&self) -> Result<[u8; TAG], Cause> {
        let [a, b, c, d, _, _] = self.head.read(BEHIND_ADDRESSES)?;
        let is_tag = [ether_type::TAG, ether_type::SERVICE_TAG].contains(&u16::from_be_bytes([a, b]));
        if is_tag { Ok([a, b, c, d]) } else { Err(Cause::Unfit) }
    }

    fn push_nsh(&mut self, nsh: &Nsh) -> Result<(), Cause> {
        let addresses = self.head.read::<BEHIND_ADDRESSES>(0)?;
        self.grow(ETHERNET + MD1)?;
        let first = u16::from(nsh.ttl) << 6 | u16::from(MD1_WORDS);
        let mut header = [0; ETHERNET + MD1];
        header[..BEHIND_ADDRESSES].copy_from_slice(&addresses);
        header[12..14].copy_from_slice(&ether_type::NSH.to_be_bytes());
        header[14..16].copy_from_slice(&first.to_be_bytes());
        header[16..18].copy_from_slice(&[1, nsh::next::ETHERNET]);
        header[18..22].copy_from_slice(&nsh.path.to_be_bytes());
        header[22..].copy_from_slice(&nsh.context);
        self.head.exchange(0, &header)?;
        // An inner packet in another header is not looked into.
        let inner = self.layers.contains(Layers::NSH);
        self.layers.insert(Layers::NSH | Layers::INNER);
        if inner {
            self.layers = Layers::NSH | Layers::INNER;
        }
        Ok(())
    }

    fn pop_nsh(&mut self) -> Result<(), Cause> {
        self.needs(Layers::NSH | Layers::INNER)?;
        let mut at = BEHIND_ADDRESSES;
        while self.head.read(at)? != ether_type::NSH.to_be_bytes() {
            at += TAG;
        }
        let [_, words] = self.head.read(at + 2)?;
        self.shrink(at + 2 + 4 * usize::from(words & 0x3f))?;
        self.layers.remove(Layers::NSH | Layers::INNER);
        Ok(())
    }

    /// Adds bytes in front of the frame.
    fn grow(&mut self, len: usize) -> Result<(), Cause> {
        self.head.grow(self.frame, len)?;
        (self.network, self.transport) = (self.network + len, self.transport + len);
        Ok(())
    }

    /// Takes bytes away in front of the frame. What is left is longer than an Ethernet header.
    fn shrink(&mut self, len: usize) -> Result<(), Cause> {
        self.head.shrink(self.frame, len)?;
        (self.network, self.transport) = (self.network.saturating_sub(len), self.transport.saturating_sub(len));
        Ok(())
    }
}
