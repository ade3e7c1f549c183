//! Files of a process, of any size: they are read and written piece by piece.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Error of a file that can't be read or written.
pub type FileError = io::Error;

/// Number of bytes that are read or written at once.
const BUFFER: usize = 1 << 16;

/// A file that the VNF was given.
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

    /// Returns the length in bytes that the file had when it was opened.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `bytes` with the bytes of the file from `at` on.
    ///
    /// # Errors
    /// [`FileError`], also if the file ends before.
    pub fn read(&mut self, at: u64, bytes: &mut [u8]) -> Result<(), FileError> {
        match i64::try_from(i128::from(at) - i128::from(self.at)) {
            Ok(distance) => self.file.seek_relative(distance)?,
            Err(_) => drop(self.file.seek(SeekFrom::Start(at))?),
        }
        // The position is known again only once all was read.
        self.at = u64::MAX;
        self.file.read_exact(bytes)?;
        self.at = at + bytes.len() as u64;
        Ok(())
    }
}

/// A file that the VNF writes. The file has its name once it is whole; until then it has none, or, where the file
/// system wants one, the name with `.part` behind it. A device or a pipe of that name is written as it is.
pub struct Output {
    file: BufWriter<File>,
    names: Option<Names>,
}

struct Names {
    part: PathBuf,
    whole: PathBuf,
    /// Whether the file has the name `part`.
    is_named: bool,
}

impl Output {
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        // The name is looked up behind a link, so that the link stays.
        let whole = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        if whole.metadata().is_ok_and(|data| !data.is_file()) {
            let file = OpenOptions::new().write(true).open(&whole)?;
            return Ok(Self { file: BufWriter::with_capacity(BUFFER, file), names: None });
        }
        let mut part = whole.clone().into_os_string();
        part.push(".part");
        let (file, part) = (nameless(&whole), PathBuf::from(part));
        let is_named = file.is_none();
        let file = file.map_or_else(|| File::create(&part), Ok)?;
        let names = Some(Names { part, whole, is_named });
        Ok(Self { file: BufWriter::with_capacity(BUFFER, file), names })
    }

    /// Writes `bytes` at the end of the file.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes)
    }

    /// Ends the file: all of it is written to the disk, and it gets its name.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn finish(mut self) -> Result<(), FileError> {
        self.file.flush()?;
        let (file, Some(names)) = (self.file.get_ref(), &mut self.names) else { return Ok(()) };
        file.sync_all()?;
        if !names.is_named {
            // A process that was killed may have left this file behind.
            let _ = fs::remove_file(&names.part);
            let open = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(CWD, open, CWD, &names.part, AtFlags::SYMLINK_FOLLOW)?;
            names.is_named = true;
        }
        fs::rename(&names.part, &names.whole)?;
        names.is_named = false;
        Ok(())
    }
}

/// Returns a file without a name in the folder of `path`; `None` if the file system has no such files. See: open(2),
/// `O_TMPFILE`.
fn nameless(path: &Path) -> Option<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::open(folder, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode).ok().map(File::from)
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(Names { part, is_named: true, .. }) = &self.names {
            // Nothing more can be done about a file that stays.
            let _ = fs::remove_file(part);
        }
    }
}
