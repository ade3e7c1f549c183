//! The canonical VNF: it counts the frames that arrive and sends them on to a peer.
//!
//! Argument: the name of the peer (default: the first). The program ends when the peer goes away for good, and waits
//! for a peer that the host starts again.
#![cfg_attr(target_os = "none", no_std, no_main)]

use sluice_vnf::{BURST_SIZE, Error, Frame, Options, Receive, Vnf, println};

sluice_vnf::main!(run);

fn run(vnf: &mut Vnf) -> Result<(), Error> {
    let mut ports = vnf.open(Options::default())?;
    let peer = ports.wait_for(vnf.arg(0))?;
    let mut burst = ports.burst();
    let mut seen = Seen::default();
    let end = loop {
        let before = burst.len();
        ports.input.rx_burst(&mut burst, BURST_SIZE)?;
        burst.frames().skip(before).for_each(|frame| seen.look(frame));
        // Frames that the peer has no room for stay in the burst, in order. While the burst is full, senders wait.
        match ports.send(peer, &mut burst) {
            Ok(0) => vnf.yield_now(),
            Ok(_) => {}
            Err(Error::PeerGone) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let (sent, received) = (ports.stats_of(peer), ports.input.rx_stats());
    println!("forwarded {} of {} frames, {} bytes: {seen:?}", sent.packets, received.packets, sent.bytes);
    end
}

/// Numbers of frames by EtherType. See: IEEE 802 Numbers, "Ethernet Numbers".
#[derive(Debug, Default)]
struct Seen {
    ipv4: u64,
    ipv6: u64,
    arp: u64,
    vlan: u64,
    other: u64,
}

impl Seen {
    fn look(&mut self, frame: Frame<'_>) {
        let counter = match frame.head(12).map(u16::from_be_bytes) {
            Some(0x0800) => &mut self.ipv4,
            Some(0x86dd) => &mut self.ipv6,
            Some(0x0806) => &mut self.arp,
            Some(0x8100) => &mut self.vlan,
            _ => &mut self.other,
        };
        *counter += 1;
    }
}
