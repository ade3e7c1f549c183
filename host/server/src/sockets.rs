//! Sockets in the file system: for their owner alone, gone with the server, and taken over from a server that is dead.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, chmod, fchmod, flock};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Connections that wait to be accepted, at most.
const BACKLOG: i32 = 128;

/// A folder that no other server uses.
pub struct Folder {
    /// Its lock ends with this process, however that ends.
    _lock: File,
}

impl Folder {
    /// Takes the folder at `path`, and makes it for its owner alone if it is missing.
    pub fn take(path: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let folder = File::open(path)?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Err(io::Error::other("another server runs there")),
            locked => Ok(Self { _lock: locked.map(|()| folder)? }),
        }
    }
}

/// A socket that listens, and is removed when this is dropped, unless it is another one's.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    is_own: bool,
}

impl Socket {
    /// Listens at `path`, where those may connect whom `mode` lets write. A socket there on which nobody listens is
    /// replaced.
    pub fn listen(path: &Path, mode: u32) -> io::Result<Self> {
        if let Ok(found) = fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket"));
            }
            match UnixStream::connect(path) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path)?,
                _ => return Err(io::Error::new(ErrorKind::AddrInUse, "somebody else listens there")),
            }
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // The file gets the mode that the socket has before, less what the umask takes away: it is for its owner from
        // the first moment on.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        let socket = Self { listener: socket.into(), path: path.into(), is_own: true };
        socket.allow(mode)?;
        listen(&socket.listener, BACKLOG)?;
        Ok(socket)
    }

    /// Takes `listener`, which somebody else has made at `path`, and who keeps it.
    pub fn handed(listener: UnixListener, path: &Path) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path: path.into(), is_own: false })
    }

    /// Lets those connect whom `mode` lets write. A socket that somebody else has made stays as it is.
    pub fn allow(&self, mode: u32) -> io::Result<()> {
        if self.is_own && fs::metadata(&self.path)?.permissions().mode() & 0o777 != mode {
            chmod(&self.path, Mode::from_raw_mode(mode))?;
        }
        Ok(())
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the descriptor that is readable while somebody wants to connect.
    pub const fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Returns the next connection, if somebody wants to connect. Neither end of it waits for the other.
    pub fn accept(&self) -> io::Result<Option<UnixStream>> {
        match self.listener.accept() {
            Ok((stream, _)) => stream.set_nonblocking(true).map(|()| Some(stream)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.is_own {
            // A socket that somebody else has removed already is no error.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns whether `fd` is now what one of `flags` says. Nobody waits.
pub fn is_now(fd: impl AsFd, flags: PollFlags) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), flags)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_a_dead_server_is_replaced_and_a_live_one_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let live = Socket::listen(&path, 0o600).expect("a socket");
        assert_eq!(fs::metadata(&path).map(|found| found.permissions().mode() & 0o777).ok(), Some(0o600));
        assert_eq!(Socket::listen(&path, 0o600).err().map(|error| error.kind()), Some(ErrorKind::AddrInUse));
        drop(live);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).expect("a socket that stays behind"));
        assert!(Socket::listen(&path, 0o600).is_ok());
        fs::write(&path, "text").expect("a file");
        assert_eq!(Socket::listen(&path, 0o600).err().map(|error| error.kind()), Some(ErrorKind::AlreadyExists));
        assert!(path.exists(), "a file that is no socket stays");
    }

    #[test]
    fn a_folder_has_one_server() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let first = Folder::take(&path).expect("a folder");
        assert_eq!(fs::metadata(&path).map(|found| found.permissions().mode() & 0o777).ok(), Some(0o700));
        assert!(Folder::take(&path).is_err());
        drop(first);
        assert!(Folder::take(&path).is_ok());
    }
}
