//! Actions on a frame.

use super::checksum::update;
use super::list::{Taker, decode};
use super::quick::Plan;
use super::{Action, ActionList, Nsh};
use crate::head::{ADDRESSES, Draft, Head};
use crate::key::Layers;
use crate::parse::Parsed;
use crate::parse::ipv6;
use crate::parse::link::{ETHERNET, TAG, ether_type};
use crate::parse::nsh::{self, MD1_WORDS};
use crate::parse::transport::protocol;
use sluice::{FrameError, FrameMut, HdrF};

/// Length of a network service header of MD type 1, in bytes.
const MD1: usize = 4 * MD1_WORDS as usize;
/// Offsets in a header of IPv4, and of IPv6, in bytes.
const IPV4_CHECKSUM: usize = 10;
pub const IPV4_TTL: usize = 8;
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

/// Why a frame is dropped.
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
    /// that is dropped is as it was. The head is to be loaded again before it is used again.
    #[inline]
    pub fn apply(&self, frame: &mut FrameMut<'_>, head: &mut Head, parsed: &Parsed) -> Verdict {
        let word = |at| self.word(at);
        apply(word, || true, frame, head, parsed).unwrap_or(Verdict::Drop(Cause::NoOutput))
    }
}

/// Does the actions that `word` reads, word by word, as [`ActionList::apply`] does, if `is_whole` says at the end that
/// they are one list. Otherwise returns `None`: the frame is as it was, and its head is not.
#[inline(always)]
pub fn apply(
    word: impl Fn(usize) -> Option<u64>,
    is_whole: impl Fn() -> bool,
    frame: &mut FrameMut<'_>,
    head: &mut Head,
    parsed: &Parsed,
) -> Option<Verdict> {
    match Plan::of(&word) {
        Some(plan) => follow(&plan, is_whole, frame, head, parsed),
        None => go(&word, is_whole, frame, head, parsed),
    }
}

/// Does what `plan` says, as [`apply`] does with the list that it was made of.
#[inline(always)]
pub fn follow(
    plan: &Plan,
    is_whole: impl Fn() -> bool,
    frame: &FrameMut<'_>,
    head: &Head,
    parsed: &Parsed,
) -> Option<Verdict> {
    match plan.route(&is_whole, frame, head, parsed) {
        Some(done) => done,
        None => sketch(plan, is_whole, frame, head, parsed),
    }
}

/// Does what [`follow`] does, whatever plan and packet are.
#[inline(never)]
fn sketch(
    plan: &Plan,
    is_whole: impl Fn() -> bool,
    frame: &FrameMut<'_>,
    head: &Head,
    parsed: &Parsed,
) -> Option<Verdict> {
    let sketch = plan.sketch(head, parsed);
    if !is_whole() {
        return None;
    }
    Some(verdict(sketch.and_then(|(sketch, port)| sketch.store(frame).map(|()| port))))
}

/// Does the actions one after the other, as [`apply`] does.
#[inline(never)]
pub fn go(
    word: &impl Fn(usize) -> Option<u64>,
    is_whole: impl Fn() -> bool,
    frame: &mut FrameMut<'_>,
    head: &mut Head,
    parsed: &Parsed,
) -> Option<Verdict> {
    let mut work = Work::of(frame, head, parsed);
    let done = work.run(word);
    is_whole().then(|| verdict(done.and_then(|port| work.draft.store(frame).map(|()| port))))
}

fn verdict(done: Result<u16, Cause>) -> Verdict {
    match done {
        Ok(port) => Verdict::Output(port),
        Err(cause) => Verdict::Drop(cause),
    }
}

/// Returns a time to live that is one less; `None` if it is over.
#[inline(always)]
pub fn decrement(ttl: u8) -> Option<u8> {
    ttl.checked_sub(1).filter(|ttl| *ttl > 0)
}

/// Returns which four bytes change as the time to live becomes what `next` makes of it, and where they are; `network`
/// is where the header is.
#[inline(always)]
pub fn with_ttl(
    layers: Layers,
    network: usize,
    read: impl Fn(usize) -> Option<[u8; 4]>,
    next: impl Fn(u8) -> Option<u8>,
) -> Result<(usize, [u8; 4]), Cause> {
    if layers.contains(Layers::IPV4) {
        let [ttl, protocol, high, low] = read(network + IPV4_TTL).ok_or(Cause::Unfit)?;
        let new = next(ttl).ok_or(Cause::Expired)?;
        // The checksum follows the word that changes.
        let [high, low] = update(u16::from_ne_bytes([high, low]), &[ttl, protocol], &[new, protocol]).to_ne_bytes();
        return Ok((network + IPV4_TTL, [new, protocol, high, low]));
    }
    let at = network + IPV6_HOP_LIMIT - 3;
    let [a, b, c, limit] = read(at).filter(|_| layers.contains(Layers::IPV6)).ok_or(Cause::Unfit)?;
    Ok((at, [a, b, c, next(limit).ok_or(Cause::Expired)?]))
}

/// The head of a frame, and where its headers are by now.
struct Work<'h> {
    draft: Draft<'h>,
    layers: Layers,
    protocol: u8,
    network: usize,
    transport: usize,
    routed: bool,
    /// Where in the draft the bytes start whose checksum is left to the receiver.
    summed: Option<usize>,
}

impl Taker for &mut Work<'_> {
    type Result = Result<Option<u16>, Cause>;

    /// Does an action. Returns the port, if it was the output.
    #[inline(always)]
    fn take(self, action: Action) -> Self::Result {
        match action {
            Action::Output(port) => return Ok(Some(port)),
            Action::SetDestination(address) => self.draft.exchange(0, &address).map(|_| ()),
            Action::SetSource(address) => self.draft.exchange(6, &address).map(|_| ()),
            Action::SetTag { control, mask } => self.set_tag(control, mask),
            Action::PushTag { service, control } => self.push_tag(service, control),
            Action::PopTag => self.pop_tag(),
            Action::SetIpv4Source(address) => self.set_ipv4(IPV4_ADDRESSES, address),
            Action::SetIpv4Destination(address) => self.set_ipv4(IPV4_ADDRESSES + 4, address),
            Action::SetIpv6Source(address) => self.set_ipv6(IPV6_ADDRESSES, address, true),
            Action::SetIpv6Destination(address) => self.set_ipv6(IPV6_ADDRESSES + 16, address, !self.routed),
            Action::SetTos { value, mask } => self.set_tos(value, mask),
            Action::SetTtl(ttl) => self.set_ttl(|_| Some(ttl)),
            Action::DecrementTtl => self.set_ttl(decrement),
            Action::SetSourcePort(port) => self.set_port(0, port),
            Action::SetDestinationPort(port) => self.set_port(2, port),
            Action::PushNsh(nsh) => self.push_nsh(&nsh),
            Action::PopNsh => self.pop_nsh(),
        }
        .map(|()| None)
    }
}

impl<'h> Work<'h> {
    /// Does the actions that `word` reads, and returns the port of the output.
    #[inline(always)]
    fn run(&mut self, word: &impl Fn(usize) -> Option<u64>) -> Result<u16, Cause> {
        let mut at = 0;
        while let Some((done, next)) = decode(word, at, &mut *self) {
            match done? {
                Some(port) => return Ok(port),
                None => at = next,
            }
        }
        Err(Cause::NoOutput)
    }

    #[inline(always)]
    fn of(frame: &FrameMut<'_>, head: &'h mut Head, parsed: &Parsed) -> Self {
        let Parsed { key, network, transport, routed } = parsed;
        let draft = Draft::of(head);
        let left = frame.offloads().filter(|hdr| hdr.flags & HdrF::NEEDS_CSUM.bits() != 0);
        let summed = left.map(|hdr| draft.origin + usize::from(hdr.csum_start));
        let (network, transport) = (usize::from(*network), usize::from(*transport));
        Self { draft, layers: key.layers, protocol: key.protocol, network, transport, routed: *routed, summed }
    }
}

impl Work<'_> {
    fn needs(&self, layers: Layers) -> Result<(), Cause> {
        if self.layers.contains(layers) { Ok(()) } else { Err(Cause::Unfit) }
    }

    /// Writes `new` over the bytes at `at`, and brings the checksum of the IPv4 header up to date.
    fn exchange_ipv4<const N: usize>(&mut self, at: usize, new: &[u8; N]) -> Result<[u8; N], Cause> {
        let old = self.draft.exchange(at, new)?;
        let place = self.network + IPV4_CHECKSUM;
        let checksum = u16::from_ne_bytes(self.draft.read(place)?);
        self.draft.exchange(place, &update(checksum, &old, new).to_ne_bytes())?;
        Ok(old)
    }

    fn set_ipv4(&mut self, at: usize, address: [u8; 4]) -> Result<(), Cause> {
        self.needs(Layers::IPV4)?;
        let old = self.exchange_ipv4(self.network + at, &address)?;
        self.update_transport(&old, &address, true)
    }

    fn set_ipv6(&mut self, at: usize, address: [u8; 16], is_summed: bool) -> Result<(), Cause> {
        self.needs(Layers::IPV6)?;
        let old = self.draft.exchange(self.network + at, &address)?;
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
        let before = u16::from_ne_bytes(self.draft.read(place)?);
        let after = match self.is_left_to_receiver() {
            // The field is the sum of the pseudo-header, and no complement. See: VIRTIO 5.1.6.2.
            true if is_pseudo => !update(!before, old, new),
            true => before,
            false if self.protocol != protocol::UDP => update(before, old, new),
            // A datagram without a checksum, and one whose checksum is 0. See: RFC 768.
            false if before == 0 => 0,
            false => Some(update(before, old, new)).filter(|sum| *sum != 0).unwrap_or(u16::MAX),
        };
        self.draft.exchange(place, &after.to_ne_bytes()).map(|_| ())
    }

    /// Returns whether behind this protocol's header, or the next one, there is a checksum over the addresses.
    fn is_summed(&self) -> bool {
        use protocol::{DCCP, ICMPV6, TCP, UDP, UDP_LITE};
        [TCP, UDP, ICMPV6, DCCP, UDP_LITE].contains(&self.protocol)
            || self.layers.contains(Layers::IPV6) && ipv6::is_extension(self.protocol)
    }

    /// Returns whether the checksum of the transport header is not complete yet.
    fn is_left_to_receiver(&self) -> bool {
        self.summed == Some(self.draft.start + self.transport)
    }

    fn set_port(&mut self, at: usize, port: u16) -> Result<(), Cause> {
        self.needs(Layers::TRANSPORT)?;
        if ![protocol::TCP, protocol::UDP].contains(&self.protocol) {
            return Err(Cause::Unfit);
        }
        let new = port.to_be_bytes();
        let old = self.draft.exchange(self.transport + at, &new)?;
        self.update_transport(&old, &new, false)
    }

    fn set_tos(&mut self, value: u8, mask: u8) -> Result<(), Cause> {
        let [first, second] = self.draft.read(self.network)?;
        if self.layers.contains(Layers::IPV4) {
            let tos = second & !mask | value & mask;
            return self.exchange_ipv4(self.network, &[first, tos]).map(|_| ());
        }
        self.needs(Layers::IPV6)?;
        let class = u16::from_be_bytes([first, second]) & !(u16::from(mask) << 4) | u16::from(value & mask) << 4;
        self.draft.exchange(self.network, &class.to_be_bytes()).map(|_| ())
    }

    /// Sets the time to live to what `next` makes of it; `None` if it is over.
    #[inline(always)]
    fn set_ttl(&mut self, next: impl Fn(u8) -> Option<u8>) -> Result<(), Cause> {
        let (at, four) = with_ttl(self.layers, self.network, |at| self.draft.read(at).ok(), next)?;
        self.draft.exchange(at, &four).map(|_| ())
    }

    fn set_tag(&mut self, control: u16, mask: u16) -> Result<(), Cause> {
        let [_, _, high, low] = self.outer_tag()?;
        let control = u16::from_be_bytes([high, low]) & !mask | control & mask;
        self.draft.exchange(ADDRESSES + 2, &control.to_be_bytes()).map(|_| ())
    }

    fn push_tag(&mut self, service: bool, control: u16) -> Result<(), Cause> {
        let addresses = self.draft.read::<ADDRESSES>(0)?;
        self.grow(TAG)?;
        self.draft.exchange(0, &addresses)?;
        let [a, b] = if service { ether_type::SERVICE_TAG } else { ether_type::TAG }.to_be_bytes();
        let [c, d] = control.to_be_bytes();
        self.draft.exchange(ADDRESSES, &[a, b, c, d]).map(|_| ())
    }

    fn pop_tag(&mut self) -> Result<(), Cause> {
        let addresses = self.draft.read::<ADDRESSES>(0)?;
        self.outer_tag()?;
        self.shrink(TAG)?;
        self.draft.exchange(0, &addresses).map(|_| ())
    }

    /// Returns the outer tag, behind which there is an EtherType.
    fn outer_tag(&self) -> Result<[u8; TAG], Cause> {
        let [a, b, c, d, _, _] = self.draft.read(ADDRESSES)?;
        let is_tag = [ether_type::TAG, ether_type::SERVICE_TAG].contains(&u16::from_be_bytes([a, b]));
        if is_tag { Ok([a, b, c, d]) } else { Err(Cause::Unfit) }
    }

    fn push_nsh(&mut self, nsh: &Nsh) -> Result<(), Cause> {
        let addresses = self.draft.read::<ADDRESSES>(0)?;
        self.grow(ETHERNET + MD1)?;
        let first = u16::from(nsh.ttl) << 6 | u16::from(MD1_WORDS);
        let mut header = [0; ETHERNET + MD1];
        header[..ADDRESSES].copy_from_slice(&addresses);
        header[12..14].copy_from_slice(&ether_type::NSH.to_be_bytes());
        header[14..16].copy_from_slice(&first.to_be_bytes());
        header[16..18].copy_from_slice(&[1, nsh::next::ETHERNET]);
        header[18..22].copy_from_slice(&nsh.path.to_be_bytes());
        header[22..].copy_from_slice(&nsh.context);
        self.draft.exchange(0, &header)?;
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
        let mut at = ADDRESSES;
        while self.draft.read(at)? != ether_type::NSH.to_be_bytes() {
            at += TAG;
        }
        let [_, words] = self.draft.read(at + 2)?;
        self.shrink(at + 2 + 4 * usize::from(words & 0x3f))?;
        self.layers.remove(Layers::NSH | Layers::INNER);
        Ok(())
    }

    /// Adds bytes in front of the frame.
    fn grow(&mut self, len: usize) -> Result<(), Cause> {
        self.draft.grow(len)?;
        (self.network, self.transport) = (self.network + len, self.transport + len);
        Ok(())
    }

    /// Takes bytes away in front of the frame. What is left is longer than an Ethernet header.
    fn shrink(&mut self, len: usize) -> Result<(), Cause> {
        self.draft.shrink(len)?;
        if self.summed.is_some_and(|summed| summed < self.draft.start) {
            return Err(Cause::Unfit);
        }
        (self.network, self.transport) = (self.network.saturating_sub(len), self.transport.saturating_sub(len));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
