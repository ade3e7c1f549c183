//! The lists that most frames need: time to live, addresses, output. Such a list is read once for many frames.

use super::apply::{Cause, IPV4_TTL, Verdict, decrement, with_ttl};
use super::list::plain;
use crate::head::{Head, Sketch};
use crate::key::Layers;
use crate::parse::Parsed;
use sluice::FrameMut;

/// What such a list does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The addresses, as a [`Sketch`] has them.
    destination: Option<u64>,
    source: Option<u64>,
    /// Takes 1 from the time to live.
    decrements: bool,
    /// All three are done.
    routes: bool,
    port: u16,
}

impl Plan {
    /// Returns the plan of the list that `word` reads; `None` if it has actions that are none of [`plain`], the same
    /// one twice, or no output.
    pub fn of(word: impl Fn(usize) -> Option<u64>) -> Option<Self> {
        let mut plan = Self::default();
        for at in 0.. {
            let word = word(at)?;
            match word as u8 {
                plain::DECREMENT_TTL if !plan.decrements => plan.decrements = true,
                plain::SET_DESTINATION if plan.destination.is_none() => plan.destination = Some(word >> 8),
                plain::SET_SOURCE if plan.source.is_none() => plan.source = Some(word >> 8),
                plain::OUTPUT => {
                    plan.routes = plan.decrements && plan.destination.is_some() && plan.source.is_some();
                    return Some(Self { port: (word >> 8) as u16, ..plan });
                }
                _ => break,
            }
        }
        None
    }

    /// Does what a router does with a packet of IPv4, if the plan is that and the packet is one that goes on; else
    /// `None`, and nothing is done. `is_whole` is as in [`super::apply`].
    #[inline(always)]
    pub fn route(
        &self,
        is_whole: impl Fn() -> bool,
        frame: &FrameMut<'_>,
        head: &Head,
        parsed: &Parsed,
    ) -> Option<Option<Verdict>> {
        let at = usize::from(parsed.network) + IPV4_TTL;
        if !self.routes || !parsed.key.layers.contains(Layers::IPV4) {
            return None;
        }
        let four = decremented(head.read(at)?)?;
        if !is_whole() {
            return Some(None);
        }
        let sketch = Sketch { destination: self.destination, source: self.source, four: Some((at, four)) };
        let stored = sketch.store(frame);
        Some(Some(stored.map_or_else(Verdict::Drop, |()| Verdict::Output(self.port))))
    }

    /// Returns what is to be written to the frame of `head`, and the port that it leaves by.
    pub fn sketch(&self, head: &Head, parsed: &Parsed) -> Result<(Sketch, u16), Cause> {
        let Self { destination, source, decrements, port, .. } = *self;
        let ttl = || with_ttl(parsed.key.layers, parsed.network.into(), |at| head.read(at), decrement);
        let four = if decrements { Some(ttl()?) } else { None };
        let has_addresses = head.has_addresses() || (destination, source) == (None, None);
        if has_addresses { Ok((Sketch { destination, source, four }, port)) } else { Err(Cause::Unfit) }
    }
}

/// Returns the time to live, the protocol and the checksum of a header of IPv4 as they are once 1 is taken from the
/// time to live; `None` if it is over then. This is what [`with_ttl`] returns: old and new word differ by a
/// constant.
#[inline(always)]
fn decremented([ttl, protocol, high, low]: [u8; 4]) -> Option<[u8; 4]> {
    const DIFFERENCE: u16 = !u16::from_ne_bytes([1, 0]);
    let sum = u32::from(!u16::from_ne_bytes([high, low])) + u32::from(DIFFERENCE);
    let [high, low] = (!((sum & 0xffff) + (sum >> 16)) as u16).to_ne_bytes();
    decrement(ttl).map(|ttl| [ttl, protocol, high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_that_is_decremented_has_the_checksum_of_any_that_is_set() {
        for ttl in 0..=255 {
            for checksum in (0..=u16::MAX).step_by(7).chain([0xfeff, 0xfffe, 0xffff]) {
                let [high, low] = checksum.to_be_bytes();
                let four = [ttl, 17, high, low];
                let wanted = with_ttl(Layers::IPV4, 0, |_| Some(four), decrement).ok().map(|(_, four)| four);
                assert_eq!(decremented(four), wanted, "{four:?}");
            }
        }
    }
}
