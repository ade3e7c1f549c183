//! The commands that ask a running server.

use crate::control::{Answer, Request};
use crate::prometheus::Metrics;
use crate::status::{ChannelStatus, Status, counter};
use rustix::net::Shutdown;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Time that the server has for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no server answers at {path}: {error}")]
    NoServer {
        /// The control socket.
        path: String,
        /// Why not.
        error: io::Error,
    },
    /// The server refuses.
    #[error("{0}")]
    Refused(String),
    /// The answer is none, or can't be written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Asks the server at `path`. Returns the answer, and the connection, from which a capture can be read.
fn ask(path: &Path, request: &Request) -> Result<(Answer, BufReader<UnixStream>), ClientError> {
    let failed = |error| ClientError::NoServer { path: path.display().to_string(), error };
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let (mut reader, mut answer) = (BufReader::new(stream), String::new());
    reader.read_line(&mut answer).map_err(failed)?;
    match serde_json::from_str(&answer).map_err(io::Error::from)? {
        Answer::Failed(why) => Err(ClientError::Refused(why)),
        answer => Ok((answer, reader)),
    }
}

fn status_of(path: &Path) -> Result<Status, ClientError> {
    match ask(path, &Request::Status)?.0 {
        Answer::Status(status) => Ok(status),
        other => Err(ClientError::Refused(format!("another answer: {other:?}"))),
    }
}

/// How the state of a server is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// A line of JSON.
    Json,
    /// Prometheus' text-based format.
    Prometheus,
}

impl Format {
    fn print(self, status: &Status) -> io::Result<String> {
        Ok(match self {
            Self::Text => status.to_string(),
            Self::Json => serde_json::to_string(status)? + "\n",
            Self::Prometheus => Metrics(status).to_string(),
        })
    }
}

/// Prints the state of the server, once or, with `watch`, each second; for people with the rates since the last time.
pub fn status(path: &Path, format: Format, watch: bool) -> Result<(), ClientError> {
    let is_text = format == Format::Text;
    let mut last: Option<Status> = None;
    loop {
        let now = status_of(path)?;
        let text = format.print(&now)?;
        let mut out = io::stdout().lock();
        if watch && is_text {
            // Clears the screen, and goes to its top. See: ECMA-48, "ED" and "CUP".
            write!(out, "\x1b[2J\x1b[H")?;
        }
        out.write_all(text.as_bytes())?;
        last.iter().filter(|_| is_text).try_for_each(|last| out.write_all(rates(last, &now).as_bytes()))?;
        out.flush()?;
        if !watch {
            return Ok(());
        }
        last = Some(now);
        thread::sleep(Duration::from_secs(1));
    }
}

/// Returns how many frames each VM and tap sent and got from `last_of` to `now`, a second later, and what was written
/// into each channel.
fn rates(last_of: &Status, now: &Status) -> String {
    let mut text = String::from("a second:\n");
    let ports = |status: &'_ Status| {
        let vms = status.vms.iter().map(|vm| (vm.name.clone(), vm.counters.clone()));
        vms.chain(status.taps.iter().map(|tap| (tap.name.clone(), tap.counters.clone()))).collect::<Vec<_>>()
    };
    let last: BTreeMap<_, _> = ports(last_of).into_iter().collect();
    for (name, counters) in ports(now) {
        let before = last.get(&name).unwrap_or(&counters);
        let rate = |name| counter(&counters, name).saturating_sub(counter(before, name));
        text += &format!("{name:16} from it {}, to it {} frames\n", rate("taken"), rate("forwarded"));
    }
    let last: BTreeMap<_, _> = last_of.channels.iter().map(|it| (&it.name, it.written_bytes)).collect();
    for ChannelStatus { name, written_bytes, .. } in &now.channels {
        let written = written_bytes.saturating_sub(last.get(name).copied().unwrap_or(*written_bytes));
        text += &format!("{name:16} written {written} bytes\n");
    }
    text
}

/// Has the server read its policy again.
pub fn reload(path: &Path) -> Result<(), ClientError> {
    if let Answer::Done(text) = ask(path, &Request::Reload)?.0 {
        writeln!(io::stdout(), "{text}")?;
    }
    Ok(())
}

/// Writes the frames from and to `vm` to `file` for `seconds`.
pub fn capture(path: &Path, vm: String, file: &Path, seconds: u64) -> Result<(), ClientError> {
    let mut file = File::create(file)?;
    let (_, mut reader) = ask(path, &Request::Capture { vm })?;
    reader.get_ref().set_read_timeout(None)?;
    let ours = reader.get_ref().try_clone()?;
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(seconds));
        // If the server is gone, the copy has ended already.
        let _ = rustix::net::shutdown(&ours, Shutdown::Write);
    });
    io::copy(&mut reader, &mut file)?;
    Ok(())
}
