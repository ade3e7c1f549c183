//! What can go wrong between Open vSwitch and its client.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why something was not asked of Open vSwitch, or what came back is of no use. What was known before is still known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody listens at the socket, or who did has hung up: Open vSwitch has ended, or restarts.
    #[error("Open vSwitch is gone: {}: {why}", path.display())]
    Gone {
        /// The socket.
        path: PathBuf,
        /// What the operating system says.
        why: io::Error,
    },
    /// An answer did not come in time. The connection is given up.
    #[error("Open vSwitch did not answer `{what}` within {patience:?}")]
    TimedOut {
        /// The command.
        what: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// An answer is longer than its bound. The connection is given up.
    #[error("the answer to `{what}` is longer than {bound} bytes")]
    TooLong {
        /// The command.
        what: String,
        /// The bound.
        bound: usize,
    },
    /// An answer is none of the protocol, or says what no Open vSwitch says.
    #[error("the answer to `{what}` is malformed: {why}")]
    Malformed {
        /// The command.
        what: String,
        /// Where, and what is wrong.
        why: String,
    },
    /// Open vSwitch refuses the command.
    #[error("Open vSwitch refuses `{what}`: {why}")]
    Refused {
        /// The command.
        what: String,
        /// Its words, in one line.
        why: String,
    },
    /// A second command before the answer to the first.
    #[error("the answer to `{0}` is still awaited")]
    Busy(String),
    /// The bridge is not there.
    #[error("Open vSwitch has no bridge `{0}`")]
    NoBridge(String),
    /// The configuration can't be.
    #[error("the port `{name}`: {why}")]
    Port {
        /// The name of the port in Open vSwitch.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No port of the configuration has this number.
    #[error("there is no port {0}")]
    NoPort(u16),
    /// A frame that a port of Open vSwitch does not take.
    #[error("a frame of {0} bytes: at least 14, at most 65535")]
    Frame(usize),
    /// The operating system has no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[source] io::Error),
    /// More tokens are on their way than are kept account of.
    #[error("{0} fence tokens are on their way")]
    Tokens(usize),
    /// Too much waits to be written to the port with this number.
    #[error("port {0} has no room for a token")]
    Full(u16),
}

/// The result of what was asked.
pub type Result<T> = std::result::Result<T, Error>;

/// Returns the first words of a text from elsewhere, in one line, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    const MOST: usize = 64;
    let mut line: String = text.trim().chars().take(MOST).map(|it| if it.is_control() { ' ' } else { it }).collect();
    if text.trim().chars().nth(MOST).is_some() {
        line.push('…');
    }
    line
}
