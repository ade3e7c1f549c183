//! A capture file goes from one machine to another, byte for byte.
//!
//! Arguments: `send FILE [to=NAME]`, where FILE is one of the machine's modules, or `receive FILE`, which writes FILE.
//!
//! A VNF between the two ends may not drop a frame or change its length. For a VNF that does, `replay FILE [to=NAME]
//! [gap=TICKS]` sends the frames of FILE alone, with that many ticks of the processor's counter between two bursts, and
//! `record FILE [quiet=TICKS]` writes each frame that arrives until none has come for that many ticks, or for seconds.
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
    match (words.next(), words.next(), words) {
        (Some("send"), Some(file), rest) => send::send(vnf, file, options(rest, ["to="])?[0]),
        (Some("replay"), Some(file), rest) => {
            let [to, gap] = options(rest, ["to=", "gap="])?;
            send::replay(vnf, file, to, ticks(gap)?.unwrap_or(0))
        }
        (Some("receive"), Some(file), rest) => options(rest, []).and_then(|[]| receive::receive(vnf, file)),
        (Some("record"), Some(file), rest) => {
            let [quiet] = options(rest, ["quiet="])?;
            record::record(vnf, file, ticks(quiet)?)
        }
        _ => Err(Error::Arguments),
    }
}

/// Returns what stands behind each of `names` in the arguments, if it is there.
fn options<const N: usize>(
    mut words: impl Iterator<Item = &'static str>,
    names: [&str; N],
) -> Result<[Option<&'static str>; N], Error> {
    let mut found = [None; N];
    let known = words.all(|word| {
        let at = names.iter().position(|name| word.starts_with(name)).filter(|&at| found[at].is_none());
        at.is_some_and(|at| found[at].replace(&word[names[at].len()..]).is_none())
    });
    if known { Ok(found) } else { Err(Error::Arguments) }
}

/// Returns the number of ticks that an argument says.
fn ticks(word: Option<&str>) -> Result<Option<u64>, Error> {
    word.map(|word| word.parse().map_err(|_| Error::Arguments)).transpose()
}

/// Why the capture did not arrive.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(
        "arguments: send FILE [to=NAME], replay FILE [to=NAME] [gap=TICKS], receive FILE, record FILE [quiet=TICKS]"
    )]
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
