//! The VNF's arguments.

use crate::frame::FRAME_LENGTHS;
use crate::imix::{self, IMIX};
use core::ops::RangeInclusive;
use sluice_vnf::RingFormat;
use sluice_vnf::abi::call::MAX_BURST;

/// Packets that one call can have.
const BURST_SIZES: RangeInclusive<u16> = 1..=MAX_BURST as u16;
/// Most values in one list.
const LIST_LEN: usize = 16;

/// The role of this VM and its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options<'a> {
    /// Measure every burst size with every frame length.
    Send(Sweep<'a>),
    /// Send this number of frames and count the exits from the first to the last.
    Proof(Proof<'a>),
    /// Check what arrives.
    Receive(Arrivals),
}

/// Options of `send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep<'a> {
    /// Name of the receiver; the only one if there is none.
    pub to: Option<&'a str>,
    /// Packets to measure in each row.
    pub packets: u64,
    /// Burst sizes.
    pub bursts: List,
    /// Frame lengths, or the mix of them.
    pub frames: List,
}

/// Options of `proof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof<'a> {
    /// Name of the receiver; the only one if there is none.
    pub to: Option<&'a str>,
    /// Packets to send.
    pub packets: u64,
    /// Packets in one call.
    pub burst: u16,
    /// Bytes of each.
    pub frame: u16,
}

/// Options of `receive`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Format of the receive queue.
    pub ring: RingFormat,
    /// Whether to measure what `rx_burst` costs.
    pub measure: bool,
}

/// Up to [`LIST_LEN`] numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    values: [u16; LIST_LEN],
    len: usize,
}

impl List {
    /// The numbers, in their order.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.values.iter().copied().take(self.len)
    }

    const fn of<const N: usize>(numbers: [u16; N]) -> Self {
        let mut values = [0; LIST_LEN];
        let mut at = 0;
        while at < N {
            values[at] = numbers[at];
            at += 1;
        }
        Self { values, len: N }
    }
}

/// An argument that means nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("argument {argument:?}: {wanted}")]
pub struct BadArgument<'a> {
    argument: &'a str,
    wanted: &'static str,
}

const BURSTS: &str = "bursts are 1 to 16 numbers from 1 to 256, with commas";
const FRAMES: &str = "frames are 1 to 16 numbers from 60 to 1518, or imix, with commas";
const PACKETS: &str = "packets is a number from 1 up";
const KNOWN: &str = "known are to=NAME packets=N bursts=N,N,.. frames=N,N,..";
const KNOWN_TO_PROOF: &str = "known are to=NAME burst=N frame=N";
const RINGS: &str = "known are measure, and ring=split, ring=in-order or ring=packed";
const ROLE: &str = "the first word is send, proof or receive";

impl<'a> Options<'a> {
    /// Reads the arguments.
    pub fn parse(args: &'a str) -> Result<Self, BadArgument<'a>> {
        let mut words = args.split_ascii_whitespace();
        match words.next().unwrap_or("") {
            "send" => Sweep::parse(words).map(Self::Send),
            "proof" => Proof::parse(words).map(Self::Proof),
            "receive" => Arrivals::parse(words).map(Self::Receive),
            argument => Err(BadArgument { argument, wanted: ROLE }),
        }
    }
}

impl<'a> Sweep<'a> {
    fn parse(words: impl Iterator<Item = &'a str>) -> Result<Self, BadArgument<'a>> {
        let mut sweep = Self {
            to: None,
            packets: 1024,
            bursts: List::of([1, 2, 4, 8, 16, 32, 64, 128, 256]),
            frames: List::of([64, 128, 256, 512, 1024, 1518]),
        };
        for argument in words {
            let bad = |wanted| BadArgument { argument, wanted };
            match argument.split_once('=') {
                Some(("to", name)) => sweep.to = Some(name),
                Some(("packets", text)) => sweep.packets = positive(text).ok_or(bad(PACKETS))?,
                Some(("bursts", text)) => {
                    sweep.bursts = list(text, |text| number(text, &BURST_SIZES)).ok_or(bad(BURSTS))?
                }
                Some(("frames", text)) => sweep.frames = list(text, frame_length).ok_or(bad(FRAMES))?,
                _ => return Err(bad(KNOWN)),
            }
        }
        Ok(sweep)
    }
}

impl<'a> Proof<'a> {
    fn parse(mut words: impl Iterator<Item = &'a str>) -> Result<Self, BadArgument<'a>> {
        let argument = words.next().unwrap_or("");
        let packets = positive(argument).ok_or(BadArgument { argument, wanted: PACKETS })?;
        let mut proof = Self { to: None, packets, burst: 32, frame: 64 };
        for argument in words {
            let bad = |wanted| BadArgument { argument, wanted };
            match argument.split_once('=') {
                Some(("to", name)) => proof.to = Some(name),
                Some(("burst", text)) => proof.burst = number(text, &BURST_SIZES).ok_or(bad(BURSTS))?,
                Some(("frame", text)) => proof.frame = number(text, &FRAME_LENGTHS).ok_or(bad(FRAMES))?,
                _ => return Err(bad(KNOWN_TO_PROOF)),
            }
        }
        Ok(proof)
    }
}

impl Arrivals {
    fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, BadArgument<'a>> {
        let mut arrivals = Self::default();
        for argument in words {
            match argument.strip_prefix("ring=").map(RingFormat::from_name) {
                Some(Some(ring)) => arrivals.ring = ring,
                None if argument == "measure" => arrivals.measure = true,
                _ => return Err(BadArgument { argument, wanted: RINGS }),
            }
        }
        Ok(arrivals)
    }
}

fn positive(text: &str) -> Option<u64> {
    text.parse().ok().filter(|&number| number > 0)
}

fn number(text: &str, range: &RangeInclusive<u16>) -> Option<u16> {
    text.parse().ok().filter(|number| range.contains(number))
}

/// A length, or the mix of them.
fn frame_length(text: &str) -> Option<u16> {
    if text == imix::NAME { Some(IMIX) } else { number(text, &FRAME_LENGTHS) }
}

fn list(text: &str, read: impl Fn(&str) -> Option<u16>) -> Option<List> {
    let mut list = List { values: [0; LIST_LEN], len: 0 };
    for item in text.split(',') {
        *list.values.get_mut(list.len)? = read(item)?;
        list.len += 1;
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_defaults_are_the_whole_table() {
        let Ok(Options::Send(sweep)) = Options::parse("send") else { panic!() };
        assert_eq!(sweep.bursts.iter().collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 64, 128, 256]);
        assert_eq!(sweep.frames.iter().collect::<Vec<_>>(), [64, 128, 256, 512, 1024, 1518]);
    }

    #[test]
    fn each_option_is_read() {
        let Ok(Options::Send(sweep)) = Options::parse("send to=b packets=7 bursts=32 frames=64,1518") else { panic!() };
        assert_eq!((sweep.to, sweep.packets), (Some("b"), 7));
        assert_eq!((sweep.bursts, sweep.frames), (List::of([32]), List::of([64, 1518])));
        let Ok(Options::Send(sweep)) = Options::parse("send frames=64,imix") else { panic!() };
        assert_eq!(sweep.frames, List::of([64, IMIX]));
        let proof = Proof { to: None, packets: 1_000_000, burst: 32, frame: 64 };
        assert_eq!(Options::parse("proof 1000000"), Ok(Options::Proof(proof)));
        let proof = Proof { to: Some("b"), packets: 9, burst: 256, frame: 1518 };
        assert_eq!(Options::parse("proof 9 to=b burst=256 frame=1518"), Ok(Options::Proof(proof)));
        assert_eq!(Options::parse(" receive "), Ok(Options::Receive(Arrivals::default())));
        let packed = |measure| Ok(Options::Receive(Arrivals { ring: RingFormat::Packed, measure }));
        assert_eq!(Options::parse("receive ring=packed"), packed(false));
        assert_eq!(Options::parse("receive measure ring=packed"), packed(true));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for bad in [
            "",
            "sned",
            "send bursts=0",
            "send bursts=257",
            "send frames=59",
            "send frames=0",
            "send packets=0",
            "send x=1",
            "receive ring=round",
            "receive x=1",
            "proof x",
            "proof 1 bursts=1",
            "proof 1 frame=1519",
            "send bursts=",
        ] {
            let message = Options::parse(bad).unwrap_err().to_string();
            assert!(message.contains(bad.rsplit(' ').next().unwrap()), "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_argument_panics(args in "(send|proof|receive)? ?(bursts|frames|packets|to)?=?[0-9,]{0,40}") {
            let _ = Options::parse(&args);
        }
    }
}
