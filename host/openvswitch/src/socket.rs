//! Stream sockets that never block.

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Bytes that one call reads at most.
const CHUNK: usize = 64 << 10;

/// Connects to who listens at `path`. Who listens and does not accept is as one who does not listen.
pub fn open(path: &Path) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &address)?;
    Ok(UnixStream::from(socket))
}

/// Adds to `input` what there is to read, at most one chunk. Returns the number of bytes.
///
/// # Errors
/// Those of read(2), and an error if the other end has hung up.
pub fn read(mut stream: &UnixStream, input: &mut Vec<u8>) -> io::Result<usize> {
    let at = input.len();
    input.resize(at + CHUNK, 0);
    let done = retry(|| stream.read(&mut input[at..]));
    input.truncate(at + done.as_ref().ok().copied().flatten().unwrap_or(0));
    match done? {
        Some(0) => Err(hung_up()),
        count => Ok(count.unwrap_or(0)),
    }
}

/// Writes what the socket takes of `output`, and returns the number of bytes.
pub fn write(mut stream: &UnixStream, output: &[u8]) -> io::Result<usize> {
    if output.is_empty() {
        return Ok(0);
    }
    match retry(|| stream.write(output))? {
        Some(0) => Err(hung_up()),
        count => Ok(count.unwrap_or(0)),
    }
}

/// Calls `act` until no signal interrupts it; `None` if it would block.
fn retry(mut act: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match act() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            done => return done.map(Some),
        }
    }
}

fn hung_up() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the other end has hung up")
}
