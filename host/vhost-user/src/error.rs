//! What can end a session, or refuse to begin one.

use crate::message::Refused;
use crate::message::header::MAX_DESCRIPTORS;
use std::io;
use std::time::Duration;

/// Why an operation on either end failed. After an error of a session or a front-end, the caller drops it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A message of the other end is malformed, or asks for what this end refuses.
    #[error(transparent)]
    Message(#[from] Refused),
    /// The front-end hung up inside of a message.
    #[error("the other end has hung up behind {0} bytes of a message")]
    Truncated(usize),
    /// More descriptors came with a message than it can have, or than this process can open.
    #[error("more than {MAX_DESCRIPTORS} descriptors came with a message, or more than can be opened here")]
    TooManyDescriptors,
    /// The front-end does not read what it is answered.
    #[error("the other end does not read replies")]
    Unread,
    /// The back-end refused a message.
    #[error(transparent)]
    Refused(#[from] vhost::Error),
    /// The back-end does not offer all features that the caller asked for.
    #[error("features {0:#x} are not offered")]
    NotOffered(u64),
    /// The other end did not do in time what was waited for.
    #[error("the other end did not {what} within {patience:?}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The other end closed its socket.
    #[error("the other end has hung up")]
    HungUp,
    /// A ring, or what the caller asked of it, breaks a rule.
    #[error("{queue} queue of pair {pair}: {why}")]
    Queue {
        /// `receive` or `transmit`.
        queue: &'static str,
        /// The queue pair, counted from 0.
        pair: u16,
        /// The rule.
        why: String,
    },
}

/// The result of an operation on either end.
pub type Result<T> = std::result::Result<T, Error>;

/// Returns the error of the receive queue of `pair`.
pub(crate) fn receive(pair: u16, why: impl ToString) -> Error {
    Error::Queue { queue: "receive", pair, why: why.to_string() }
}

/// Returns the error of the transmit queue of `pair`.
pub(crate) fn transmit(pair: u16, why: impl ToString) -> Error {
    Error::Queue { queue: "transmit", pair, why: why.to_string() }
}
