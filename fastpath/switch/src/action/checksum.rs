//! The Internet checksum, brought up to date. See: RFC 1624, equation 3.

/// Returns the checksum that `checksum` becomes where `old` becomes `new`: HC' = ~(~HC + ~m + m') for each 16-bit word.
/// Both have an even number of bytes, from an even place of what is summed.
pub fn update<const N: usize>(checksum: u16, old: &[u8; N], new: &[u8; N]) -> u16 {
    const { assert!(N.is_multiple_of(2)) };
    let words = |bytes: &[u8; N]| -> u32 { bytes.as_chunks().0.iter().map(|&word| be(word)).sum() };
    // The complement of N / 2 words, each of 16 bits.
    let complement = 0xffff * (N as u32 / 2) - words(old);
    let sum = u32::from(!checksum) + complement + words(new);
    let once = (sum & 0xffff) + (sum >> 16);
    !((once & 0xffff) + (once >> 16)) as u16
}

fn be(word: [u8; 2]) -> u32 {
    u16::from_be_bytes(word).into()
}
