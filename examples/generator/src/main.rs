//! A generator of numbered frames, which are sent to a peer at a rate or as fast as possible.
//!
//! Arguments: `PEER [length=BYTES[,BYTES]...] [rate=MBIT] [count=FRAMES]`. Up to 16 lengths are taken in turn
//! (default: 64), so that `length=64,64,594,1514` is a mix. A length counts from the destination address on, without a
//! frame check sequence. The rate is in Mbit/s of such bytes. Without a count the program sends until the host takes
//! the peer away. A frame holds its number, from 0, in eight bytes behind the Ethernet header, most significant byte
//! first; the bytes behind are zeros.
#![cfg_attr(target_os = "none", no_std, no_main)]

use sluice_vnf::clock::{self, Counter};
use sluice_vnf::wrap::{Rate, RateLimiter};
use sluice_vnf::{BURST_SIZE, Error, Options, PeerPort, PeerState, Transmit, Vnf, deliver, println};

sluice_vnf::main!(run);

/// The EtherType for local experiments. See: IEEE 802, clause 9.2.3.
const ETHER_TYPE: [u8; 2] = [0x88, 0xb5];
/// Length of the Ethernet header and the number in bytes.
const SHORTEST: u16 = 22;
/// Largest number of lengths.
const LENGTHS: usize = 16;
const USAGE: &str = "PEER [length=BYTES[,BYTES]...] [rate=MBIT] [count=FRAMES], with up to 16 lengths from 22 to 65535";
const NO_CLOCK: &str = "no rate: the frequency of this machine's clock is not known";

/// The arguments: lengths and their number, bits in a second, and number of frames.
struct Load([u16; LENGTHS], usize, Option<u64>, u64);

fn run(vnf: &mut Vnf) -> Result<(), Error> {
    let Load(lengths, turn, rate, count) = load(vnf.args()).ok_or(Error::Arguments(USAGE))?;
    let (bytes, ticks) = match (rate, clock::counter()) {
        (None, _) => (u64::MAX, 1),
        (Some(bits), Counter::Cycles(Some(hertz))) => (bits / 8, hertz),
        _ => return Err(Error::Arguments(NO_CLOCK)),
    };
    let ports = vnf.open(Options::default())?;
    let peer = ports.wait_for(vnf.arg(0))?;
    let mut head = [0; SHORTEST as usize];
    head[..6].copy_from_slice(&ports.gate().peer(peer).map_or([0xff; 6], |peer| peer.mac));
    head[6..12].copy_from_slice(&ports.input.mac());
    head[12..14].copy_from_slice(&ETHER_TYPE);
    // After a pause a millisecond's bytes may go at once.
    let rate = Rate { bytes, ticks, depth: (bytes / 1000).max(2048) };
    let mut output = RateLimiter::new(PeerPort::new(ports.gate(), peer), rate, clock::now);
    let (mut burst, mut numbers, mut lengths) = (ports.burst(), 0..count, lengths[..turn].iter().cycle());
    let start = clock::now();
    while ports.state(peer) != PeerState::Revoked && !(numbers.is_empty() && burst.is_empty()) {
        while burst.len() < BURST_SIZE
            && let Some(number) = numbers.next()
        {
            head[14..].copy_from_slice(&number.to_be_bytes());
            burst.push(lengths.next().copied().unwrap_or(SHORTEST))?.set(0, &head)?;
        }
        match ports.state(peer) {
            PeerState::Quarantined => return Err(Error::PeerQuarantined),
            PeerState::Ready if deliver(&mut output, &mut burst)? > 0 => {}
            _ => vnf.yield_now(),
        }
    }
    let (stats, ticks) = (output.tx_stats(), clock::now() - start);
    print(stats.packets, stats.bytes, ticks);
    if stats.too_long > 0 {
        println!("{} frames were longer than the peer takes", stats.too_long);
    }
    Ok(())
}

fn load(words: &'static str) -> Option<Load> {
    let mut load = Load([64; LENGTHS], 1, None, u64::MAX);
    for word in words.split_whitespace().skip(1) {
        match word.split_once('=')? {
            ("length", lengths) => {
                load.1 = 0;
                for word in lengths.split(',') {
                    *load.0.get_mut(load.1)? = length(word)?;
                    load.1 += 1;
                }
            }
            ("rate", megabits) => load.2 = Some(megabits.parse::<u64>().ok()?.checked_mul(1_000_000)?),
            ("count", count) => load.3 = count.parse().ok()?,
            _ => return None,
        }
    }
    Some(load)
}

fn length(word: &str) -> Option<u16> {
    word.parse().ok().filter(|length| *length >= SHORTEST)
}

fn print(frames: u64, bytes: u64, ticks: u64) {
    let each = ticks / frames.max(1);
    let counter = clock::counter();
    println!("sent {frames} frames, {bytes} bytes, {each} {} a frame", counter.unit());
    if let Counter::Cycles(Some(hertz)) = counter {
        let second = |count: u64| u128::from(count) * u128::from(hertz) / u128::from(ticks.max(1));
        println!("{} frames/s, {} Mbit/s", second(frames), second(bytes) * 8 / 1_000_000);
    }
}
