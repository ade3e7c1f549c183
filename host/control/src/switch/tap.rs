//! Captures of the frames at a port. See: draft-ietf-opsawg-pcap, "PCAP Capture File Format".

use sluice_memory::PeerSlice;

/// An observer of the frames that the switch takes and forwards.
pub trait Tap {
    /// Called with each frame that the switch took from VM `vm`, or put into its receive queue. The bytes are the
    /// host's own; nobody else writes them.
    fn frame(&mut self, vm: u32, frame: PeerSlice<'_>);

    /// Returns whether there is room for one more frame. While there is none, the switch takes no frame.
    fn has_room(&self) -> bool {
        true
    }
}

/// The observer that ignores all frames.
impl Tap for () {
    fn frame(&mut self, _: u32, _: PeerSlice<'_>) {}
}

/// Largest number of bytes of a frame in a capture.
const SNAP_LEN: u32 = 65_535;

/// The header of a capture file: times in microseconds, little-endian, Ethernet.
pub const PCAP_HEADER: [u8; 24] = {
    let [a, b, c, d] = SNAP_LEN.to_le_bytes();
    [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, 1, 0, 0, 0]
};

/// Returns the packet record header for the first `captured` bytes of a frame of `len` bytes. `microseconds` is the
/// time, from any origin.
pub fn pcap_record(microseconds: u64, captured: u32, len: u32) -> [u8; 16] {
    let words = [(microseconds / 1_000_000) as u32, (microseconds % 1_000_000) as u32, captured, len];
    let mut record = [0; 16];
    record.as_chunks_mut().0.iter_mut().zip(words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
    record
}
