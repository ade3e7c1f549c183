//! A receiver whose frames lie in one buffer each.

use crate::Failure;
use crate::capture::Capture;
use alloc::vec;
use sluice_vnf::{BURST_SIZE, BufferLen, Hdr, Offloads, Options, Receive, RingFormat, Vnf, println};

/// The number of entries of the receive queue.
const ENTRIES: u16 = 64;

pub fn receive(vnf: &mut Vnf, ring: RingFormat, offloads: Offloads, file: &str) -> Result<(), Failure> {
    let mut expected = Capture::open(vnf, file)?;
    let buffer_len = if offloads.is_empty() { BufferLen::KiB2 } else { BufferLen::KiB64 };
    let ports = vnf.open(Options { ring, buffer_len, entries: ENTRIES, offloads, ..Options::default() })?;
    let (mut burst, mut patience) = (ports.burst(), vnf.patience());
    while !expected.is_at_end() {
        if ports.input.rx_burst(&mut burst, BURST_SIZE)? == 0 {
            patience.wait(vnf)?;
            continue;
        }
        patience.renew();
        for frame in burst.frames() {
            let mut bytes = vec![0; frame.len().into()];
            frame.copy_to_slice(0, &mut bytes)?;
            expected.expect(&bytes)?;
            say(&expected, frame.offloads().unwrap_or_default(), 1);
        }
        burst.clear();
    }
    println!("received {} frames", expected.count());
    Ok(())
}

/// Prints the offloads that the last frame's header asks for, unless it asks for none, and in how many buffers the
/// frame came.
pub fn say(expected: &Capture, hdr: Hdr, buffers: usize) {
    let Hdr { flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, .. } = hdr;
    if flags != 0 {
        println!(
            "frame {}: flags {flags}, type {gso_type}, headers {hdr_len}, size {gso_size}, \
             checksum {csum_start}+{csum_offset}, buffers {buffers}",
            expected.count() - 1
        );
    }
}
