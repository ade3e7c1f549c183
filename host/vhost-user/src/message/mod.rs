//! The messages of a front-end, and the replies to them: bytes to values and back, without input or output. See:
//! "Vhost-user Protocol", "Message Specification".
//!
//! Whatever the bytes are, a message is refused by its header before a byte of its body is waited for, and takes no
//! more memory than [`header::MAX_BODY`]. Reading order: [`header`] (what every message begins with, and why one is
//! refused), [`body`] (layouts), [`request`] (what a front-end may ask for), [`gather`] (messages that come in pieces).
//!
//! # Why not the crate vhost's messages
//! Its reader of requests keeps messages in private types and hands out method calls, in an order that QEMU does not
//! keep: QEMU enables rings before it chooses features, and is refused.

pub mod body;
pub mod gather;
pub mod header;
pub mod request;

pub use gather::Gathering;
pub use header::{Fault, Header, Refused};
pub use request::{Message, Reply, VringEvent};
