//! The grammar of a flow's text: lists of items, items with parentheses, values with masks.

use super::Refusal;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Returns the parts of `text` between the commas that stand outside of parentheses, without blanks around them.
///
/// # Errors
/// A parenthesis without the other one.
pub fn items(text: &str) -> Result<Vec<&str>, Refusal> {
    let (mut all, mut depth, mut from) = (Vec::new(), 0usize, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1).ok_or_else(|| Refusal::malformed(text))?,
            b',' if depth == 0 => {
                all.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err(Refusal::malformed(text));
    }
    if !text.trim().is_empty() {
        all.push(text[from..].trim());
    }
    Ok(all)
}

/// Returns the name and what is in the parentheses of `name(…)`.
pub fn call(item: &str) -> Option<(&str, &str)> {
    item.strip_suffix(')')?.split_once('(')
}

/// Returns the name and the value of each `name=value`, and no name twice.
pub fn fields(inner: &str) -> Result<Vec<(&str, &str)>, Refusal> {
    let all = pairs(inner)?;
    let twice = (1..all.len()).any(|at| all[..at].iter().any(|(name, _)| *name == all[at].0));
    if twice { Err(Refusal::malformed(inner)) } else { Ok(all) }
}

/// Returns the name and the value of each `name=value`.
pub fn pairs(inner: &str) -> Result<Vec<(&str, &str)>, Refusal> {
    let pair = |item| str::split_once(item, '=').ok_or_else(|| Refusal::malformed(item));
    items(inner)?.into_iter().map(pair).collect()
}

/// Returns a number in decimal, or in hexadecimal behind `0x`.
pub fn number(text: &str) -> Option<u128> {
    let is_number = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|it: char| it.is_digit(radix));
    match text.strip_prefix("0x") {
        Some(digits) => is_number(digits, 16).then(|| u128::from_str_radix(digits, 16).ok())?,
        None => is_number(text, 10).then(|| text.parse().ok())?,
    }
}

/// Returns the number and its mask of `value` or `value/mask`, both of at most `bits` bits.
pub fn masked(text: &str, bits: u32) -> Result<(u128, u128), Refusal> {
    let full = u128::MAX.checked_shr(128 - bits).unwrap_or(0);
    with_mask(text, |text| number(text).filter(|it| *it <= full), full)
}

/// Returns the number and its mask, as [`masked`] does, of at most 16 bits.
pub fn masked16(text: &str, bits: u32) -> Result<(u16, u16), Refusal> {
    masked(text, bits.min(16)).map(|(value, mask)| (value as u16, mask as u16))
}

/// Returns the number and its mask, as [`masked`] does, of at most 8 bits.
pub fn masked8(text: &str, bits: u32) -> Result<(u8, u8), Refusal> {
    masked(text, bits.min(8)).map(|(value, mask)| (value as u8, mask as u8))
}

/// Returns an address of Ethernet and its mask.
pub fn masked_mac(text: &str) -> Result<([u8; 6], [u8; 6]), Refusal> {
    with_mask(text, mac, [0xff; 6])
}

/// Returns an address of IPv4 and its mask.
pub fn masked_ipv4(text: &str) -> Result<([u8; 4], [u8; 4]), Refusal> {
    with_mask(text, |text| text.parse().ok().map(|it: Ipv4Addr| it.octets()), [0xff; 4])
}

/// Returns an address of IPv6 and its mask.
pub fn masked_ipv6(text: &str) -> Result<([u8; 16], [u8; 16]), Refusal> {
    with_mask(text, |text| text.parse().ok().map(|it: Ipv6Addr| it.octets()), [0xff; 16])
}

/// Returns the value alone, if all of its bits count.
pub fn whole<T: PartialEq>((value, mask): (T, T), full: T, text: &str) -> Result<T, Refusal> {
    if mask == full { Ok(value) } else { Err(Refusal::action(text)) }
}

fn with_mask<T>(text: &str, read: impl Fn(&str) -> Option<T>, full: T) -> Result<(T, T), Refusal> {
    let both = match text.split_once('/') {
        Some((value, mask)) => read(value).zip(read(mask)),
        None => read(text).map(|value| (value, full)),
    };
    both.ok_or_else(|| Refusal::malformed(text))
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let (mut address, mut parts) = ([0; 6], text.split(':'));
    for byte in &mut address {
        let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|it| it.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(address)
}
