//! Fields that a rule matches, as they are written.

use alloc::format;
use alloc::string::String;
use core::net::IpAddr;
use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};

/// An Ethernet address, and the bits of it that count.
pub struct Ethernet {
    pub address: [u8; 6],
    pub mask: [u8; 6],
}

/// An address of IP, and the bits of it that count.
pub enum Address {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

/// A protocol of IP.
pub struct Protocol(pub u8);

/// A VLAN tag.
#[derive(Clone, Copy)]
pub enum Tag {
    /// The frame has one with this identifier.
    Id(u16),
    /// The frame has none.
    None,
}

/// Returns the Ethernet address that `text` is: six bytes of two hexadecimal digits with colons between.
pub fn ethernet(text: &str) -> Option<[u8; 6]> {
    let (mut parts, mut bytes) = (text.split(':'), [0; 6]);
    for byte in &mut bytes {
        let part =
            parts.next().filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// Returns the protocol that `text` names, by name or number.
pub fn protocol(text: &str) -> Option<u8> {
    let known = [("icmp", 1), ("tcp", 6), ("udp", 17), ("icmpv6", 58), ("sctp", 132)];
    let named = known.into_iter().find(|(name, _)| *name == text).map(|(_, number)| number);
    named.or_else(|| text.parse().ok())
}

impl<'de> Deserialize<'de> for Ethernet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (address, mask) = text.split_once('/').map_or((&*text, None), |(address, mask)| (address, Some(mask)));
        let wrong =
            || D::Error::custom(format!("\"{text}\": want an Ethernet address, and a mask behind / if need be"));
        let mask = mask.map_or(Some([0xff; 6]), ethernet).ok_or_else(wrong)?;
        let address = ethernet(address).ok_or_else(wrong)?;
        if address.iter().zip(mask).any(|(byte, mask)| byte & !mask != 0) {
            return Err(D::Error::custom(format!("\"{text}\": the address has bits that the mask leaves out")));
        }
        Ok(Self { address, mask })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |why: &str| D::Error::custom(format!("\"{text}\": {why}"));
        let (address, len) = text.split_once('/').map_or((&*text, None), |(address, len)| (address, Some(len)));
        let address: IpAddr = address.parse().map_err(|_| wrong("want an address of IPv4 or IPv6, or a prefix"))?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let len = match len.map(str::parse::<u32>) {
            None => bits,
            Some(Ok(len)) if len <= bits => len,
            Some(_) => return Err(wrong("the prefix is longer than the address, or no number")),
        };
        let mask = u128::MAX.checked_shl(128 - len).unwrap_or(0);
        let (all, mask) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, mask),
            IpAddr::V6(address) => (address.to_bits(), mask),
        };
        if all & !mask != 0 {
            return Err(wrong("the address has bits behind its prefix"));
        }
        let (all, mask) = (all.to_be_bytes(), mask.to_be_bytes());
        let first = |bytes: &[u8; 16]| [bytes[0], bytes[1], bytes[2], bytes[3]];
        Ok(if address.is_ipv4() { Self::V4(first(&all), first(&mask)) } else { Self::V6(all, mask) })
    }
}

/// A text or a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Number(i64),
    Text(String),
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = &"a protocol: 0 to 255, tcp, udp, sctp, icmp or icmpv6";
        match Word::deserialize(deserializer)? {
            Word::Number(number) => {
                let number =
                    u8::try_from(number).map_err(|_| D::Error::invalid_value(Unexpected::Signed(number), wanted));
                number.map(Self)
            }
            Word::Text(text) => {
                protocol(&text).map(Self).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), wanted))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = &"a VLAN identifier from 0 to 4095, or \"none\"";
        match Word::deserialize(deserializer)? {
            Word::Number(id @ 0..=4095) => Ok(Self::Id(id as u16)),
            Word::Number(id) => Err(D::Error::invalid_value(Unexpected::Signed(id), wanted)),
            Word::Text(text) if text == "none" => Ok(Self::None),
            Word::Text(text) => Err(D::Error::invalid_value(Unexpected::Str(&text), wanted)),
        }
    }
}
