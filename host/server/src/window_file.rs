//! Files that VMs have as ivshmem devices. A file outlives the server: its VM keeps it, and goes on with the next one.

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, ftruncate, openat};
use std::fs::File;
use std::io;
use std::path::Path;

/// Opens the file at `path`, or makes it for its owner alone, with `len` bytes. An empty file gets that length, so that
/// an operator can make one for another user's VM. No other server uses it for as long as the result is open.
pub fn take(path: &Path, len: u64) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?);
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| io::Error::other("another server uses it"))?;
    let found = file.metadata()?;
    if found.is_file() && found.len() == 0 {
        ftruncate(&file, len)?;
    }
    check(&file, len)?;
    Ok(file)
}

/// Checks that `file` has `len` bytes.
pub fn check(file: &File, len: u64) -> io::Result<()> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if found.len() != len {
        return Err(io::Error::other(format!("it has {} bytes; {len} are needed", found.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const LEN: u64 = 64 << 20;

    #[test]
    fn a_file_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let file = take(&path, LEN).expect("a new one");
        assert_eq!(file.metadata().expect("open").len(), LEN);
        assert_eq!(take(&path, LEN).expect_err("in use").to_string(), "another server uses it");
        drop(file);
        take(&path, LEN).expect("the same one");
        let refused = take(&path, 2 * LEN).expect_err("another length").to_string();
        assert_eq!(refused, format!("it has {LEN} bytes; {} are needed", 2 * LEN));
    }

    #[test]
    fn what_is_no_file_of_ours_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        symlink(&target, &link).expect("a link");
        take(&link, LEN).expect_err("a link");
        assert!(!target.exists());
        take(folder.path(), LEN).expect_err("a folder");
        take(Path::new("/dev/null"), LEN).expect_err("a device");
    }
}
