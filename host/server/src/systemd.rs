//! What systemd gives and is told: sockets on which it listens already, and how far the server is.
//! See: sd_listen_fds(3), sd_notify(3). Without systemd there are no such sockets, and nobody is told.

use crate::sockets::Socket;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use tracing::warn;

/// The sockets that were handed over. They stay open, and systemd keeps them for the next server.
#[derive(Default)]
pub struct Handed {
    sockets: Vec<(PathBuf, UnixListener)>,
}

impl Handed {
    /// Takes the sockets that the environment names, which no one else may read or write meanwhile.
    ///
    /// # Errors
    /// One of them is no stream socket of a path that listens.
    pub fn take() -> io::Result<Self> {
        let mut found = ListenFd::from_env();
        let mut sockets = Vec::new();
        for at in 0..found.len() {
            let none = || io::Error::new(ErrorKind::InvalidInput, "no socket with a path that listens");
            let mut socket = || -> io::Result<_> {
                let socket = found.take_unix_listener(at)?.ok_or_else(none)?;
                let path = socket.local_addr()?.as_pathname().map(Path::to_path_buf).ok_or_else(none)?;
                if !rustix::net::sockopt::socket_acceptconn(&socket)? {
                    return Err(none());
                }
                Ok((path, socket))
            };
            let error = |error: io::Error| io::Error::new(error.kind(), format!("socket {at} of LISTEN_FDS: {error}"));
            sockets.push(socket().map_err(error)?);
        }
        Ok(Self { sockets })
    }

    /// Listens at `path`: by the socket that was handed over with this path, or by one that is made, with `mode`.
    pub fn listen(&self, path: &Path, mode: u32) -> io::Result<Socket> {
        match self.sockets.iter().find(|(handed, _)| is_same(handed, path)) {
            Some((_, socket)) => Socket::handed(socket.try_clone()?, path),
            None => Socket::listen(path, mode),
        }
    }

    /// Warns of each socket of which `has` says that nobody has it: who connects there waits for another policy.
    pub fn warn_of_others(&self, has: impl Fn(&Path) -> bool) {
        for (path, _) in self.sockets.iter().filter(|(path, _)| !has(path)) {
            warn!(socket = %path.display(), "systemd listens there, and no VM or channel in the policy does");
        }
    }
}

/// Whether both name one file.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    one == other || file(one).is_some_and(|it| file(other) == Some(it))
}

/// Says that the server serves `vms` VMs.
pub fn ready(vms: usize) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("serves {vms} VMs"))]);
}

/// Says that the server reads its policy again. What comes next is [`ready`].
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "systemd is not told"),
    }
}

/// Says that the server ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "systemd is not told");
    }
}
