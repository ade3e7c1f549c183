//! The VNF's arguments.

use core::fmt;
use core::ops::RangeInclusive;
use core::str::FromStr;
use sluice_vnf::MAX_BURST;

/// Packets that one call can have.
const BURST_SIZES: RangeInclusive<u16> = 1..=MAX_BURST as u16;
/// Bytes of a frame that is not the last.
const FRAMES: RangeInclusive<u16> = 64..=1518;
/// Most values in one list.
const LIST_LEN: usize = 8;

/// The role of this VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options {
    /// Take what comes.
    Receive,
    /// Measure single calls.
    Calls(Calls),
    /// Measure a timer.
    Expiries(Expiries),
    /// Send frames with the time in them.
    Pings(Pings),
    /// Measure how long these waited.
    Wakeups(Wakeups),
}

/// Options of `pings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pings {
    /// How many.
    pub count: u64,
    /// Ticks from one to the next, at least.
    pub gap: u64,
    /// Ticks more, fewer than these, by chance.
    pub jitter: u64,
    /// The way of the frames.
    pub via: Via,
}

/// Options of `wakeups`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wakeups {
    /// The receiver's way to wait.
    pub rest: Rest,
    /// Which way frames come, and answers go: by a window there are none.
    pub via: Via,
    /// Milliseconds that each sleep may last; as every VNF sleeps, if nobody says.
    pub longest: Option<u64>,
    /// Ticks, fewer than these and by chance, for which it has something else to do after each frame.
    pub jitter: u64,
}

/// A way for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The sender's window.
    Window,
    /// The host's switch.
    Switch,
}

impl Via {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Switch => "switch",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Window, Self::Switch].into_iter().find(|via| via.name() == name)
    }
}

/// The receiver's way to wait for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The receiver polls.
    Poll,
    /// The receiver pauses, and then sleeps.
    Sleep,
}

impl Rest {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Sleep => "sleep",
        }
    }
}

/// Options of `calls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Calls of each kind.
    pub count: u64,
    /// Packets in a call.
    pub bursts: List,
    /// Bytes of each.
    pub frames: List,
}

/// Options of `expiries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiries {
    /// How many.
    pub count: u64,
    /// From one to the next, in the machine's unit.
    pub period: u64,
    /// The load meanwhile.
    pub load: Load,
}

/// The load of a VM while its timer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// The VM sleeps.
    Idle,
    /// The VM runs an empty loop.
    Busy,
    /// The VM sends bursts of this number of frames, each of this number of bytes.
    Sends(u16, u16),
    /// It sends one frame at a time, and the timer expires an instruction later from one to the next: at each
    /// instruction of a call in turn.
    Each,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => write!(f, "idle"),
            Self::Busy => write!(f, "busy"),
            Self::Each => write!(f, "each"),
            Self::Sends(burst, frame) => write!(f, "{burst}x{frame}"),
        }
    }
}

/// Some numbers; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List([u16; LIST_LEN]);

impl List {
    /// The numbers, in their order.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().copied().take_while(|number| *number > 0)
    }
}

/// An argument that means nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("argument {argument:?}: {wanted}")]
pub struct BadArgument<'a> {
    argument: &'a str,
    wanted: &'static str,
}

const ROLE: &str = "the first word is calls, expiries, pings, receive or wakeups";
const TO_PINGS: &str = "known are count=N gap=TICKS jitter=TICKS via=window via=switch";
const TO_WAKEUPS: &str = "known are rest=poll rest=sleep via=window via=switch longest=MILLISECONDS jitter=TICKS";
const TO_CALLS: &str = "known are count=N bursts=N,N,.. (1 to 256) frames=N,N,.. (64 to 1518)";
const TO_EXPIRIES: &str = "known are count=N period=N load=idle, load=busy, load=each, load=BURSTxFRAME";

impl Options {
    /// Reads the arguments.
    pub fn parse(args: &str) -> Result<Self, BadArgument<'_>> {
        let mut words = args.split_ascii_whitespace();
        match words.next().unwrap_or("") {
            "receive" => Ok(Self::Receive),
            "calls" => calls(words).map(Self::Calls),
            "expiries" => expiries(words).map(Self::Expiries),
            "pings" => pings(words).map(Self::Pings),
            "wakeups" => wakeups(words).map(Self::Wakeups),
            argument => Err(BadArgument { argument, wanted: ROLE }),
        }
    }
}

fn calls<'a>(words: impl Iterator<Item = &'a str>) -> Result<Calls, BadArgument<'a>> {
    let (bursts, frames) = (List([1, 8, 32, 64, 256, 0, 0, 0]), List([64, 1518, 0, 0, 0, 0, 0, 0]));
    let mut calls = Calls { count: 1000, bursts, frames };
    for argument in words {
        let set = argument.split_once('=').and_then(|(name, value)| {
            match name {
                "count" => calls.count = number(value, 1..=u64::MAX)?,
                "bursts" => calls.bursts = list(value, BURST_SIZES)?,
                "frames" => calls.frames = list(value, FRAMES)?,
                _ => return None,
            }
            Some(())
        });
        set.ok_or(BadArgument { argument, wanted: TO_CALLS })?;
    }
    Ok(calls)
}

fn expiries<'a>(words: impl Iterator<Item = &'a str>) -> Result<Expiries, BadArgument<'a>> {
    let mut expiries = Expiries { count: 1000, period: 100_003, load: Load::Idle };
    for argument in words {
        let set = argument.split_once('=').and_then(|(name, value)| {
            match name {
                "count" => expiries.count = number(value, 1..=u64::MAX)?,
                "period" => expiries.period = number(value, 10_000..=1 << 40)?,
                "load" => expiries.load = load(value)?,
                _ => return None,
            }
            Some(())
        });
        set.ok_or(BadArgument { argument, wanted: TO_EXPIRIES })?;
    }
    Ok(expiries)
}

fn pings<'a>(words: impl Iterator<Item = &'a str>) -> Result<Pings, BadArgument<'a>> {
    let mut pings = Pings { count: 500, gap: 20_000_000, jitter: 0, via: Via::Window };
    for argument in words {
        let set = argument.split_once('=').and_then(|(name, value)| {
            match name {
                "count" => pings.count = number(value, 1..=u64::MAX)?,
                "gap" => pings.gap = number(value, 1..=1 << 40)?,
                "jitter" => pings.jitter = number(value, 1..=1 << 40)?,
                "via" => pings.via = Via::from_name(value)?,
                _ => return None,
            }
            Some(())
        });
        set.ok_or(BadArgument { argument, wanted: TO_PINGS })?;
    }
    Ok(pings)
}

fn wakeups<'a>(words: impl Iterator<Item = &'a str>) -> Result<Wakeups, BadArgument<'a>> {
    let mut wakeups = Wakeups { rest: Rest::Sleep, via: Via::Window, longest: None, jitter: 0 };
    for argument in words {
        let set = argument.split_once('=').and_then(|(name, value)| {
            match name {
                "rest" => wakeups.rest = [Rest::Poll, Rest::Sleep].into_iter().find(|rest| rest.name() == value)?,
                "via" => wakeups.via = Via::from_name(value)?,
                "longest" => wakeups.longest = Some(number(value, 1..=1 << 20)?),
                "jitter" => wakeups.jitter = number(value, 1..=1 << 40)?,
                _ => return None,
            }
            Some(())
        });
        set.ok_or(BadArgument { argument, wanted: TO_WAKEUPS })?;
    }
    Ok(wakeups)
}

fn load(text: &str) -> Option<Load> {
    match text {
        "idle" => Some(Load::Idle),
        "busy" => Some(Load::Busy),
        "each" => Some(Load::Each),
        _ => {
            let (burst, frame) = text.split_once('x')?;
            Some(Load::Sends(number(burst, BURST_SIZES)?, number(frame, FRAMES)?))
        }
    }
}

fn number<T: FromStr + PartialOrd>(text: &str, range: RangeInclusive<T>) -> Option<T> {
    text.parse().ok().filter(|number| range.contains(number))
}

fn list(text: &str, range: RangeInclusive<u16>) -> Option<List> {
    let mut list = List([0; LIST_LEN]);
    for (place, item) in text.split(',').enumerate() {
        *list.0.get_mut(place)? = number(item, range.clone())?;
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_read() {
        let Ok(Options::Calls(calls)) = Options::parse("calls count=7 bursts=32,256 frames=64") else { panic!() };
        assert_eq!((calls.count, calls.bursts.iter().collect::<Vec<_>>()), (7, vec![32, 256]));
        assert_eq!(calls.frames.iter().collect::<Vec<_>>(), [64]);
        for (text, load) in
            [("idle", Load::Idle), ("busy", Load::Busy), ("each", Load::Each), ("32x64", Load::Sends(32, 64))]
        {
            let expected = Options::Expiries(Expiries { count: 5, period: 20_000, load });
            assert_eq!(Options::parse(&format!("expiries count=5 period=20000 load={text}")), Ok(expected));
            assert_eq!(load.to_string(), text);
        }
        assert_eq!(Options::parse("receive"), Ok(Options::Receive));
        let pings = |via| Ok(Options::Pings(Pings { count: 3, gap: 9, jitter: 4, via }));
        assert_eq!(Options::parse("pings count=3 gap=9 jitter=4"), pings(Via::Window));
        assert_eq!(Options::parse("pings count=3 gap=9 jitter=4 via=switch"), pings(Via::Switch));
        for (rest, via) in [(Rest::Poll, Via::Switch), (Rest::Sleep, Via::Window)] {
            let text = format!("wakeups rest={} via={} longest=60000 jitter=8", rest.name(), via.name());
            let wanted = Wakeups { rest, via, longest: Some(60_000), jitter: 8 };
            assert_eq!(Options::parse(&text), Ok(Options::Wakeups(wanted)));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for bad in [
            "",
            "call",
            "calls count=0",
            "calls bursts=0",
            "calls bursts=257",
            "calls frames=60",
            "calls bursts=1,1,1,1,1,1,1,1,1",
            "expiries load=full",
            "expiries load=32",
            "expiries load=0x64",
            "expiries period=5",
            "pings gap=0",
            "pings via=road",
            "wakeups rest=full",
            "wakeups via=road",
            "wakeups longest=0",
        ] {
            let message = Options::parse(bad).unwrap_err().to_string();
            assert!(message.contains(bad.rsplit(' ').next().unwrap()), "{message}");
        }
    }
}
