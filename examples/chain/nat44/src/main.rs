//! A hop of service chains: network address translation of IPv4. In the forward direction, packets get one public
//! address as their source, and a port of it; in the return direction, what was sent to that port goes back to whom it
//! belongs. A port belongs to one source, whomever that sends to, for as long as it sends: RFC 4787, REQ-1 and REQ-8,
//! "endpoint-independent". Packets that are no TCP, UDP or echo of ICMP over IPv4 in one piece are dropped, errors of
//! ICMP among them.
//!
//! Arguments: `ME FILE ADDRESS FIRST-LAST`: the name of this VM in the chain file, the chain file, the public address
//! and its ports, at most 10,000. A port keeps its parity: RFC 4787, REQ-4.
#![cfg_attr(target_os = "none", no_std, no_main)]
extern crate alloc;

use alloc::boxed::Box;
use core::net::{IpAddr, Ipv4Addr};
use sluice_chain::{Direction, Node, Packet, Table, options, protocol, seconds};
use sluice_vnf::{Error, Vnf, clock, println};

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 22);

const ARGUMENTS: Error = Error::Arguments("ME FILE ADDRESS FIRST-LAST, with 2 to 10000 ports from 1 on");
/// Most ports: the heap has room for a mapping of each by each protocol.
const MOST: usize = 10_000;
/// Ports that are tried for a new mapping, every other one of which has its parity.
const TRIES: usize = 64;
/// Seconds that a mapping lives without a packet, in this order of TCP, UDP and ICMP. See: RFC 5382, REQ-5; RFC 4787,
/// REQ-5; RFC 5508, REQ-1.
const TIMES: [u64; 3] = [7440, 300, 60];

/// Protocol, address and port of someone inside; protocol and port outside.
type Inside = (u8, Ipv4Addr, u16);
type Outside = (u8, u16);

struct Nat {
    address: Ipv4Addr,
    ports: (u16, u16),
    outside: Table<Inside, u16>,
    inside: Table<Outside, Inside>,
    next: u16,
    full: u64,
}

fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
    let address = vnf.arg(2).and_then(|word| word.parse().ok()).ok_or(ARGUMENTS)?;
    let (first, last) = vnf.arg(3).and_then(|word| word.split_once('-')).ok_or(ARGUMENTS)?;
    let ports: (u16, u16) = first.parse().ok().zip(last.parse().ok()).ok_or(ARGUMENTS)?;
    let count = (ports.0 > 0).then(|| (ports.0..=ports.1).len()).filter(|count| (2..=MOST).contains(count));
    let most = 3 * count.ok_or(ARGUMENTS)?;
    let (outside, inside) = (Table::new(most), Table::new(most));
    let mut nat = Nat { address, ports, outside, inside, next: ports.0, full: 0 };
    let mut ports = vnf.open(options())?;
    let mut node = Node::open(vnf, &ports, None)?;
    node.serve(vnf, &mut ports, |packet| nat.translate(packet, clock::now()).is_some())?;
    println!("mappings: {}; packets without a port left: {}", nat.outside.len(), nat.full);
    Ok(())
}

impl Nat {
    fn translate(&mut self, packet: &mut Packet<'_, '_>, now: u64) -> Option<()> {
        let flow = packet.flow()?;
        let time = seconds(match flow.protocol {
            protocol::TCP => TIMES[0],
            protocol::UDP => TIMES[1],
            _ => TIMES[2],
        });
        if packet.direction() == Direction::Forward {
            let (IpAddr::V4(address), port) = flow.source else { return None };
            let public = self.port_of((flow.protocol, address, port), time, now)?;
            return packet.set_source(self.address, public).ok();
        }
        if flow.destination.0 != self.address {
            return None;
        }
        // Packets from outside do not prolong a mapping: RFC 4787, REQ-6.
        let (_, address, port) = *self.inside.get(&(flow.protocol, flow.destination.1), now)?;
        packet.set_destination(address, port).ok()
    }

    /// Returns the public port of `inside`, a new one if there is none.
    fn port_of(&mut self, inside: Inside, time: u64, now: u64) -> Option<u16> {
        if let Some(port) = self.outside.keep(&inside, time, now).copied() {
            self.inside.keep(&(inside.0, port), time, now);
            return Some(port);
        }
        let (first, last) = self.ports;
        for _ in 0..TRIES {
            let port = self.next;
            self.next = if port == last { first } else { port + 1 };
            let is_free = port % 2 == inside.2 % 2 && self.inside.get(&(inside.0, port), now).is_none();
            if is_free && self.outside.insert(inside, port, time, now) {
                if self.inside.insert((inside.0, port), inside, time, now) {
                    return Some(port);
                }
                self.outside.remove(&inside);
            }
        }
        self.full += 1;
        None
    }
}
