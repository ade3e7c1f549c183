//! Files of a process: read and written piece by piece, whatever their size.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Why a file can't be read or written.
pub type FileError = io::Error;

/// Bytes that are read or written at once.
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

/// A file that the VNF writes. It has its name once it is whole; until then it has none, or, where the file system wants one, that with
/// `.part` behind it. What has a name that is not a file's, a device or a pipe, is written as it is.
pub struct Output {
    file: BufWriter<File>,
    names: Option<Names>,
}

struct Names {
    part: PathBuf,
    whole: PathBuf,
    /// Whether it has the name `part`.
    is_named: bool,
}

impl Output {
    pub(super) fn create(path: &Path) -> Result<Self, FileError> {
        // Behind a link, so that the link stays.
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

    /// Writes `bytes` behind those that it has.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes)
    }

    /// All is written: nothing of it is in memory alone any more.
    pub fn finish(mut self) -> Result<(), FileError> {
        self.file.flush()?;
        let (file, Some(names)) = (self.file.get_ref(), &mut self.names) else { return Ok(()) };
        file.sync_all()?;
        if !names.is_named {
            // Left behind by somebody who was killed.
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

/// A file without a name in the folder of `path`. See: open(2), `O_TMPFILE`.
fn nameless(path: &Path) -> Option<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::open(folder, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode).ok().map(File::from)
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(Names { part, is_named: true, .. }) = &self.names {
            // Nothing more can be done about one that stays.
            let _ = fs::remove_file(part);
        }
    }
}
