//! Actions as they are written: a name, and its operands.

use super::field::ethernet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use sluice_switch::{Action, Nsh};

/// Time to live of a network service header, as RFC 8300 section 2.2 recommends.
const NSH_TTL: u8 = 63;

/// Returns the action that `text` is. `ports` has the names of the ports.
pub fn parse(text: &str, ports: &[(u16, &str)]) -> Result<Action, String> {
    let words: Vec<_> = text.split_whitespace().collect();
    match words[..] {
        ["output", name] => ports
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(port, _)| Action::Output(*port))
            .ok_or_else(|| "no such port".to_string()),
        ["set_eth_dst", address] => mac(address).map(Action::SetDestination),
        ["set_eth_src", address] => mac(address).map(Action::SetSource),
        ["set_vlan", id] => number(id, 4095).map(|control| Action::SetTag { control, mask: 0xfff }),
        ["push_vlan", id] => number(id, 4095).map(|control| Action::PushTag { service: false, control }),
        ["push_svlan", id] => number(id, 4095).map(|control| Action::PushTag { service: true, control }),
        ["pop_vlan"] => Ok(Action::PopTag),
        ["set_ip_src", address] => ip(address).map(|address| match address {
            IpAddr::V4(address) => Action::SetIpv4Source(address.octets()),
            IpAddr::V6(address) => Action::SetIpv6Source(address.octets()),
        }),
        ["set_ip_dst", address] => ip(address).map(|address| match address {
            IpAddr::V4(address) => Action::SetIpv4Destination(address.octets()),
            IpAddr::V6(address) => Action::SetIpv6Destination(address.octets()),
        }),
        ["set_tos", tos] => number(tos, 255).map(|value| Action::SetTos { value, mask: 0xff }),
        ["set_ttl", ttl] => number(ttl, 255).map(Action::SetTtl),
        ["dec_ttl"] => Ok(Action::DecrementTtl),
        ["set_src_port", port] => number(port, 65535).map(Action::SetSourcePort),
        ["set_dst_port", port] => number(port, 65535).map(Action::SetDestinationPort),
        ["push_nsh", path, index] => {
            let (path, index): (u32, u8) = (number(path, (1 << 24) - 1)?, number(index, 255)?);
            Ok(Action::PushNsh(Nsh { path: path << 8 | u32::from(index), ttl: NSH_TTL, context: [0; 16] }))
        }
        ["pop_nsh"] => Ok(Action::PopNsh),
        _ => Err("want output PORT, set_eth_dst, set_eth_src MAC, set_vlan, push_vlan, push_svlan VLAN, pop_vlan, \
                  set_ip_src, set_ip_dst ADDRESS, set_tos, set_ttl N, dec_ttl, set_src_port, set_dst_port PORT, \
                  push_nsh PATH INDEX or pop_nsh"
            .to_string()),
    }
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    ethernet(text).ok_or_else(|| "want an Ethernet address".to_string())
}

fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "want an address of IPv4 or IPv6".to_string())
}

fn number<N: TryFrom<u32>>(text: &str, most: u32) -> Result<N, String> {
    let number = text.parse::<u32>().ok().filter(|number| *number <= most);
    number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| format!("want a number from 0 to {most}"))
}
