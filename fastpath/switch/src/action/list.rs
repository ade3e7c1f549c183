//! Lists of actions as words.
//!
//! ```text
//! word      operation (7:0), operand (63:8); the operation 0 ends a list
//! words     that follow an address of IPv6 or the context of a network service header: its 16 bytes, as in a frame
//! ```

use super::{Action, Nsh};
use core::iter;

/// Number of words of a list.
pub const LIST_WORDS: usize = 16;
/// Largest time to live in a network service header.
const MOST_NSH_TTL: u8 = 63;

/// Reasons for which words are no list of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// A list has at most [`LIST_WORDS`] words.
    #[error("the actions need more than {LIST_WORDS} words")]
    TooLong,
    /// The word is no action: its operation is unknown, or its operand has bits that the operation does not have.
    #[error("word {at} is no action: {word:#x}")]
    Word {
        /// The word's number.
        at: usize,
        /// The word.
        word: u64,
    },
    /// There is an action behind [`Action::Output`].
    #[error("an action follows the output")]
    BehindOutput,
    /// No port has this number.
    #[error("there is no port {0}")]
    Port(u16),
    /// A time to live that the action can't set.
    #[error("a time to live of {0}")]
    Ttl(u8),
}

/// A list of actions. One that was checked holds only actions that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActionList([u64; LIST_WORDS]);

impl ActionList {
    /// The list without actions, which drops a frame.
    pub const DROP: Self = Self([0; LIST_WORDS]);

    /// Returns the list of `actions` for a switch with this number of ports.
    ///
    /// # Errors
    /// [`ActionError`].
    pub fn new(actions: &[Action], ports: u16) -> Result<Self, ActionError> {
        let mut words = [0; LIST_WORDS];
        let mut rest = words.iter_mut();
        for action in actions {
            for word in encode(action) {
                *rest.next().ok_or(ActionError::TooLong)? = word;
            }
        }
        Self::check(words, ports)
    }

    /// Returns `words` as a list for a switch with this number of ports.
    ///
    /// # Errors
    /// [`ActionError`].
    pub fn check(words: [u64; LIST_WORDS], ports: u16) -> Result<Self, ActionError> {
        let list = Self(words);
        let (mut at, mut ended) = (0, false);
        while at < LIST_WORDS && words[at] != 0 {
            let (action, next) = list.decode(at).ok_or(ActionError::Word { at, word: words[at] })?;
            if ended {
                return Err(ActionError::BehindOutput);
            }
            // What is encoded again is the same, so no bit is without a meaning.
            let same = encode(&action).eq(words[at..next].iter().copied());
            (ended, at) = (valid(&action, ports)?, if same { next } else { return Err(no_action(at, &words)) });
        }
        let behind = (at..LIST_WORDS).find(|&at| words[at] != 0);
        behind.map_or(Ok(list), |at| Err(no_action(at, &words)))
    }

    /// Returns `words` as a list, of which the actions up to the first that is unknown count.
    pub(crate) const fn unchecked(words: [u64; LIST_WORDS]) -> Self {
        Self(words)
    }

    /// Returns the words.
    pub const fn words(&self) -> &[u64; LIST_WORDS] {
        &self.0
    }

    /// Returns the actions in order.
    pub fn actions(&self) -> impl Iterator<Item = Action> {
        let mut at = 0;
        iter::from_fn(move || {
            let (action, next) = self.decode(at)?;
            at = next;
            Some(action)
        })
    }

    /// Returns the action at word `at`, and where the next one is.
    fn decode(&self, at: usize) -> Option<(Action, usize)> {
        decode(|at| self.word(at), at, Whole)
    }

    /// Returns word `at`.
    #[inline(always)]
    pub(super) fn word(&self, at: usize) -> Option<u64> {
        self.0.get(at).copied()
    }
}

/// The operations of most lists.
pub(super) mod plain {
    pub const OUTPUT: u8 = 1;
    pub const SET_DESTINATION: u8 = 2;
    pub const SET_SOURCE: u8 = 3;
    pub const DECREMENT_TTL: u8 = 13;
}

/// Gives the action at word `at` of what `word` reads to `taker`. Each word is read once. Returns what comes of it, and
/// where the next action is.
#[inline(always)]
pub(super) fn decode<T: Taker>(word: impl Fn(usize) -> Option<u64>, at: usize, taker: T) -> Option<(T::Result, usize)> {
    let this = word(at)?;
    let (code, operand) = (this as u8, this >> 8);
    let (low, high) = (operand as u16, (operand >> 16) as u16);
    let sixteen = || Some(bytes_of(word(at + 1)?, word(at + 2)?));
    let result = match code {
        plain::OUTPUT => taker.take(Action::Output(low)),
        plain::SET_DESTINATION => taker.take(Action::SetDestination(first(operand))),
        plain::SET_SOURCE => taker.take(Action::SetSource(first(operand))),
        4 => taker.take(Action::SetTag { control: low, mask: high }),
        5 => taker.take(Action::PushTag { service: high != 0, control: low }),
        6 => taker.take(Action::PopTag),
        7 => taker.take(Action::SetIpv4Source(first(operand))),
        8 => taker.take(Action::SetIpv4Destination(first(operand))),
        9 => return Some((taker.take(Action::SetIpv6Source(sixteen()?)), at + 3)),
        10 => return Some((taker.take(Action::SetIpv6Destination(sixteen()?)), at + 3)),
        11 => taker.take(Action::SetTos { value: low as u8, mask: (low >> 8) as u8 }),
        12 => taker.take(Action::SetTtl(low as u8)),
        plain::DECREMENT_TTL => taker.take(Action::DecrementTtl),
        14 => taker.take(Action::SetSourcePort(low)),
        15 => taker.take(Action::SetDestinationPort(low)),
        16 => {
            let (path, ttl) = (operand as u32, (operand >> 32) as u8);
            return Some((taker.take(Action::PushNsh(Nsh { path, ttl, context: sixteen()? })), at + 3));
        }
        17 => taker.take(Action::PopNsh),
        _ => return None,
    };
    Some((result, at + 1))
}

/// Who takes an action as it is decoded. Where this is inlined, each operation is decoded and done in one place: an
/// action that is put together first, in memory, is read back from there before it has arrived.
pub(super) trait Taker {
    type Result;
    fn take(self, action: Action) -> Self::Result;
}

/// Takes the action as it is.
struct Whole;

impl Taker for Whole {
    type Result = Action;

    #[inline(always)]
    fn take(self, action: Action) -> Action {
        action
    }
}

/// Returns the words of an action.
fn encode(action: &Action) -> impl Iterator<Item = u64> {
    let word = |code: u8, operand: u64| u64::from(code) | operand << 8;
    let six = |[a, b, c, d, e, f]: [u8; 6]| u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    let four = |bytes| u64::from(u32::from_le_bytes(bytes));
    let pair = |low: u16, high: u16| u64::from(low) | u64::from(high) << 16;
    let (first, rest) = match *action {
        Action::Output(port) => (word(plain::OUTPUT, port.into()), None),
        Action::SetDestination(address) => (word(plain::SET_DESTINATION, six(address)), None),
        Action::SetSource(address) => (word(plain::SET_SOURCE, six(address)), None),
        Action::SetTag { control, mask } => (word(4, pair(control, mask)), None),
        Action::PushTag { service, control } => (word(5, pair(control, service.into())), None),
        Action::PopTag => (word(6, 0), None),
        Action::SetIpv4Source(address) => (word(7, four(address)), None),
        Action::SetIpv4Destination(address) => (word(8, four(address)), None),
        Action::SetIpv6Source(address) => (word(9, 0), Some(address)),
        Action::SetIpv6Destination(address) => (word(10, 0), Some(address)),
        Action::SetTos { value, mask } => (word(11, u64::from(value) | u64::from(mask) << 8), None),
        Action::SetTtl(ttl) => (word(12, ttl.into()), None),
        Action::DecrementTtl => (word(plain::DECREMENT_TTL, 0), None),
        Action::SetSourcePort(port) => (word(14, port.into()), None),
        Action::SetDestinationPort(port) => (word(15, port.into()), None),
        Action::PushNsh(nsh) => (word(16, u64::from(nsh.path) | u64::from(nsh.ttl) << 32), Some(nsh.context)),
        Action::PopNsh => (word(17, 0), None),
    };
    iter::once(first).chain(rest.into_iter().flat_map(words_of))
}

/// Returns whether an action ends its list, if a list may have it.
fn valid(action: &Action, ports: u16) -> Result<bool, ActionError> {
    match *action {
        Action::Output(port) if port >= ports => Err(ActionError::Port(port)),
        Action::SetTtl(0) => Err(ActionError::Ttl(0)),
        Action::PushNsh(Nsh { ttl, .. }) if ttl > MOST_NSH_TTL => Err(ActionError::Ttl(ttl)),
        Action::Output(_) => Ok(true),
        _ => Ok(false),
    }
}

fn no_action(at: usize, words: &[u64; LIST_WORDS]) -> ActionError {
    ActionError::Word { at, word: words[at] }
}

/// Returns the first bytes of an operand.
#[inline(always)]
fn first<const N: usize>(operand: u64) -> [u8; N] {
    const { assert!(N <= 8) };
    operand.to_le_bytes().first_chunk().copied().unwrap_or([0; N])
}

fn words_of(bytes: [u8; 16]) -> [u64; 2] {
    let all = u128::from_le_bytes(bytes);
    [all as u64, (all >> 64) as u64]
}

fn bytes_of(low: u64, high: u64) -> [u8; 16] {
    (u128::from(low) | u128::from(high) << 64).to_le_bytes()
}
