//! Files of a VM: modules in its RAM, and console lines from which the host makes files.

use super::print;
use core::fmt;

/// Number of bytes of a file in one console line.
const LINE: usize = 512;

/// Error of a file that can't be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The module has fewer bytes.
    #[error("the module has fewer bytes")]
    Short,
    /// The module is not UTF-8 text.
    #[error("the module is not UTF-8 text")]
    NotText,
}

/// A file that the VNF was given.
pub struct Module(&'static [u8]);

impl Module {
    pub(super) fn new(bytes: &'static [u8]) -> Self {
        Self(bytes)
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Returns whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fills `bytes` with the bytes of the file from `at` on.
    ///
    /// # Errors
    /// [`FileError::Short`].
    pub fn read(&mut self, at: u64, bytes: &mut [u8]) -> Result<(), FileError> {
        let rest = usize::try_from(at).ok().and_then(|at| self.0.get(at..)).ok_or(FileError::Short)?;
        bytes.copy_from_slice(rest.get(..bytes.len()).ok_or(FileError::Short)?);
        Ok(())
    }
}

/// A file that the VNF writes: lines `file NAME HEX`, and `file NAME end` once it is whole.
pub struct Output {
    name: &'static str,
    bytes: [u8; LINE],
    len: usize,
}

impl Output {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, bytes: [0; LINE], len: 0 }
    }

    /// Writes `bytes` at the end of the file. The call can't fail.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), FileError> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(LINE - self.len));
            self.bytes[self.len..][..now.len()].copy_from_slice(now);
            self.len += now.len();
            bytes = rest;
            if self.len == LINE {
                self.flush();
            }
        }
        Ok(())
    }

    /// Ends the file: the host has all of it. The call can't fail.
    pub fn finish(mut self) -> Result<(), FileError> {
        self.flush();
        print(format_args!("file {} end\n", self.name));
        Ok(())
    }

    fn flush(&mut self) {
        if self.len > 0 {
            print(format_args!("file {} {}\n", self.name, Hex(&self.bytes[..self.len])));
            self.len = 0;
        }
    }
}

/// Writes bytes as hexadecimal digits.
struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
