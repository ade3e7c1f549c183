//! The channels of a policy: shared memory that the server hands out, to one writer and to readers.

use super::file::File;
use super::parts::check_path;
use super::{Wrong, wrong};
use serde::{Deserialize, Serialize};
use sluice_abi::channel::{MAX_CAPACITY, MIN_CAPACITY};
use sluice_channels::{Name, NameError, Role};
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Largest number of channels.
const MAX_CHANNELS: usize = 64;
/// The mode of a socket for its owner alone.
pub const OWN: u32 = 0o600;

/// The table of one channel, before it is checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: Spanned<String>,
    kind: Kind,
    ring_kib: Spanned<u64>,
    huge: Option<Spanned<bool>>,
    file: Option<Spanned<PathBuf>>,
    reader: Option<Spanned<Door>>,
    writer: Option<Spanned<Door>>,
}

/// What is said of a socket.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Door {
    socket: Option<PathBuf>,
    mode: Option<u32>,
}

/// What a channel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A stream of bytes.
    Bytes,
    /// Packets.
    Packets,
}

impl Kind {
    /// Returns the name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Packets => "packets",
        }
    }
}

impl From<Kind> for sluice_abi::channel::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Bytes => Self::BYTES,
            Kind::Packets => Self::PACKETS,
        }
    }
}

impl Entry {
    /// Returns where in the text the value of `key` begins, or the channel's name if the key is not there.
    pub fn at(&self, key: &str) -> usize {
        let start = match key {
            "ring_kib" => Some(self.ring_kib.span()),
            "huge" => self.huge.as_ref().map(Spanned::span),
            "file" => self.file.as_ref().map(Spanned::span),
            "reader" => self.reader.as_ref().map(Spanned::span),
            "writer" => self.writer.as_ref().map(Spanned::span),
            _ => None,
        };
        start.unwrap_or_else(|| self.name.span()).start
    }
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub memory: Memory,
    /// The sockets of readers, and of the writer.
    pub sockets: [Access; 2],
}

/// The memory of a channel. One that is equal stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    pub name: Name,
    pub kind: Kind,
    /// Length of the ring in bytes.
    pub capacity: u64,
    /// Whether pages of 2 MiB are wanted.
    pub huge: bool,
    /// The file in which it lies, for virtual machines.
    pub file: Option<PathBuf>,
}

impl Memory {
    /// Returns whether this lies in the file of `other`, and has another ring than that is to have.
    pub fn is_file_of_another(&self, other: &Self) -> bool {
        self.file.is_some() && self.file == other.file && (self.kind, self.capacity) != (other.kind, other.capacity)
    }
}

/// A socket, and who may connect to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub path: PathBuf,
    pub mode: u32,
}

impl Channel {
    /// Returns the key, the mode's owner, and path of each socket and file.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let [reader, writer] = &self.sockets;
        [("reader", &reader.path), ("writer", &writer.path)]
            .into_iter()
            .chain(self.memory.file.as_ref().map(|path| ("file", path)))
    }
}

/// Returns the channels of `file`, each checked on its own and against the others.
pub fn read(file: &File, folder: &Path) -> Result<Vec<Channel>, Wrong> {
    if let Some(entry) = file.channels.get(MAX_CHANNELS) {
        let what = format!("[[channel]]: {} channels; at most {MAX_CHANNELS} are possible", file.channels.len());
        return wrong(entry.at("name"), what);
    }
    (0..file.channels.len()).map(|index| channel(file, index, folder)).collect()
}

/// Returns channel `index` of `file`.
fn channel(file: &File, index: usize, folder: &Path) -> Result<Channel, Wrong> {
    let entry = &file.channels[index];
    let text = entry.name.get_ref();
    let fail =
        |key: &str, what: String| Wrong { at: entry.at(key), what: format!("channel \"{text}\": {key}: {what}") };
    let name: Name = text.parse().map_err(|error: NameError| fail("name", error.to_string()))?;
    if file.channels[..index].iter().any(|other| other.name.get_ref() == text) {
        return Err(fail("name", "used twice".into()));
    }
    let kib = *entry.ring_kib.get_ref();
    let possible = MIN_CAPACITY >> 10..=MAX_CAPACITY >> 10;
    if !possible.contains(&kib) || !kib.is_power_of_two() {
        let (least, most) = possible.into_inner();
        return Err(fail("ring_kib", format!("{kib}; a power of two from {least} to {most} is needed")));
    }
    let (huge, path) = (entry.huge.as_ref().map(|huge| *huge.get_ref()), entry.file.as_ref());
    if huge.is_some() && path.is_some() {
        return Err(fail("huge", "a file has the pages of its file system: hugetlbfs has huge ones".into()));
    }
    let access = |role: Role, door: Option<&Spanned<Door>>| {
        let (key, door) = (role.name(), door.map(|door| door.get_ref().clone()).unwrap_or_default());
        let mode = door.mode.unwrap_or(OWN);
        if mode & !0o177 != OWN {
            return Err(fail(key, format!("mode {mode:#o}; 0o600 to 0o777 are possible, with 6 or 7 for the owner")));
        }
        let path = folder.join(door.socket.unwrap_or_else(|| format!("{text}.{key}").into()));
        check_path(entry.at(key), key, &path)?;
        Ok(Access { path, mode })
    };
    let sockets = [access(Role::Reader, entry.reader.as_ref())?, access(Role::Writer, entry.writer.as_ref())?];
    let file = path.map(|path| folder.join(path.get_ref()));
    let memory = Memory { name, kind: entry.kind, capacity: kib << 10, huge: huge.unwrap_or(false), file };
    Ok(Channel { memory, sockets })
}

/// What a channel means.
#[derive(Debug, Serialize)]
pub struct Means {
    name: String,
    kind: &'static str,
    ring_bytes: u64,
    huge: bool,
    file: Option<PathBuf>,
    reader: MeansAccess,
    writer: MeansAccess,
}

#[derive(Debug, Serialize)]
struct MeansAccess {
    socket: PathBuf,
    mode: String,
}

impl Means {
    /// Returns what `channel` means.
    pub fn of(channel: &Channel) -> Self {
        let Channel { memory: Memory { name, kind, capacity, huge, file }, sockets } = channel;
        let access = |Access { path, mode }: &Access| MeansAccess { socket: path.clone(), mode: format!("{mode:04o}") };
        let [reader, writer] = sockets.each_ref().map(access);
        Self {
            name: name.to_string(),
            kind: kind.name(),
            ring_bytes: *capacity,
            huge: *huge,
            file: file.clone(),
            reader,
            writer,
        }
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, ring_bytes, huge, file, reader, writer } = self;
        let pages = if *huge { ", in huge pages if there are some" } else { "" };
        writeln!(f, "channel {name}: {kind}, a ring of {} KiB{pages}", ring_bytes >> 10)?;
        for (role, MeansAccess { socket, mode }) in [("readers", reader), ("the writer", writer)] {
            writeln!(f, "    {role} at {}, mode {mode}", socket.display())?;
        }
        let Some(file) = file else { return Ok(()) };
        writeln!(f, "    in {}: whoever may write the file can cut it, which ends readers", file.display())
    }
}
