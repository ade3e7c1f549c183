//! Paths of sockets.

use anyhow::Result;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Returns a path for a socket, in a new folder.
pub fn new_socket() -> Result<PathBuf> {
    Ok(tempfile::tempdir()?.keep().join("socket"))
}

/// Returns `path` for a library of C.
pub fn c_path(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
