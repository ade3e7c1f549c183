//! The lists that most frames need: addresses, time to live, output.

use super::apply::{Cause, decrement, with_ttl};
use super::list::plain;
use crate::head::{Head, Sketch};
use crate::parse::Parsed;

/// How far [`quick`] came.
pub enum Quick {
    /// To the output.
    Output(Sketch, u16),
    /// To the word with this number.
    More(Option<Sketch>, usize),
}

/// Does the actions that `word` reads, up to the output or to the first that is none of [`plain`] or not in this order:
/// time to live, destination, source, time to live. They come one after the other, without a dispatch.
#[inline(always)]
pub fn quick(word: &impl Fn(usize) -> Option<u64>, head: &Head, parsed: &Parsed) -> Result<Quick, Cause> {
    let Some(mut sketch) = Sketch::of(head) else { return Ok(Quick::More(None, 0)) };
    let next = |at| word(at).ok_or(Cause::NoOutput);
    let (mut at, mut this) = (0, next(0)?);
    let ttl = || with_ttl(parsed.key.layers, parsed.network.into(), |at| head.read(at), decrement);
    if this as u8 == plain::DECREMENT_TTL {
        sketch.four = Some(ttl()?);
        at += 1;
        this = next(at)?;
    }
    if this as u8 == plain::SET_DESTINATION {
        sketch.destination = Some(this >> 8);
        at += 1;
        this = next(at)?;
    }
    if this as u8 == plain::SET_SOURCE {
        sketch.source = Some(this >> 8);
        at += 1;
        this = next(at)?;
    }
    if this as u8 == plain::DECREMENT_TTL && sketch.four.is_none() {
        sketch.four = Some(ttl()?);
        at += 1;
        this = next(at)?;
    }
    if this as u8 == plain::OUTPUT {
        return Ok(Quick::Output(sketch, (this >> 8) as u16));
    }
    Ok(Quick::More(Some(sketch), at))
}
