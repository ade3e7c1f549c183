//! How the output of a process, which may be any bytes, is cut into lines.

/// Length in bytes of the longest line. A longer one becomes several.
pub const LONGEST: usize = 1 << 16;

/// The part of a line that has no end yet.
#[derive(Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// Adds `bytes`, and calls `line` with every line that ends in them.
    pub fn add(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n').flat_map(|piece| piece.chunks(LONGEST)) {
            self.0.extend_from_slice(piece);
            let is_whole = self.0.pop_if(|byte| *byte == b'\n').is_some();
            while self.0.len() > LONGEST {
                line(&self.0.drain(..LONGEST).collect::<Vec<_>>());
            }
            if is_whole {
                line(&self.0);
                self.0.clear();
            }
        }
    }

    /// Calls `line` with the part that has no end, as no more bytes follow.
    pub fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.0.is_empty() {
            line(&std::mem::take(&mut self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.add(piece, |line| all.push(line.to_vec()));
        }
        lines.finish(|line| all.push(line.to_vec()));
        all
    }

    #[test]
    fn a_line_is_whole_in_however_many_pieces_it_comes() {
        assert_eq!(lines(&[b"a", b"b\nc", b"", b"\n\nd"]), [&b"ab"[..], b"c", b"", b"d"]);
        assert_eq!(lines(&[b"\xff\n"]), [b"\xff"]);
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_cut_and_not_kept_for_ever() {
        let flood = vec![b'x'; 5 * LONGEST / 2];
        let lengths: Vec<_> = lines(&[&flood, b"y\n", b"z"]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [LONGEST, LONGEST, LONGEST / 2 + 1, 1]);
        assert_eq!(lines(&[&vec![b'x'; LONGEST], b"\n"]).len(), 1);
    }
}
