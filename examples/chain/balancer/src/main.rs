//! A hop of service chains: it spreads the flows to one address over servers. All packets of a flow go to one server,
//! without a table: the one whose hash with the flow is the highest ("rendezvous hashing"). So each flow keeps its
//! server when others come or go. In the return direction, a server's packets get the one address as their source.
//! Packets for other addresses pass as they are; of those for this one, only TCP, UDP and echoes of ICMP in one piece.
//!
//! Arguments: `ME FILE ADDRESS SERVER...`: the name of this VM in the chain file, the chain file, the one address, and
//! the servers' addresses.
#![cfg_attr(target_os = "none", no_std, no_main)]
extern crate alloc;

use alloc::{boxed::Box, vec::Vec};
use core::net::Ipv4Addr;
use sluice_chain::{Direction, Flow, Node, Packet, options};
use sluice_vnf::{Error, Vnf, println};

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 21);

const ARGUMENTS: Error = Error::Arguments("ME FILE ADDRESS SERVER...");

/// A server, and the packets that it got.
type Server = (Ipv4Addr, u64);

fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
    let words = vnf.args().split_whitespace().skip(2).map(|word| word.parse().map_err(|_| ARGUMENTS));
    let addresses = words.collect::<Result<Vec<Ipv4Addr>, _>>()?;
    let (address, servers) = addresses.split_first().filter(|(_, servers)| !servers.is_empty()).ok_or(ARGUMENTS)?;
    let mut servers: Vec<Server> = servers.iter().map(|server| (*server, 0)).collect();
    let mut ports = vnf.open(options())?;
    let mut node = Node::open(vnf, &ports, None)?;
    node.serve(vnf, &mut ports, |packet| balance(packet, *address, &mut servers))?;
    println!("packets of each server: {servers:?}");
    Ok(())
}

fn balance(packet: &mut Packet<'_, '_>, address: Ipv4Addr, servers: &mut [Server]) -> bool {
    let Some(flow) = packet.flow() else { return true };
    if packet.direction() == Direction::Return {
        let is_server = servers.iter().any(|(server, _)| flow.source.0 == *server);
        return !is_server || packet.set_source(address, flow.source.1).is_ok();
    }
    if flow.destination.0 != address {
        return true;
    }
    let Some(chosen) = servers.iter_mut().max_by_key(|(server, _)| hash(&flow, *server)) else { return false };
    chosen.1 += 1;
    packet.set_destination(chosen.0, flow.destination.1).is_ok()
}

/// Returns the hash of a flow and a server: FNV-1a, with the last steps of MurmurHash3 to spread it over all bits.
fn hash(flow: &Flow, server: Ipv4Addr) -> u64 {
    let client = match flow.source.0 {
        core::net::IpAddr::V4(address) => address.to_bits().to_be_bytes(),
        core::net::IpAddr::V6(_) => [0; 4],
    };
    let ports = [flow.source.1, flow.destination.1].map(u16::to_be_bytes);
    let bytes = client.iter().chain(ports.as_flattened()).chain(core::slice::from_ref(&flow.protocol));
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mixed = bytes.chain(&server.octets()).fold(0xcbf2_9ce4_8422_2325, step);
    let mixed = (mixed ^ mixed >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ mixed >> 33
}
