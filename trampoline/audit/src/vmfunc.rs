//! The bytes of VMFUNC, at an instruction's start or not.

use crate::binary::{Segment, Symbols};
use crate::rule::{Finding, Rule};
use iced_x86::{Decoder, DecoderOptions};

/// The bytes of VMFUNC. See: SDM volume 3, "VMFUNC—Invoke VM function".
pub const VMFUNC: [u8; 3] = [0x0f, 0x01, 0xd4];

/// A place with the bytes of a VMFUNC.
pub struct Place {
    /// The address of the first byte.
    pub address: u64,
    /// The nearest symbol before the address.
    pub symbol: String,
    /// A linear decode has an instruction that starts here.
    pub boundary: bool,
    /// The VMFUNC is intended.
    pub declared: bool,
}

/// Returns all places in `segments`; those in `declared` are intended.
pub fn places<'b>(segments: impl Iterator<Item = &'b Segment>, symbols: &Symbols, declared: &[u64]) -> Vec<Place> {
    let in_segment = |segment: &'b Segment| {
        let hits = segment.bytes.windows(VMFUNC.len()).zip(segment.address..).filter(|(bytes, _)| *bytes == VMFUNC);
        hits.map(|(_, address)| Place {
            address,
            symbol: symbols.describe(address),
            boundary: is_boundary(segment, symbols, address),
            declared: declared.contains(&address),
        })
    };
    segments.flat_map(in_segment).collect()
}

/// Whether a decode from the function's start, or the segment's, meets `address`.
fn is_boundary(segment: &Segment, symbols: &Symbols, address: u64) -> bool {
    let start = symbols.function_before(address).unwrap_or(0).max(segment.address);
    let Some(bytes) = segment.from(start) else { return false };
    let mut decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
    while decoder.ip() < address {
        let _ = decoder.decode();
    }
    decoder.ip() == address
}

/// Every VMFUNC is declared.
pub fn rule(part_of: &'static str, places: &[Place]) -> Rule {
    let what = |place: &Place| match place.boundary {
        true => "a VMFUNC that nobody declares",
        false => "the bytes of a VMFUNC within other instructions",
    };
    let stray = places.iter().filter(|place| !place.declared);
    let findings: Vec<_> = stray
        .map(|place| Finding { address: place.address, symbol: place.symbol.clone(), what: what(place).into() })
        .collect();
    let figure = format!("{} declared, {} stray", places.len() - findings.len(), findings.len());
    let declared =
        places.iter().filter(|place| place.declared).map(|place| format!("{:#x} {}", place.address, place.symbol));
    Rule::new("VMFUNC", part_of, figure, findings).detail(declared.collect::<Vec<_>>().join(", "))
}
