//! The values of registers in the window's code, as far as they bound speculation (rule G8).

use sluice_abi::map;

/// The kinds of values. A comparison before a branch changes none, because the processor may predict its outcome.
///
/// What becomes of a number that somebody else named is followed through moves, sums, differences, products and masks.
/// Where ways meet that have nothing else in common, or another instruction computes with it, it is lost sight of
/// ([`Value::Own`]): then nothing is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// The host's or the window's own: a pointer or a number that no packet and no ring chose, or what a mask with such
    /// a bound left.
    Own,
    /// A constant.
    Const(u64),
    /// A number that others named, not above this one.
    Named(u64),
    /// An address in the state, from the first to the last that it may be, in bytes from the state's start; `named`:
    /// others chose it.
    State { first: u64, last: u64, named: bool },
    /// An address at this distance from the top of the stack.
    Stack(i64),
    /// A pointer of the window's own plus a number that others named, not above this one.
    Reach(u64),
}

use Value::{Const, Named, Own, Reach, Stack, State};

/// A number that others named, without a bound.
pub const ANYTHING: Value = Named(u64::MAX);

/// A frame's length less a line may lie so far before its start.
const BEFORE: u64 = 4096;

/// `last`, to the end of its page, or of everything.
const fn by_pages(last: u64) -> u64 {
    if last < 2 * map::STATE_LEN { last | (map::PAGE - 1) } else { u64::MAX }
}

impl Value {
    /// Returns the value where two ways meet. Bounds grow in few steps, so that a walk ends.
    pub fn meet(self, other: Self) -> Self {
        let wider =
            |a: u64, b: u64| if a == b { a } else { u64::MAX.checked_shr(a.max(b).leading_zeros()).unwrap_or(0) };
        match (self, other) {
            (a, b) if a == b => a,
            (Named(a), Named(b)) | (Named(a), Const(b)) | (Const(a), Named(b)) => Named(wider(a, b)),
            (Reach(a), Reach(b)) => Reach(wider(a, b)),
            (State { first: a, last: b, named: x }, State { first: c, last: d, named: y }) if x || y => {
                State { first: a.min(c), last: if b == d { b } else { by_pages(b.max(d)) }, named: true }
            }
            (State { first, last, .. }, State { .. }) => State { first, last, named: false },
            _ => Own,
        }
    }

    /// Whether others have a part in the value.
    pub const fn is_named(self) -> bool {
        matches!(self, Named(_) | Reach(_) | State { named: true, .. })
    }

    /// Returns the low `bytes` bytes.
    pub fn low(self, bytes: usize) -> Self {
        let most = u64::MAX >> (64 - 8 * bytes.clamp(1, 8) as u32);
        match self {
            Named(max) => Named(max.min(most)),
            Const(number) => Const(number & most),
            value if bytes >= 8 => value,
            _ => Own,
        }
    }

    /// Returns the sum.
    pub fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Const(a), Const(b)) => Const(a.wrapping_add(b)),
            (value, Const(by)) | (Const(by), value) => value.displaced(by as i64),
            (Named(a), Named(b)) => Named(a.saturating_add(b)),
            (Own, Named(a)) | (Named(a), Own) => Reach(a),
            (Reach(a), Named(b) | Reach(b)) | (Named(b), Reach(a)) => Reach(a.saturating_add(b)),
            (Reach(a), Own) | (Own, Reach(a)) => Reach(a),
            (State { first, last, .. }, Named(a)) | (Named(a), State { first, last, .. }) => {
                State { first, last: last.saturating_add(a), named: true }
            }
            // Somewhere there.
            (state @ State { .. }, Own) | (Own, state @ State { .. }) => state,
            (Stack(_), Own) | (Own, Stack(_)) => State { first: 0, last: 0, named: false },
            _ => Own,
        }
    }

    fn displaced(self, by: i64) -> Self {
        let moved = |at: u64| at.saturating_add_signed(by);
        match self {
            State { first, last, named } => State { first: moved(first), last: moved(last), named },
            Stack(at) => Stack(at.wrapping_add(by)),
            Named(_) if by < 0 && by.unsigned_abs() > BEFORE => ANYTHING,
            Named(max) => Named(max.saturating_add(by.max(0) as u64)),
            Reach(max) => Reach(max.saturating_add(by.max(0) as u64)),
            value => value,
        }
    }

    /// Returns the difference.
    pub fn minus(self, other: Self) -> Self {
        match (self, other) {
            (value, Const(by)) => value.plus(Const(by.wrapping_neg())),
            (Const(from), Named(max)) if max <= from => Named(from),
            (Named(_), _) => ANYTHING,
            (Reach(max), _) => Reach(max),
            _ => Own,
        }
    }

    /// Returns the product with `factor`.
    pub fn times(self, factor: u64) -> Self {
        match self {
            Const(number) => Const(number.wrapping_mul(factor)),
            Named(max) => Named(max.saturating_mul(factor)),
            value if factor == 1 => value,
            _ => Own,
        }
    }

    /// Returns the bits that both have.
    pub fn and(self, mask: Self) -> Self {
        match (self, mask) {
            (Const(a), Const(b)) => Const(a & b),
            (Named(max), Const(mask)) | (Const(mask), Named(max)) => Named(max.min(mask)),
            (Named(a), Named(b)) => Named(a.min(b)),
            // A mask of the window's own aligns an address.
            _ => Own,
        }
    }

    /// Returns the value behind a conditional move that put 0 in place of all above `bound`.
    pub const fn held_by(self, bound: Self) -> Self {
        match bound {
            Const(most) => Named(most),
            bound if bound.is_named() => self,
            _ => Own,
        }
    }
}
