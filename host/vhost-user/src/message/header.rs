//! The header of a message, and why a message is refused. See: "Vhost-user Protocol", "Header".

use std::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The length of a header, bytes.
pub const HEADER_LEN: usize = size_of::<Header>();
/// The longest body that a message of a front-end has, bytes: that of a full memory table.
pub const MAX_BODY: usize = 264;
/// The most descriptors that come with one message. See: "Vhost-user Protocol", "Ancillary data".
pub const MAX_DESCRIPTORS: usize = 8;
/// Bits 1:0 of the flags: the version of the protocol, which is 1.
const VERSION: u32 = 0b11;
/// The message is a reply.
const REPLY: u32 = 1 << 2;
/// The sender wants a reply also to a message that has none of its own.
const NEED_REPLY: u32 = 1 << 3;

/// What every message begins with, in the byte order of the machine. The sender writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// The number of the request.
    pub request: u32,
    /// Version and flags.
    pub flags: u32,
    /// The length of the body, bytes.
    pub size: u32,
}

const _: () = assert!(HEADER_LEN == 12);

impl Header {
    /// Returns the header, if it is one that a front-end may send.
    ///
    /// # Errors
    /// Version or flags are wrong, or the body is longer than that of any message.
    pub fn checked(self) -> Result<Self, Fault> {
        match self {
            Self { flags, .. } if flags & VERSION != 1 => Err(Fault::Version(flags & VERSION)),
            Self { flags, .. } if flags & !(VERSION | NEED_REPLY) != 0 => Err(Fault::Flags(flags)),
            Self { size, .. } if size as usize > MAX_BODY => Err(Fault::TooLong(size)),
            header => Ok(header),
        }
    }

    /// Returns the request.
    pub const fn code(&self) -> Code {
        Code(self.request)
    }

    /// Returns whether the sender wants a reply also to a message that has none of its own.
    pub const fn needs_reply(&self) -> bool {
        self.flags & NEED_REPLY != 0
    }

    /// Returns the header of the reply, with a body of `size` bytes.
    pub const fn reply(&self, size: u32) -> Self {
        Self { request: self.request, flags: 1 | REPLY, size }
    }
}

/// The number of a request. It shows itself by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

macro_rules! codes {
    ($($name:ident = $number:literal)*) => {
        impl Code {
            $(
                #[doc = concat!("`VHOST_USER_", stringify!($name), "`.")]
                pub const $name: Self = Self($number);
            )*

            const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    GET_FEATURES = 1 SET_FEATURES = 2 SET_OWNER = 3 RESET_OWNER = 4 SET_MEM_TABLE = 5 SET_LOG_BASE = 6 SET_LOG_FD = 7
    SET_VRING_NUM = 8 SET_VRING_ADDR = 9 SET_VRING_BASE = 10 GET_VRING_BASE = 11 SET_VRING_KICK = 12
    SET_VRING_CALL = 13 SET_VRING_ERR = 14 GET_PROTOCOL_FEATURES = 15 SET_PROTOCOL_FEATURES = 16 GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18 SEND_RARP = 19 NET_SET_MTU = 20 SET_BACKEND_REQ_FD = 21 IOTLB_MSG = 22 SET_VRING_ENDIAN = 23
    GET_CONFIG = 24 SET_CONFIG = 25 CREATE_CRYPTO_SESSION = 26 CLOSE_CRYPTO_SESSION = 27 POSTCOPY_ADVISE = 28
    POSTCOPY_LISTEN = 29 POSTCOPY_END = 30 GET_INFLIGHT_FD = 31 SET_INFLIGHT_FD = 32 GPU_SET_SOCKET = 33
    RESET_DEVICE = 34 VRING_KICK = 35 GET_MAX_MEM_SLOTS = 36 ADD_MEM_REG = 37 REM_MEM_REG = 38 SET_STATUS = 39
    GET_STATUS = 40 GET_SHARED_OBJECT = 41 SET_DEVICE_STATE_FD = 42 CHECK_DEVICE_STATE = 43
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "message {}", self.0),
        }
    }
}

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The version of the protocol is another one.
    #[error("version {0} of the protocol, not 1")]
    Version(u32),
    /// The flags have bits that a front-end does not set.
    #[error("flags {0:#x}")]
    Flags(u32),
    /// The body is longer than that of any message.
    #[error("a body of {0} bytes, of at most {MAX_BODY}")]
    TooLong(u32),
    /// The body is not as long as that of this message.
    #[error("a body of {len} bytes, not {expected}")]
    Body {
        /// The length of the body, bytes.
        len: usize,
        /// The length that it must have, bytes.
        expected: usize,
    },
    /// Bits are set that say nothing.
    #[error("unknown bits in {0:#x}")]
    Bits(u64),
    /// The number of memory regions is none that a table can have.
    #[error("{0} memory regions")]
    Regions(u32),
    /// An address or a length is not as aligned as it must be, or their sum has no place in 64 bits.
    #[error("{what} at {at:#x} is not aligned, or wraps")]
    Place {
        /// What lies there.
        what: &'static str,
        /// The address.
        at: u64,
    },
    /// Fewer or more descriptors came than such a message has.
    #[error("{count} descriptors, not {expected}")]
    Descriptors {
        /// The number of descriptors that came.
        count: usize,
        /// The number that had to come.
        expected: usize,
    },
    /// This back-end does not know the message.
    #[error("not known here")]
    Unknown,
    /// Features were chosen that were not offered.
    #[error("{what} {chosen:#x} were not all offered")]
    NotOffered {
        /// Which kind of features.
        what: &'static str,
        /// What was chosen.
        chosen: u64,
    },
    /// The message belongs to a protocol feature that was not agreed on.
    #[error("of a protocol feature that was not agreed on")]
    NotAgreed,
    /// The message comes too early.
    #[error("before SET_FEATURES")]
    TooEarly,
    /// What comes with the message is none of what it sets.
    #[error("{0}")]
    Value(String),
}

/// A message that was refused. The session is over then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{request}: {fault}")]
pub struct Refused {
    /// The request.
    pub request: Code,
    /// What is wrong with it.
    pub fault: Fault,
}
