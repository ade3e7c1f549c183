//! Measures what a hop of a service chain costs in a VM, in the loop of [`Node::relay`]: one machine sends frames with
//! network service headers, hops pass them on, and the last machine checks them.
//!
//! Arguments: `ME FILE`, the name of a hop in a chain file and the file; or `send TO TURNS`, to fill the ring of the
//! first hop as often; or `receive TURNS HOPS`, for as many frames, which came through that many hops.
#![cfg_attr(target_os = "none", no_std, no_main)]
extern crate alloc;

mod stretches;

use alloc::boxed::Box;
use sluice_chain::{FIRST_INDEX, FIRST_TTL, Node, options};
use sluice_clock::Json;
use sluice_vnf::{BURST_SIZE, Error, Options, RX_SIZE, Receive, Vnf, println};
use stretches::Stretches;

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 21);

type Outcome = Result<(), Box<dyn core::error::Error>>;

/// Length of a frame in bytes: 64 without the check sequence, a network service header of MD type 1, and the Ethernet
/// header before it.
const LEN: usize = 60 + 38;
const USAGE: Error = Error::Arguments("ME FILE, send TO TURNS, or receive TURNS HOPS");

#[derive(Debug, thiserror::Error)]
#[error("frame {0} is missing, or came through as another one")]
struct Wrong(u64);

fn run(vnf: &mut Vnf) -> Outcome {
    let number = |at| vnf.arg(at).and_then(|word| word.parse::<u8>().ok()).ok_or(USAGE);
    match vnf.arg(0) {
        Some("send") => send(vnf, frames(number(2)?)),
        Some("receive") => receive(vnf, frames(number(1)?), number(2)?),
        _ => pass(vnf),
    }
}

/// Returns the number of frames of `turns`.
fn frames(turns: u8) -> u64 {
    u64::from(turns) * RX_SIZE as u64
}

fn pass(vnf: &mut Vnf) -> Outcome {
    let mut ports = vnf.open(options())?;
    let mut node = Node::open(vnf, &ports, None)?;
    let mut stretches = Stretches::new();
    node.relay_with_callback(vnf, &mut ports, |count| stretches.note(count))?;
    let kind = ports.gate().kind().name();
    println!("row {}", Json(&stretches.row(kind, LEN as u16)));
    Ok(())
}

/// Sends `count` frames. The peer has its turn once its ring is full.
fn send(vnf: &mut Vnf, count: u64) -> Outcome {
    let mut ports = vnf.open(Options::default())?;
    let peer = ports.wait_for(vnf.arg(1))?;
    let (mut burst, mut numbers) = (ports.burst(), 0..count);
    while !(numbers.is_empty() && burst.is_empty()) {
        while burst.len() < BURST_SIZE
            && let Some(number) = numbers.next()
        {
            burst.push_bytes(&frame(number, 0))?;
        }
        if ports.send(peer, &mut burst)? == 0 {
            vnf.yield_now();
        }
    }
    Ok(())
}

/// Checks `count` frames that passed `hops`, each of which took one from time to live and index.
fn receive(vnf: &mut Vnf, count: u64, hops: u8) -> Outcome {
    let ports = vnf.open(Options::default())?;
    let (mut burst, mut patience, mut numbers) = (ports.burst(), vnf.patience(), 0..count);
    while !numbers.is_empty() {
        if ports.input.rx_burst(&mut burst, BURST_SIZE)? == 0 {
            patience.wait(vnf)?;
            continue;
        }
        patience.renew();
        for arrived in burst.frames() {
            let number = numbers.next().unwrap_or(count);
            if arrived.len() != LEN as u16 || arrived.head(0) != Some(frame(number, hops)) {
                return Err(Wrong(number).into());
            }
        }
        burst.clear();
    }
    Ok(())
}

/// Returns frame `number` behind `hops`.
fn frame(number: u64, hops: u8) -> [u8; LEN] {
    let (ttl, mut bytes) = (FIRST_TTL - hops, [0x5a; LEN]);
    let [one, two] = (u16::from(ttl) << 6 | 6).to_be_bytes();
    // EtherType; TTL and 6 words; MD type 1, Ethernet; path 1 of version 0, index. See: RFC 8300, 2.
    bytes[12..22].copy_from_slice(&[0x89, 0x4f, one, two, 1, 3, 0, 1, 0, FIRST_INDEX - hops]);
    bytes[LEN - 8..].copy_from_slice(&number.to_be_bytes());
    bytes
}
