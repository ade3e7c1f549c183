//! Flows for the tests of the table.
#![allow(dead_code, reason = "each test uses its own part")]

use sluice_memory::CacheLine;
use sluice_switch::{Action, ActionList, Front, Hit, Key, Layers, Mask, Reader, Seed, Shape, Writer};
use zerocopy::network_endian::U16;

pub const SHAPE: Shape = Shape { entries: 64, lists: 16 };

pub fn seed() -> Seed {
    Seed::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210])
}

pub fn memory(shape: Shape) -> Vec<CacheLine> {
    (0..shape.lines()).map(|_| CacheLine::default()).collect()
}

pub fn writer(memory: &[CacheLine], shape: Shape) -> Writer<'_> {
    Writer::new(memory, shape, seed()).expect("a table")
}

pub fn reader<'m>(memory: &'m [CacheLine], shape: Shape, front: Option<&'m mut [u64]>) -> Reader<'m> {
    let front = front.map(|words| Front::new(words).expect("a power of two"));
    Reader::new(memory, shape, seed(), front).expect("a table")
}

pub fn output(port: u16) -> ActionList {
    ActionList::new(&[Action::Output(port)], 1 << 15).expect("a list")
}

/// Returns the key of a flow of TCP over IPv4, or over IPv6 if `long`.
pub fn key(number: u32, long: bool) -> Key {
    let ip = if long { Layers::IPV6 } else { Layers::IPV4 };
    let mut key = Key { layers: Layers::ETHERNET | ip | Layers::TRANSPORT | Layers::TCP, ..Key::default() };
    (key.ether_type, key.protocol) = (U16::new(if long { 0x86dd } else { 0x0800 }), 6);
    (key.source_port, key.destination_port) = (U16::new(number as u16), U16::new((number >> 16) as u16));
    if long {
        key.ipv6_source[12..].copy_from_slice(&number.to_be_bytes());
    } else {
        key.ipv4_source = number.to_be_bytes();
    }
    key
}

/// Returns a mask of `which` fields, each of which is in a key of [`key`].
pub fn mask(which: u8) -> Mask {
    let field = |bit: u8, len: usize| if which >> bit & 1 == 1 { len } else { 0 };
    let mut mask = Key { layers: Layers::ETHERNET, ..Key::default() };
    mask.ipv4_source[..field(0, 4)].fill(0xff);
    mask.ipv6_source[..field(1, 16)].fill(0xff);
    [mask.source_port, mask.destination_port] = [2, 3].map(|bit| U16::new(field(bit, 0xffff) as u16));
    mask.protocol = field(4, 0xff) as u8;
    Mask::closed(mask)
}

pub fn port_of(reader: &Reader<'_>, hit: &Hit) -> Option<u16> {
    match reader.actions(hit)?.actions().next()? {
        Action::Output(port) => Some(port),
        other => panic!("{other:?}"),
    }
}
