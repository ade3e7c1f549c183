//! Pushes an IEEE 802.1Q tag onto each frame, or pops the outer tag of each frame that has one.
//!
//! Arguments: `PEER push VID [PRIORITY]` or `PEER pop`, with a VLAN identifier of 1 to 4094 and a priority of 0 to 7
//! (default: 0). Push adds a tag in front of those that a frame has; pop takes an 802.1Q or 802.1ad tag and leaves a
//! frame without a tag as it is. A frame shorter than its headers is dropped and counted, and so is one that has no
//! room for the tag or is longer with the tag than the peer takes.
#![cfg_attr(target_os = "none", no_std, no_main)]

use sluice_vnf::{Error, FrameError, FrameMut, Options, Vnf, println};

sluice_vnf::main!(run);

/// EtherTypes of a customer's and of a service tag. See: IEEE 802.1Q, table 9-1 "IEEE 802.1Q Ethertype allocations".
const TAGS: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];
/// Lengths of the two addresses before a tag, of a tag, and of an Ethernet header, in bytes.
const ADDRESSES: usize = 12;
const TAG: u16 = 4;
const HEADER: usize = 14;

/// The work on each frame.
#[derive(Clone, Copy)]
enum Work {
    /// Adds this tag.
    Push([u8; TAG as usize]),
    Pop,
}

#[derive(Debug, Default)]
struct Counters {
    changed: u64,
    untagged: u64,
    too_short: u64,
    no_room: u64,
}

fn run(vnf: &mut Vnf) -> Result<(), Error> {
    let work = parse([vnf.arg(1), vnf.arg(2), vnf.arg(3), vnf.arg(4)])
        .ok_or(Error::Arguments("PEER push VID [PRIORITY], or PEER pop"))?;
    let mut ports = vnf.open(Options::default())?;
    let peer = ports.wait_for(vnf.arg(0))?;
    let mut counters = Counters::default();
    ports.relay(peer, |burst| burst.retain(|frame| counters.count(change(frame, work))))?;
    let sent = ports.stats_of(peer);
    println!("sent {} frames, {} too long for the peer: {counters:?}", sent.packets, sent.too_long);
    Ok(())
}

fn parse(words: [Option<&str>; 4]) -> Option<Work> {
    match words {
        [Some("pop"), None, ..] => Some(Work::Pop),
        [Some("push"), Some(vid), priority, None] => {
            let vid = vid.parse::<u16>().ok().filter(|vid| (1..=4094).contains(vid))?;
            let priority = priority.unwrap_or("0").parse::<u16>().ok().filter(|priority| *priority < 8)?;
            let [high, low] = (priority << 13 | vid).to_be_bytes();
            Some(Work::Push([TAGS[0][0], TAGS[0][1], high, low]))
        }
        _ => None,
    }
}

/// Does `work` on `frame`, and returns whether the frame changed. The error is `Empty` if the frame ends in its
/// headers.
fn change(frame: &mut FrameMut<'_>, work: Work) -> Result<bool, FrameError> {
    let header = frame.head::<HEADER>(0).ok_or(FrameError::Empty)?;
    let tagged = TAGS.contains(&[header[12], header[13]]);
    match work {
        Work::Pop if !tagged => return Ok(false),
        // The EtherType behind the tag must be there, too.
        Work::Pop if frame.len() < HEADER as u16 + TAG => return Err(FrameError::Empty),
        Work::Pop => frame.trim_front(TAG)?,
        Work::Push(tag) => {
            frame.prepend(TAG)?;
            frame.set(ADDRESSES, &tag)?;
        }
    }
    frame.set(0, &header[..ADDRESSES]).map(|()| true)
}

impl Counters {
    /// Counts the frame by its `result`, and returns whether it is sent.
    fn count(&mut self, result: Result<bool, FrameError>) -> bool {
        let (counter, sent) = match result {
            Ok(true) => (&mut self.changed, true),
            Ok(false) => (&mut self.untagged, true),
            Err(FrameError::Empty) => (&mut self.too_short, false),
            Err(_) => (&mut self.no_room, false),
        };
        *counter += 1;
        sent
    }
}
