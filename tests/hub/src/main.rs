//! One VM that sends to many, and is answered by all of them. Arguments:
//!
//! - `hub SPOKES ROUNDS PAIRS` has PAIRS queue pairs. It sends a frame to each of its first SPOKES peers by one call,
//!   and waits for all answers, ROUNDS times.
//! - `spoke ROUNDS` sends ROUNDS frames back: to its peer if it has one, and else by the host's switch.
#![cfg_attr(target_os = "none", no_std, no_main)]

use sluice_vnf::abi::directory::MAX_PEERS;
use sluice_vnf::{
    BURST_SIZE, Burst, Error as VnfError, Options, PeerIdx, PeerState, Ports, Receive, Scatter, Transmit, Vnf, println,
};

sluice_vnf::main!(run);

/// The EtherType of the frames: local experiments. See: IEEE 802, clause 9.2.3.
const ETHERTYPE: u16 = 0x88b5;
/// The length of a frame, bytes.
const LEN: usize = 60;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("arguments {0:?}: hub SPOKES ROUNDS PAIRS, or spoke ROUNDS")]
    Arguments(&'static str),
    #[error(transparent)]
    Vnf(VnfError),
    #[error("round {round}: frame {number} of spoke {spoke}")]
    Unexpected { round: u32, spoke: usize, number: u32 },
    #[error("a frame that no hub and no spoke sends")]
    Foreign,
}

impl<T: Into<VnfError>> From<T> for Error {
    fn from(error: T) -> Self {
        Self::Vnf(error.into())
    }
}

fn run(vnf: &mut Vnf) -> Result<(), Error> {
    let number = |at| vnf.arg(at).and_then(|word| word.parse::<u16>().ok());
    match (vnf.arg(0), number(1), number(2), number(3)) {
        (Some("hub"), Some(spokes), Some(rounds), Some(pairs)) if usize::from(spokes) <= MAX_PEERS => {
            hub(vnf, spokes.into(), rounds.into(), pairs)
        }
        (Some("spoke"), Some(rounds), None, None) => spoke(vnf, rounds.into()),
        _ => Err(Error::Arguments(vnf.args())),
    }
}

/// The content of a frame: which spoke it is for, or from, and its number.
struct Mark {
    spoke: usize,
    number: u32,
}

impl Mark {
    fn frame(&self, to: [u8; 6], from: [u8; 6]) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..6].copy_from_slice(&to);
        bytes[6..12].copy_from_slice(&from);
        bytes[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
        bytes[14] = self.spoke as u8;
        bytes[15..19].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// Returns the content of frame `index` of `burst`, and its source.
    fn read(burst: &Burst<'_>, index: usize) -> Result<(Self, [u8; 6]), Error> {
        let frame = burst.frame(index)?;
        let (from, kind) = frame.head(6).zip(frame.head(12)).ok_or(Error::Foreign)?;
        let ([spoke], number) = frame.head(14).zip(frame.head(15)).ok_or(Error::Foreign)?;
        let whole = usize::from(frame.len()) == LEN && u16::from_be_bytes(kind) == ETHERTYPE;
        let mark = Self { spoke: spoke.into(), number: u32::from_be_bytes(number) };
        if whole { Ok((mark, from)) } else { Err(Error::Foreign) }
    }
}

fn hub(vnf: &mut Vnf, spokes: usize, rounds: u32, pairs: u16) -> Result<(), Error> {
    let mut ports = vnf.open(Options { pairs, entries: 64, ..Options::default() })?;
    let (mut port, mut out, mut patience) = (Scatter::new(ports.gate()), ports.burst(), vnf.patience());
    while !PeerIdx::all().take(spokes).all(|peer| ports.state(peer) == PeerState::Ready) {
        patience.wait(vnf)?;
    }
    for round in 0..rounds {
        for (spoke, peer) in PeerIdx::all().take(spokes).enumerate() {
            let frame = Mark { spoke, number: round }.frame([0xff; 6], ports.input.mac());
            out.push_bytes(&frame)?.set_peer(peer);
        }
        patience.renew();
        while port.tx_burst(&mut out, usize::MAX)? == 0 || !out.is_empty() {
            patience.wait(vnf)?;
        }
        answers(vnf, &mut ports, spokes, round)?;
    }
    println!("{spokes} spokes answered {rounds} times; {}", port.tx_stats().packets);
    Ok(())
}

/// Waits until each spoke has answered, once.
fn answers(vnf: &Vnf, ports: &mut Ports, spokes: usize, round: u32) -> Result<(), Error> {
    let (mut burst, mut answered, mut patience) = (ports.burst(), [false; MAX_PEERS], vnf.patience());
    let mut missing = spokes;
    while missing > 0 {
        if ports.input.rx_burst(&mut burst, BURST_SIZE)? == 0 {
            patience.wait(vnf)?;
            continue;
        }
        patience.renew();
        for index in 0..burst.len() {
            let (Mark { spoke, number }, _) = Mark::read(&burst, index)?;
            if spoke >= spokes || number != round || core::mem::replace(&mut answered[spoke], true) {
                return Err(Error::Unexpected { round, spoke, number });
            }
            missing -= 1;
        }
        burst.clear();
    }
    Ok(())
}

fn spoke(vnf: &mut Vnf, rounds: u32) -> Result<(), Error> {
    let mut ports = vnf.open(Options::default())?;
    let (mut burst, mut patience) = (ports.burst(), vnf.patience());
    let has_peer = ports.gate().peer(PeerIdx(0)).is_ok();
    for round in 0..rounds {
        while ports.input.rx_burst(&mut burst, 1)? == 0 {
            patience.wait(vnf)?;
        }
        let (mark, hub) = Mark::read(&burst, 0)?;
        if mark.number != round {
            return Err(Error::Unexpected { round, spoke: mark.spoke, number: mark.number });
        }
        burst.clear();
        burst.push_bytes(&mark.frame(hub, ports.input.mac()))?;
        while !burst.is_empty() {
            let sent = match has_peer {
                true => ports.send(PeerIdx(0), &mut burst)?,
                false => ports.input.tx_burst(&mut burst, 1)?,
            };
            if sent == 0 {
                patience.wait(vnf)?;
            }
        }
        patience.renew();
    }
    println!("answered {rounds} times");
    Ok(())
}
