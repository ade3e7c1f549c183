//! Who looks at the frames of a port, and how frames are written down. See: draft-ietf-opsawg-pcap, "PCAP Capture File
//! Format".

use sluice_memory::PeerSlice;

/// Sees frames.
pub trait Tap {
    /// A frame that the switch took from VM `vm`, or put into its receive queue. Its bytes are the host's own, and
    /// nobody else writes them.
    fn frame(&mut self, vm: u32, frame: PeerSlice<'_>);

    /// Whether there is room for what one frame more brings. While there is not, the switch takes none.
    fn has_room(&self) -> bool {
        true
    }
}

/// Nobody looks.
impl Tap for () {
    fn frame(&mut self, _: u32, _: PeerSlice<'_>) {}
}

/// Bytes of a frame that are written down, at most.
const SNAP_LEN: u32 = 65_535;

/// How a capture file begins: times in microseconds, little-endian, Ethernet.
pub const PCAP_HEADER: [u8; 24] = {
    let [a, b, c, d] = SNAP_LEN.to_le_bytes();
    [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, 1, 0, 0, 0]
};

/// What precedes the first `captured` bytes of a frame of `len` bytes, at so many `microseconds` since whatever the
/// clock counts from.
pub fn pcap_record(microseconds: u64, captured: u32, len: u32) -> [u8; 16] {
    let words = [(microseconds / 1_000_000) as u32, (microseconds % 1_000_000) as u32, captured, len];
    let mut record = [0; 16];
    record.as_chunks_mut().0.iter_mut().zip(words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
    record
}
