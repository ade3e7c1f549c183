//! What lies behind a chain: it sends each frame back, with source and destination exchanged: the Ethernet addresses,
//! those of IPv4, and the ports of TCP and UDP. A request of ICMP for an echo becomes the reply.
//!
//! Argument: the name of the peer that frames go back to.
#![cfg_attr(target_os = "none", no_std, no_main)]

use sluice_vnf::{Error, FrameError, FrameMut, Options, Receive, Vnf, println};

sluice_vnf::main!(run);

fn run(vnf: &mut Vnf) -> Result<(), Error> {
    let mut ports = vnf.open(Options::default())?;
    let peer = ports.wait_for(vnf.arg(0))?;
    ports.relay(peer, |burst| burst.retain(|frame| answer(frame).is_ok()))?;
    let (sent, received) = (ports.stats_of(peer).packets, ports.input.rx_stats().packets);
    println!("sent {sent} of {received} frames back");
    Ok(())
}

/// Makes the answer of `frame`. The checksums of IPv4, TCP and UDP do not depend on the order of the fields.
fn answer(frame: &mut FrameMut<'_>) -> Result<(), FrameError> {
    exchange::<6>(frame, 0)?;
    let Some([0x08, 0x00, first]) = frame.head(12) else { return Ok(()) };
    exchange::<4>(frame, 26)?;
    let transport = 14 + 4 * usize::from(first & 0xf);
    match frame.head::<1>(23) {
        Some([6 | 17]) => exchange::<2>(frame, transport),
        Some([1]) if frame.head(transport) == Some([8, 0]) => reply(frame, transport),
        _ => Ok(()),
    }
}

/// Makes a request for an echo, at `at`, the reply, whose type is 0: the sum of its words is less by 800H. See:
/// RFC 792, "Echo or Echo Reply Message"; RFC 1624, equation 3.
fn reply(frame: &mut FrameMut<'_>, at: usize) -> Result<(), FrameError> {
    let checksum: [u8; 2] = frame.head(at + 2).unwrap_or_default();
    let (sum, carry) = u16::from_be_bytes(checksum).overflowing_add(0x0800);
    frame.set(at, &[0])?;
    frame.set(at + 2, &(sum + u16::from(carry)).to_be_bytes())
}

/// Exchanges the `N` bytes at `at` for those behind them. A frame that ends before them stays as it is.
fn exchange<const N: usize>(frame: &mut FrameMut<'_>, at: usize) -> Result<(), FrameError> {
    let (Some(first), Some(second)) = (frame.head::<N>(at), frame.head::<N>(at + N)) else { return Ok(()) };
    frame.set(at, &second)?;
    frame.set(at + N, &first)
}
