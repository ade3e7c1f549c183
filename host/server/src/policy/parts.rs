//! Parts of a policy that VMs and taps have, checked and shown.

use super::file::File;
use super::{Wrong, wrong};
use sluice_abi::directory::NAME_LEN;
use sluice_control::{Addresses, Limit, Mac};
use std::fmt;
use std::path::Path;
use toml::Spanned;

/// Longest path of a socket, bytes. See: unix(7), `sun_path`.
const MAX_PATH: usize = 107;

/// Writes the limits, in packets and bits a second, and the capture file of a port.
pub fn write_rest(f: &mut fmt::Formatter<'_>, limits: [Option<u64>; 2], capture: Option<&Path>) -> fmt::Result {
    for (rate, unit) in limits.into_iter().zip(["packets", "bits"]).filter_map(|(rate, unit)| Some((rate?, unit))) {
        writeln!(f, "    at most {rate} {unit} a second")?;
    }
    capture.map_or(Ok(()), |path| writeln!(f, "    captured to {}", path.display()))
}

/// Returns the number of the line in which byte `at` of `text` is, from 1.
pub fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}

/// Returns the addresses that `macs` lists.
pub fn listed(macs: &Addresses) -> &[Mac] {
    match macs {
        Addresses::Any => &[],
        Addresses::These(macs) => macs,
    }
}

/// Returns `macs` as they stand in a policy.
pub fn list(macs: &Addresses) -> Vec<String> {
    match macs {
        Addresses::Any => vec!["any".into()],
        Addresses::These(macs) => macs.iter().map(ToString::to_string).collect(),
    }
}

/// Checks the name of a VM or tap.
pub fn check_name(name: &str) -> Result<(), String> {
    let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let right = (1..=NAME_LEN).contains(&name.len()) && name.bytes().all(named);
    if right { Ok(()) } else { Err(format!("a-z, 0-9, - and _, 1 to {NAME_LEN} bytes")) }
}

/// Checks the limit of a VM or tap.
pub fn check_limit(limit: Limit) -> Result<(), String> {
    let is_none = [limit.packets_per_second, limit.bits_per_second].contains(&Some(0));
    let what = "a rate of 0; 1 is the least, and lan = [] lets nothing through";
    if is_none { Err(what.into()) } else { Ok(()) }
}

/// Who has a key.
pub struct Owner<'f> {
    /// `vm` or `tap`.
    pub kind: &'static str,
    /// The name.
    pub name: &'f str,
}

/// Returns the ids of the VMs, and of the taps for the key `lan`, that `names`, the value of `key` of `owner`, names.
pub fn named(file: &File, owner: &Owner<'_>, key: &str, names: &[Spanned<String>]) -> Result<Vec<usize>, Wrong> {
    let (mut found, is_lan) = (Vec::new(), key == "lan");
    for name in names {
        let (at, name) = (name.span().start, name.get_ref());
        let fail = |what: &str| wrong(at, format!("{} \"{}\": {key} \"{name}\": {what}", owner.kind, owner.name));
        let taps = file.taps.iter().filter(|_| is_lan).map(|tap| tap.name.get_ref());
        match file.vms.iter().map(|vm| vm.name.get_ref()).chain(taps).position(|it| it == name) {
            None => return fail(if is_lan { "no such vm or tap" } else { "no such vm" }),
            Some(_) if name == owner.name && is_lan => {
                return fail("the switch forwards nothing to the port that it comes from");
            }
            Some(_) if name == owner.name => {
                return fail(&format!("a vm can't be its own {}", key.trim_end_matches('s')));
            }
            Some(other) if found.contains(&other) => return fail("named twice"),
            Some(other) => found.push(other),
        }
    }
    Ok(found)
}

/// Checks that `path`, of the key `key` whose value begins at `at`, is short enough for a socket.
pub fn check_path(at: usize, key: &str, path: &Path) -> Result<(), Wrong> {
    let len = path.as_os_str().len();
    let what = || format!("{key} \"{}\": a path of {len} bytes; at most {MAX_PATH} are possible", path.display());
    if len > MAX_PATH { wrong(at, what()) } else { Ok(()) }
}
