//! The inner packet of a frame, as a function sees it: its flow, and a new source or destination.

use crate::Cause;
use crate::file::addresses;
use crate::nsh::{AT, Direction, Nsh};
use core::net::{IpAddr, Ipv4Addr};
use sluice_switch::{HEAD, Layers, Parsed, protocol, update_checksum};
use sluice_vnf::FrameMut;

/// Flags of TCP. See: RFC 9293, 3.1.
pub mod tcp {
    /// No more data from the sender.
    pub const FIN: u16 = 1;
    /// Synchronize sequence numbers.
    pub const SYN: u16 = 2;
    /// Reset the connection.
    pub const RST: u16 = 4;
    /// The acknowledgment field is significant.
    pub const ACK: u16 = 16;
}

/// Types of ICMP. See: RFC 792, "Echo or Echo Reply Message".
const ECHO: [u16; 2] = [0, 8];

/// The two ends of a flow. Of an echo of ICMP, both ports are its identifier. See: RFC 5508, 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The protocol: TCP, UDP or ICMP.
    pub protocol: u8,
    /// Address and port of the source.
    pub source: (IpAddr, u16),
    /// Address and port of the destination.
    pub destination: (IpAddr, u16),
}

impl Flow {
    /// Returns the flow of the answers.
    pub const fn reversed(self) -> Self {
        Self { protocol: self.protocol, source: self.destination, destination: self.source }
    }
}

/// The inner packet of a frame with a network service header.
pub struct Packet<'f, 'b> {
    frame: &'f mut FrameMut<'b>,
    nsh: Nsh,
    parsed: Parsed,
    /// Offset in the frame of what `parsed` counts from.
    base: u16,
    flow: Option<Flow>,
}

impl<'f, 'b> Packet<'f, 'b> {
    /// Returns the inner packet of `frame`, whose header is `nsh`.
    ///
    /// # Errors
    /// [`Cause::Protocol`] if the inner packet is neither Ethernet nor IP.
    pub fn new(frame: &'f mut FrameMut<'b>, nsh: Nsh) -> Result<Self, Cause> {
        let inner = AT + nsh.len();
        let mut bytes = [0; AT as usize + HEAD];
        // An IP packet gets an Ethernet header, as the parser starts with one.
        let ether_type = nsh.ether_type()?;
        let own = if ether_type.is_some() { AT } else { 0 };
        bytes[12..14].copy_from_slice(&ether_type.unwrap_or_default());
        let len = frame.len().saturating_sub(inner);
        let copied = bytes.get_mut(own.into()..).unwrap_or_default();
        let count = usize::from(len).min(HEAD);
        frame.copy_to_slice(inner.into(), copied.get_mut(..count).unwrap_or_default())?;
        let head = bytes.get(..usize::from(own) + count).unwrap_or_default();
        let parsed = Parsed::of(0, head, len.saturating_add(own));
        let flow = flow(&parsed, head);
        Ok(Self { frame, nsh, parsed, base: inner - own, flow })
    }

    /// Returns the flow: of TCP, UDP or an echo of ICMP in one piece, whose lengths are right; otherwise `None`.
    pub const fn flow(&self) -> Option<Flow> {
        self.flow
    }

    /// Returns the direction along the chain.
    pub const fn direction(&self) -> Direction {
        self.nsh.path().direction()
    }

    /// Returns the flags of TCP, if that is the protocol.
    pub fn tcp_flags(&self) -> Option<u16> {
        self.parsed.key.layers.contains(Layers::TCP).then(|| self.parsed.key.tcp_flags.get())
    }

    /// Returns the bytes of the inner Ethernet header's EtherType, or of IP's.
    pub const fn ether_type(&self) -> u16 {
        self.parsed.key.ether_type.get()
    }

    /// Sets address and port of the source of an IPv4 packet, and brings its checksums up to date.
    ///
    /// # Errors
    /// [`Cause::Protocol`] without a flow over IPv4.
    pub fn set_source(&mut self, address: Ipv4Addr, port: u16) -> Result<(), Cause> {
        let flow = self.flow.ok_or(Cause::Protocol)?;
        let port_at = if flow.protocol == protocol::ICMP { 4 } else { 0 };
        self.exchange(12, port_at, (flow.source, (address, port)))?;
        self.flow = Some(Flow { source: (address.into(), port), ..flow });
        Ok(())
    }

    /// Sets address and port of the destination of an IPv4 packet, and brings its checksums up to date.
    ///
    /// # Errors
    /// As [`Packet::set_source`].
    pub fn set_destination(&mut self, address: Ipv4Addr, port: u16) -> Result<(), Cause> {
        let flow = self.flow.ok_or(Cause::Protocol)?;
        let port_at = if flow.protocol == protocol::ICMP { 4 } else { 2 };
        self.exchange(16, port_at, (flow.destination, (address, port)))?;
        self.flow = Some(Flow { destination: (address.into(), port), ..flow });
        Ok(())
    }

    /// Writes an address at `address_at` of the IPv4 header, and a port at `port_at` of the one behind it.
    fn exchange(&mut self, address_at: u16, port_at: u16, change: Change) -> Result<(), Cause> {
        let ((IpAddr::V4(from), from_port), (to, to_port)) = change else { return Err(Cause::Protocol) };
        let [network, transport] = [self.parsed.network, self.parsed.transport].map(|at| self.base + at);
        let (old, new) = ((from.octets(), from_port.to_be_bytes()), (to.octets(), to_port.to_be_bytes()));
        self.frame.set(usize::from(network + address_at), &new.0)?;
        self.frame.set(usize::from(transport + port_at), &new.1)?;
        self.update(network + 10, &old.0, &new.0, false)?;
        // The checksum of ICMP has no pseudo header.
        let (at, with_addresses, may_be_none) = match self.parsed.key.protocol {
            protocol::TCP => (16, true, false),
            protocol::UDP => (6, true, true),
            _ => (2, false, false),
        };
        if may_be_none && self.frame.head(usize::from(transport + at)) == Some([0; 2]) {
            return Ok(());
        }
        if with_addresses {
            self.update(transport + at, &old.0, &new.0, may_be_none)?;
        }
        self.update(transport + at, &old.1, &new.1, may_be_none)
    }

    /// Brings the checksum at `at` up to date. One of UDP that comes out as 0 is sent as FFFFH. See: RFC 768.
    fn update<const N: usize>(&mut self, at: u16, old: &[u8; N], new: &[u8; N], is_udp: bool) -> Result<(), Cause> {
        let checksum = self.frame.head(at.into()).ok_or(Cause::Length)?;
        let sum = update_checksum(u16::from_ne_bytes(checksum), old, new);
        let sum = if is_udp && sum == 0 { 0xffff } else { sum };
        Ok(self.frame.set(at.into(), &sum.to_ne_bytes())?)
    }
}

/// Address and port before and after.
type Change = ((IpAddr, u16), (Ipv4Addr, u16));

fn flow(parsed: &Parsed, head: &[u8]) -> Option<Flow> {
    let key = &parsed.key;
    if !key.layers.contains(Layers::TRANSPORT) || key.layers.contains(Layers::FRAGMENT) {
        return None;
    }
    let [source, destination] = addresses(key);
    let ports = match key.protocol {
        protocol::TCP | protocol::UDP => [key.source_port.get(), key.destination_port.get()],
        protocol::ICMP if ECHO.contains(&key.source_port.get()) => {
            let at = usize::from(parsed.transport) + 4;
            [u16::from_be_bytes(*head.get(at..)?.first_chunk()?); 2]
        }
        _ => return None,
    };
    Some(Flow { protocol: key.protocol, source: (source?, ports[0]), destination: (destination?, ports[1]) })
}

#[cfg(test)]
mod tests;
