//! A hop of service chains: a firewall that knows connections. The forward direction of a chain may begin one; the
//! return direction passes only what belongs to one. Of TCP, only a SYN begins a connection. ARP passes; all else that
//! is no TCP, UDP or echo of ICMP in one piece is dropped.
//!
//! Arguments: `ME FILE`: the name of this VM in the chain file, and the chain file.
#![cfg_attr(target_os = "none", no_std, no_main)]
extern crate alloc;

use alloc::boxed::Box;
use sluice_chain::{Direction, Flow, Node, Packet, Table, options, protocol, seconds, tcp};
use sluice_vnf::{Vnf, clock, println};

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 22);

/// Connections at a time, and the EtherType of ARP.
const CONNECTIONS: usize = 8192;
const ARP: u16 = 0x0806;
/// Seconds that a connection lives without a packet: of TCP while it is open, and while it opens or closes, of UDP, and
/// of ICMP. See: RFC 5382, REQ-5; RFC 4787, REQ-5; RFC 5508, REQ-1.
const OPEN: u64 = 7440;
const TRANSITORY: u64 = 240;
const UDP: u64 = 300;
const ICMP: u64 = 60;

/// What was seen of a connection.
#[derive(Default)]
struct Seen {
    /// An ACK by the one who did not begin.
    answered: bool,
    /// A FIN of each side, or a reset.
    finished: [bool; 2],
}

fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
    let mut ports = vnf.open(options())?;
    let mut node = Node::open(vnf, &ports, None)?;
    let mut connections = Table::new(CONNECTIONS);
    node.serve(vnf, &mut ports, |packet| passes(&mut connections, packet, clock::now()))?;
    println!("connections: {} known, {} refused as the table was full", connections.len(), connections.refused());
    Ok(())
}

fn passes(connections: &mut Table<Flow, Seen>, packet: &Packet<'_, '_>, now: u64) -> bool {
    let Some(flow) = packet.flow() else { return packet.ether_type() == ARP };
    let forward = packet.direction() == Direction::Forward;
    let flow = if forward { flow } else { flow.reversed() };
    let flags = packet.tcp_flags().unwrap_or(0);
    let is_syn = flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN;
    let time = match flow.protocol {
        protocol::TCP => TRANSITORY,
        protocol::UDP => UDP,
        _ => ICMP,
    };
    let Some(seen) = connections.keep(&flow, seconds(time), now) else {
        let begins = forward && (flow.protocol != protocol::TCP || is_syn);
        return begins && connections.insert(flow, Seen::default(), seconds(time), now);
    };
    if flow.protocol == protocol::TCP {
        seen.look(flags, forward);
        let time = if seen.is_open() { OPEN } else { TRANSITORY };
        connections.keep(&flow, seconds(time), now);
    }
    true
}

impl Seen {
    fn look(&mut self, flags: u16, forward: bool) {
        self.answered |= !forward && flags & tcp::ACK != 0;
        self.finished[usize::from(forward)] |= flags & tcp::FIN != 0;
        if flags & tcp::RST != 0 {
            self.finished = [true; 2];
        } else if forward && flags & (tcp::SYN | tcp::ACK) == tcp::SYN && self.finished == [true; 2] {
            *self = Self::default();
        }
    }

    fn is_open(&self) -> bool {
        self.answered && self.finished != [true; 2]
    }
}
