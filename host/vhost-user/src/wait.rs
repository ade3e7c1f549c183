//! Waiting for a descriptor.

use crate::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::io;
use std::time::Duration;

/// Returns whether `file` has something to read, or is at its end, within `patience`.
pub(crate) fn is_readable(file: &impl AsFd, patience: Duration) -> Result<bool> {
    let patience = Timespec::try_from(patience).map_err(|error| Error::Io(io::Error::other(error)))?;
    match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&patience)) {
        // A signal came first.
        Err(Errno::INTR) => Ok(false),
        ready => Ok(ready.map_err(io::Error::from)? > 0),
    }
}
