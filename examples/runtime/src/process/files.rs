//! Files of a process: read and written piece by piece, whatever their size.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Why a file can't be read or written.
pub type FileError = io::Error;

/// Bytes that are read or written at once.
const BUFFER: usize = 1 << 16;

/// A file that the machine was given.
pub struct Module {
    file: BufReader<File>,
    len: u64,
    at: u64,
}

impl Module {
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(BUFFER, file), len, at: 0 })
    }

    /// Its length when it was opened, bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `bytes` with those from byte `at` on.
    pub fn read(&mut self, at: u64, bytes: &mut [u8]) -> Result<(), FileError> {
        match i64::try_from(i128::from(at) - i128::from(self.at)) {
            Ok(distance) => self.file.seek_relative(distance)?,
            Err(_) => drop(self.file.seek(SeekFrom::Start(at))?),
        }
        // Wherever it stops, that is known only once it has read all.
        self.at = u64::MAX;
        self.file.read_exact(bytes)?;
        self.at = at + bytes.len() as u64;
        Ok(())
    }
}

/// A file that the machine writes. It has its name once it is whole; dropped before, it is gone.
pub struct Output {
    file: BufWriter<File>,
    /// Where it is until it is whole, and then. A device or a pipe of that name is written as it is.
    names: Option<(PathBuf, PathBuf)>,
}

/// The name that a file has until it is whole.
fn part_of(name: &OsStr) -> OsString {
    let mut part = name.to_owned();
    part.push(".part");
    part
}

impl Output {
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        // Behind a link, so that the link stays.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let is_special = path.metadata().is_ok_and(|data| !data.is_file());
        let part = path.with_file_name(part_of(path.file_name().unwrap_or_default()));
        let target = if is_special { &path } else { &part };
        let file = OpenOptions::new().write(true).create(!is_special).truncate(!is_special).open(target)?;
        Ok(Self { file: BufWriter::with_capacity(BUFFER, file), names: (!is_special).then_some((part, path)) })
    }

    /// Writes `bytes` behind those that it has.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes)
    }

    /// All is written: nothing of it is in memory alone any more.
    pub fn finish(mut self) -> Result<(), FileError> {
        self.file.flush()?;
        let Some((part, path)) = &self.names else { return Ok(()) };
        self.file.get_ref().sync_all()?;
        fs::rename(part, path)?;
        self.names = None;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some((part, _)) = &self.names {
            // Nothing more can be done about one that stays.
            let _ = fs::remove_file(part);
        }
    }
}
