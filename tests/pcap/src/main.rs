//! A capture file goes from one machine to another, byte for byte.
//!
//! Arguments: `send FILE [to=NAME]`, where FILE is one of the machine's modules, or `receive FILE`, which writes FILE.
//!
//! Neither end ever holds the file: a process sends captures of any size. A VM has its modules in its RAM, which bounds them, and writes by its
//! console. A frame may be as long as the receiver's device says (`mtu`), and as a buffer of ours is.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod announce;
mod assembly;
mod format;
mod receive;
mod send;

use assembly::Fault;
use core::fmt;
use format::BadFile;
use sluice_vnf::{FileError, Vnf};

sluice_vnf::main!(run);

fn run(vnf: &mut Vnf) -> Result<(), Error> {
    let mut words = vnf.args().split_whitespace();
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some("send"), Some(file), None, None) => send::send(vnf, file, None),
        (Some("send"), Some(file), Some(to), None) => {
            let name = to.strip_prefix("to=").ok_or(Error::Arguments)?;
            send::send(vnf, file, Some(name))
        }
        (Some("receive"), Some(file), None, None) => receive::receive(vnf, file),
        _ => Err(Error::Arguments),
    }
}

/// Why the capture did not get across.
enum Error {
    Arguments,
    Vnf(sluice_vnf::Error),
    /// No such module.
    NoFile(&'static str),
    /// The file can't be opened, or not be written to its end.
    Unusable(&'static str, FileError),
    /// The file to send.
    File(&'static str, BadFile),
    /// What arrived.
    Arrived(&'static str, Fault),
}

impl From<sluice_vnf::Error> for Error {
    fn from(error: sluice_vnf::Error) -> Self {
        Self::Vnf(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments => write!(f, "arguments: send FILE [to=NAME], or receive FILE"),
            Self::Vnf(error) => error.fmt(f),
            Self::NoFile(name) => write!(f, "{name}: no such module"),
            Self::File(name, error) => write!(f, "{name}: {error}"),
            Self::Unusable(name, error) => write!(f, "{name}: {error}"),
            Self::Arrived(name, fault) => write!(f, "{name}: {fault}"),
        }
    }
}
