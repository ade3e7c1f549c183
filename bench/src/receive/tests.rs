//! A driver that loses, doubles or tears frames is found out.

use super::*;

/// A driver of frames in order, and what is wrong with it.
struct Fake {
    wrong: &'static str,
    count: usize,
    len: u16,
}

impl Receiver for Fake {
    fn path(&self) -> Option<&str> {
        None
    }
    fn prepare(&mut self, count: u16, len: u16) -> Result<()> {
        (self.count, self.len) = (count.into(), len);
        Ok(())
    }
    fn fill(&mut self) -> usize {
        self.count - usize::from(self.wrong == "no buffer")
    }
    fn take(&mut self, most: usize) -> usize {
        most - usize::from(self.wrong == "lost")
    }
    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let index = if self.wrong == "doubled" { index.saturating_sub(1) } else { index };
        *bytes = bytes_of(index as u16, usize::from(self.len) - usize::from(self.wrong == "short"));
        if self.wrong == "torn" {
            bytes[1] ^= 1;
        }
        Ok(())
    }
    fn free(&mut self) {}
}

#[test]
fn a_driver_that_does_not_receive_is_found_out() {
    let says = |wrong| turn(&mut Fake { wrong, count: 0, len: 0 }, 8, 7, 64, 10).map_err(|error| error.to_string());
    assert!(says("").is_ok_and(|ticks| ticks >= 0.0));
    for (wrong, what) in [
        ("no buffer", "buffers for 6 frames of 7"),
        ("lost", "6 frames of 7 were received"),
        ("doubled", "frame 1 has 64 bytes and begins with Some(0)"),
        ("short", "frame 0 has 63 bytes"),
        ("torn", "frame 0 of 64 bytes did not arrive as it was sent"),
    ] {
        let said = says(wrong).expect_err(wrong);
        assert!(said.contains(what), "{said}");
    }
}
