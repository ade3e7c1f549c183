//! What the server gives up once its sockets are there: all system calls but those that it makes, and all files but
//! those that its policy is about. Whoever takes the server over has no more than it.
//!
//! Reading order: [`Sandbox::enter`], `files` (landlock), `calls` (seccomp).

mod calls;
mod files;

use crate::policy::Policy;
use crate::server::ServerError;
use files::Files;
use sluice_channels::ChannelFileError;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// What a process is left, and whether the kernel keeps it to that.
pub struct Sandbox {
    files: Result<Files, String>,
    calls: Result<(), String>,
}

impl Sandbox {
    /// Restricts the calling thread, and all that it starts from now on, for good: to the files of `policy`, which was
    /// read from `path`, to files in the folders `more`, and to the system calls of the server. What the kernel does
    /// not know is left out.
    ///
    /// # Errors
    /// One of `more` can't be opened.
    pub fn enter(path: &Path, policy: &Policy, more: &[PathBuf]) -> Result<Self, ServerError> {
        let files = Files::of(path, policy, more)?;
        // Landlock's own system calls are not among those that are left.
        let files = files.restrict();
        Ok(Self { files, calls: calls::restrict().map_err(|error| error.to_string()) })
    }

    /// Logs what holds, in one line.
    pub fn log(&self) {
        let calls = self.calls.as_ref().map_or_else(|why| format!("by nothing ({why})"), |()| "by seccomp".into());
        let files = self.files.as_ref().map_or_else(|why| format!("by nothing ({why})"), Files::holds);
        if self.files.is_ok() && self.calls.is_ok() {
            info!("sandbox: system calls {calls}, files {files}");
        } else {
            warn!("sandbox: system calls {calls}, files {files}");
        }
    }

    /// Returns `error` with what the sandbox allows, if that may be why.
    pub fn explain(&self, error: ServerError) -> ServerError {
        let Ok(files) = &self.files else { return error };
        let explained = |error: io::Error| match error.kind() {
            ErrorKind::PermissionDenied => io::Error::new(error.kind(), format!("{error}; {}", files.allowed())),
            _ => error,
        };
        match error {
            ServerError::Capture(error) => ServerError::Capture(explained(error)),
            ServerError::Channel(ChannelFileError::Memory { name, source }) => {
                ServerError::Channel(ChannelFileError::Memory { name, source: explained(source) })
            }
            ServerError::Socket { path, error } => ServerError::Socket { path, error: explained(error) },
            ServerError::WindowFile { path, error } => ServerError::WindowFile { path, error: explained(error) },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
