//! The chain file: a TOML file that describes service chains. See: docs/interfaces.md, "The chain file".

mod rule;

use crate::nsh::{Direction, Spi};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
pub use rule::Rule;
pub(crate) use rule::addresses;
use serde::Deserialize;
use sluice_vnf::abi::directory::NAME_LEN;
use toml::Spanned;

/// Largest number of chains of a file, each version counted.
pub const MAX_CHAINS: usize = 64;
/// Largest number of hops of a chain: fewer than the time to live that a classifier gives.
pub const MAX_HOPS: usize = 32;
/// Bytes of the longest file, for which the heap of a VNF has room while it is read: 2 MiB are enough.
pub const LONGEST: usize = 16 << 10;
/// [`ChainFile::stall_ms`] of a file that does not say it.
pub const STALL_MS: u32 = 1000;

/// Service chains, in the order of the file.
#[derive(Clone, Debug)]
pub struct ChainFile {
    /// The chains. No two have the same path and version.
    pub chains: Vec<Chain>,
    /// Milliseconds after which a VM that takes no frame counts as not there; with 0, senders wait for the VM.
    pub stall_ms: u32,
    /// Milliseconds from one print of a VM's counters to the next; with 0 they are printed at its end alone.
    pub report_ms: u32,
}

/// One version of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Name of the chain. All its versions have it, and no other chain.
    pub name: String,
    /// Number of the path, 1 to [`Spi::LAST_PATH`]. All versions have it, and no other chain.
    pub path: u16,
    /// Version of the chain: the classifiers use the highest one of each name.
    pub version: u8,
    /// VMs of the classifiers at both ends: where the forward direction begins, and where it ends.
    pub ends: [String; 2],
    /// The hops, in the forward direction. The return direction has them in the opposite order.
    pub hops: Vec<Hop>,
    /// Frames that the first end sends into the chain.
    pub forward: Vec<Rule>,
    /// Frames that the second end sends into the chain.
    pub back: Vec<Rule>,
    /// Whether packets with the O bit go along the path, past all functions. Else they are dropped.
    pub oam: bool,
}

/// A hop of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// VM of the function.
    pub vm: String,
    /// VM of the proxy, if the function does not know network service headers.
    pub proxy: Option<String>,
    /// Whether frames pass by the hop while it is not there. Else they are dropped.
    pub open: bool,
}

impl Hop {
    /// Returns the VM that the hop's frames are sent to.
    pub fn target(&self) -> &str {
        self.proxy.as_ref().unwrap_or(&self.vm)
    }
}

impl Chain {
    /// Returns the service path identifier of a direction.
    pub const fn spi(&self, direction: Direction) -> Spi {
        Spi::new(self.path, self.version, direction)
    }

    /// Returns the VMs that a frame reaches in a direction, in order, the end where it leaves the chain last; each with
    /// whether frames may pass by. The first is at service index [`crate::nsh::FIRST_INDEX`].
    pub fn stations(&self, direction: Direction) -> Vec<(&str, bool)> {
        let mut hops: Vec<_> = self.hops.iter().map(|hop| (hop.target(), hop.open)).collect();
        if direction == Direction::Return {
            hops.reverse();
        }
        hops.push((&self.ends[usize::from(direction == Direction::Forward)], false));
        hops
    }

    /// Returns whether `other` is this version, and packets find something else on its paths.
    pub fn is_changed_in(&self, other: &Self) -> bool {
        let same = (&self.name, &self.ends, &self.hops, self.oam) == (&other.name, &other.ends, &other.hops, other.oam);
        (self.path, self.version) == (other.path, other.version) && !same
    }

    /// Returns the rules of frames that go into the chain in a direction.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        if direction == Direction::Forward { &self.forward } else { &self.back }
    }
}

/// What is wrong with a chain file, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct FileError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: Wrong,
}

/// What is wrong with a line of a chain file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The text is too long.
    #[error("{0} bytes; {LONGEST} are possible")]
    Length(usize),
    /// The text is not TOML, or has other keys or types.
    #[error("{0}")]
    Syntax(String),
    /// The file has too many chains, or none.
    #[error("{0} chains; 1 to {MAX_CHAINS} are possible")]
    Count(usize),
    /// A chain or a VM has other characters, or is too long.
    #[error("{0}: a-z, 0-9, - and _, 1 to {NAME_LEN} bytes")]
    Name(&'static str),
    /// The number of a path is not possible.
    #[error("path = {0}: 1 to {last} are possible", last = Spi::LAST_PATH)]
    Path(u16),
    /// Another chain has this number, or the chain has another number in another version.
    #[error("path = {0}: chain \"{1}\" has path {2}")]
    OtherPath(u16, String, u16),
    /// There is this version already.
    #[error("version = {0}: chain \"{1}\" has this version twice")]
    Twice(u8, String),
    /// The number of hops is not possible.
    #[error("hops: {0}; 1 to {MAX_HOPS} are possible")]
    Hops(usize),
    /// A chain names a VM twice.
    #[error("{0} = \"{1}\": the chain names this vm before")]
    Again(&'static str, String),
    /// The policy is none.
    #[error("policy = \"{0}\": want open or closed")]
    Policy(String),
    /// The rule is none.
    #[error("{0} = \"{1}\": {2}")]
    Rule(&'static str, String, String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    stall_ms: Option<u32>,
    #[serde(default)]
    report_ms: u32,
    #[serde(default)]
    chain: Vec<Spanned<RawChain>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChain {
    name: Spanned<String>,
    path: Spanned<u16>,
    #[serde(default)]
    version: Option<Spanned<u8>>,
    ends: [Spanned<String>; 2],
    hops: Spanned<Vec<RawHop>>,
    #[serde(default)]
    forward: Vec<Spanned<String>>,
    #[serde(default, rename = "return")]
    back: Vec<Spanned<String>>,
    #[serde(default)]
    oam: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHop {
    vm: Spanned<String>,
    proxy: Option<Spanned<String>>,
    policy: Spanned<String>,
}

/// What is wrong, and where in the text.
type At = (usize, Wrong);

impl ChainFile {
    /// Reads and checks a chain file.
    ///
    /// # Errors
    /// [`FileError`] for the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        Self::read(text).map_err(|(at, what)| {
            let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
            FileError { line: before.iter().filter(|&&byte| byte == b'\n').count() + 1, what }
        })
    }

    fn read(text: &str) -> Result<Self, At> {
        if text.len() > LONGEST {
            return Err((0, Wrong::Length(text.len())));
        }
        let raw: RawFile = toml::from_str(text).map_err(|error| {
            let what = error.message().lines().collect::<Vec<_>>().join(", ");
            (error.span().map_or(0, |span| span.start), Wrong::Syntax(what))
        })?;
        if raw.chain.is_empty() || raw.chain.len() > MAX_CHAINS {
            return Err((0, Wrong::Count(raw.chain.len())));
        }
        let stall_ms = raw.stall_ms.unwrap_or(STALL_MS);
        let mut file = Self { chains: Vec::new(), stall_ms, report_ms: raw.report_ms };
        for raw in raw.chain {
            let chain = file.checked(raw.into_inner())?;
            file.chains.push(chain);
        }
        Ok(file)
    }

    /// Returns the chain that `raw` describes, behind those before it.
    fn checked(&self, raw: RawChain) -> Result<Chain, At> {
        let name = checked_name("name", &raw.name)?;
        let (path, at) = (*raw.path.get_ref(), raw.path.span().start);
        if !(1..=Spi::LAST_PATH).contains(&path) {
            return Err((at, Wrong::Path(path)));
        }
        let differs = |other: &&Chain| (other.name == name) != (other.path == path);
        if let Some(other) = self.chains.iter().find(differs) {
            return Err((at, Wrong::OtherPath(path, other.name.clone(), other.path)));
        }
        let (version, at) = raw.version.map_or((0, at), |version| (*version.get_ref(), version.span().start));
        if self.chains.iter().any(|other| other.path == path && other.version == version) {
            return Err((at, Wrong::Twice(version, name)));
        }
        let count = raw.hops.get_ref().len();
        if !(1..=MAX_HOPS).contains(&count) {
            return Err((raw.hops.span().start, Wrong::Hops(count)));
        }
        let mut seen = Vec::new();
        let ends = [named(&mut seen, "ends", &raw.ends[0])?, named(&mut seen, "ends", &raw.ends[1])?];
        let hops = raw.hops.get_ref().iter().map(|hop| checked_hop(&mut seen, hop)).collect::<Result<_, _>>()?;
        let (forward, back) = (rules("forward", &raw.forward)?, rules("return", &raw.back)?);
        Ok(Chain { name, path, version, ends, hops, forward, back, oam: raw.oam })
    }

    /// Returns the chains that classifiers use: of each name the highest version, in the order of the file.
    pub fn current(&self) -> impl Iterator<Item = &Chain> {
        let is_last =
            |chain: &&Chain| !self.chains.iter().any(|other| other.path == chain.path && other.version > chain.version);
        self.chains.iter().filter(is_last)
    }
}

fn checked_hop(seen: &mut Vec<String>, raw: &RawHop) -> Result<Hop, At> {
    let vm = named(seen, "vm", &raw.vm)?;
    let proxy = raw.proxy.as_ref().map(|proxy| named(seen, "proxy", proxy)).transpose()?;
    let open = match raw.policy.get_ref().as_str() {
        "open" => true,
        "closed" => false,
        other => return Err((raw.policy.span().start, Wrong::Policy(other.to_string()))),
    };
    Ok(Hop { vm, proxy, open })
}

fn rules(key: &'static str, raw: &[Spanned<String>]) -> Result<Vec<Rule>, At> {
    let rule = |raw: &Spanned<String>| {
        let text = raw.get_ref();
        Rule::parse(text).map_err(|what| (raw.span().start, Wrong::Rule(key, text.clone(), what)))
    };
    raw.iter().map(rule).collect()
}

/// Returns a VM's name that is not in `seen`, and adds it there.
fn named(seen: &mut Vec<String>, key: &'static str, raw: &Spanned<String>) -> Result<String, At> {
    let name = checked_name(key, raw)?;
    if seen.contains(&name) {
        return Err((raw.span().start, Wrong::Again(key, name)));
    }
    seen.push(name.clone());
    Ok(name)
}

fn checked_name(key: &'static str, raw: &Spanned<String>) -> Result<String, At> {
    let name = raw.get_ref();
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let fits = (1..=NAME_LEN).contains(&name.len()) && name.bytes().all(good);
    if fits { Ok(name.clone()) } else { Err((raw.span().start, Wrong::Name(key))) }
}

#[cfg(test)]
mod tests;
