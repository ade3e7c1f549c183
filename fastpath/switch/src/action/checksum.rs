//! The Internet checksum, brought up to date. See: RFC 1624, equation 3.

/// Returns the checksum that `checksum` becomes where `old` becomes `new`: HC' = ~(~HC + ~m + m') for each 16-bit word.
/// Both have an even number of bytes, from an even place of what is summed. A checksum is a number in the processor's
/// byte order of the two bytes in the frame: the sum does not depend on the order. See: RFC 1071, 2 (B).
pub fn update<const N: usize>(checksum: u16, old: &[u8; N], new: &[u8; N]) -> u16 {
    const { assert!(N.is_multiple_of(2)) };
    let words =
        |bytes: &[u8; N]| -> u32 { bytes.as_chunks().0.iter().map(|&word| u32::from(u16::from_ne_bytes(word))).sum() };
    // The complement of N / 2 words, each of 16 bits.
    let complement = 0xffff * (N as u32 / 2) - words(old);
    let sum = u32::from(!checksum) + complement + words(new);
    let once = (sum & 0xffff) + (sum >> 16);
    !((once & 0xffff) + (once >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the checksum of these words. See: RFC 1071.
    fn checksum(words: [u16; 3]) -> u16 {
        let mut sum: u32 = words.iter().map(|&word| u32::from(word)).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !sum as u16
    }

    #[test]
    fn an_updated_checksum_is_that_of_the_new_words() {
        const WORDS: [u16; 10] = [0, 1, 2, 0x00ff, 0x7fff, 0x8000, 0xff00, 0xfffd, 0xfffe, 0xffff];
        let bytes = |a: u16, b: u16| (u32::from(a) << 16 | u32::from(b)).to_be_bytes();
        let native = |checksum: u16| u16::from_ne_bytes(checksum.to_be_bytes());
        for number in 0..100_000 {
            let [rest, a, b, c, d] = [1, 10, 100, 1_000, 10_000].map(|power| WORDS[number / power % 10]);
            let updated = native(update(native(checksum([rest, a, b])), &bytes(a, b), &bytes(c, d)));
            // Words that are all 0 have a sum of +0, and an updated one of -0. See: RFC 1624, section 3.
            let wanted = if [rest, c, d] == [0; 3] { updated } else { checksum([rest, c, d]) };
            assert_eq!(updated, wanted, "{rest:#x} {a:#x} {b:#x} to {c:#x} {d:#x}");
        }
    }
}
