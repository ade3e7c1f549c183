//! A capture file goes from one machine to another, byte for byte.
//!
//! Arguments: `send FILE [to=NAME]`, where FILE is one of the machine's modules, or `receive FILE`, which writes FILE.
//!
//! A VNF between the two ends may not drop a frame or change its length. For a VNF that does, `replay FILE [to=NAME]`
//! sends the frames of FILE alone, and `record FILE` writes each frame that arrives until none has come for seconds.
//! The records of FILE have no times then: record number n has the time of n microseconds.
//!
//! Neither end ever holds the whole file, so a process sends captures of any size. A VM has its modules in its RAM,
//! which bounds them, and writes by its console. A frame may be as long as the receiver's device says (`mtu`), and as a
//! buffer of this VNF is.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod announce;
mod assembly;
mod format;
mod receive;
mod record;
mod send;

use assembly::Fault;
use format::BadFile;
use sluice_vnf::{FileError, Vnf};

sluice_vnf::main!(run);

fn run(vnf: &mut Vnf) -> Result<(), Error> {
    let mut words = vnf.args().split_whitespace();
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some("send"), Some(file), to, None) => send::send(vnf, file, name(to)?),
        (Some("replay"), Some(file), to, None) => send::replay(vnf, file, name(to)?),
        (Some("receive"), Some(file), None, None) => receive::receive(vnf, file),
        (Some("record"), Some(file), None, None) => record::record(vnf, file),
        _ => Err(Error::Arguments),
    }
}

/// Returns the name in an argument `to=NAME`, if there is one.
fn name(to: Option<&'static str>) -> Result<Option<&'static str>, Error> {
    to.map(|to| to.strip_prefix("to=").ok_or(Error::Arguments)).transpose()
}

/// Why the capture did not arrive.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("arguments: send or replay FILE [to=NAME], or receive or record FILE")]
    Arguments,
    #[error(transparent)]
    Vnf(#[from] sluice_vnf::Error),
    /// There is no such module.
    #[error("{0}: no such module")]
    NoFile(&'static str),
    /// The file can't be opened, or not be written to its end.
    #[error("{0}: {1}")]
    Unusable(&'static str, FileError),
    /// The file to send is wrong.
    #[error("{0}: {1}")]
    File(&'static str, BadFile),
    /// The frames that arrived make no file.
    #[error("{0}: {1}")]
    Arrived(&'static str, Fault),
}
