//! The control socket: one line with a request, one with the answer, both JSON. A capture is answered by the bytes of
//! its file until the client closes its sending end.

use crate::sockets::Socket;
use crate::status::Status;
use rustix::event::PollFlags;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Largest number of clients at a time. Others wait.
const CLIENTS: usize = 16;
/// Longest request, bytes.
const REQUEST: usize = 4096;
/// Time that a client has for its request, and for taking the answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// The state of the server.
    Status,
    /// To read the policy again.
    Reload,
    /// The frames from and to a VM.
    Capture {
        /// The VM's name.
        vm: String,
    },
}

/// What a client is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The state of the server.
    Status(Status),
    /// It was done.
    Done(String),
    /// It was not, and nothing has changed.
    Failed(String),
    /// The bytes of a capture follow.
    Capture,
}

/// The control socket and its clients.
pub struct Control {
    socket: Socket,
    clients: Vec<Client>,
    next: u64,
}

/// A client.
pub struct Client {
    /// A number that no other client has.
    pub id: u64,
    stream: UnixStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    state: State,
    /// Until when the client may be in its state, if that has an end.
    until: Option<Instant>,
}

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It sends its request.
    Asks,
    /// It takes the answer, and is gone then.
    Takes,
    /// It takes a capture, behind the answer.
    Captures,
    /// It has said that the capture is long enough, and takes what is left.
    Ends,
    Gone,
}

impl Control {
    /// Serves those who connect to `socket`.
    pub const fn new(socket: Socket) -> Self {
        Self { socket, clients: Vec::new(), next: 0 }
    }

    /// Returns what to wait for. `captured` says whether there are bytes of a capture for a client.
    pub fn sources(&self, captured: impl Fn(u64) -> bool) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let listener = (self.clients.len() < CLIENTS).then(|| (self.socket.listener().as_fd(), PollFlags::IN));
        let clients = self.clients.iter().map(|client| (client.stream.as_fd(), client.flags(captured(client.id))));
        listener.into_iter().chain(clients).collect()
    }

    /// Returns the time at which a client has been here too long, if there is one.
    pub fn deadline(&self) -> Option<Instant> {
        self.clients.iter().filter_map(|client| client.until).min()
    }

    /// Goes on with all clients. Returns the requests that have come.
    pub fn turn(&mut self) -> Vec<(u64, Result<Request, String>)> {
        while self.clients.len() < CLIENTS
            && let Ok(Some(stream)) = self.socket.accept()
        {
            let (id, until) = (self.next, Some(Instant::now() + PATIENCE));
            let (request, answer, state) = (Vec::new(), Vec::new(), State::Asks);
            self.clients.push(Client { id, stream, request, answer, state, until });
            self.next += 1;
        }
        let requests = self.clients.iter_mut().filter_map(|client| Some((client.id, client.turn()?))).collect();
        let now = Instant::now();
        self.clients.retain(|client| client.state != State::Gone && client.until.is_none_or(|until| now < until));
        requests
    }

    /// Answers client `id`.
    pub fn answer(&mut self, id: u64, answer: &Answer) {
        let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else { return };
        client.answer = serde_json::to_vec(answer).unwrap_or_default();
        client.answer.push(b'\n');
        if matches!(answer, Answer::Capture) {
            (client.state, client.until) = (State::Captures, None);
        } else {
            (client.state, client.until) = (State::Takes, Some(Instant::now() + PATIENCE));
        }
        client.take();
    }

    /// Calls `each` with the clients that capture.
    pub fn capturing(&mut self, each: impl FnMut(&mut Client)) {
        self.clients.iter_mut().filter(|client| client.captures()).for_each(each);
    }

    /// Returns whether client `id` is there.
    pub fn has(&self, id: u64) -> bool {
        self.clients.iter().any(|client| client.id == id)
    }
}

impl Client {
    fn captures(&self) -> bool {
        matches!(self.state, State::Captures | State::Ends)
    }

    fn flags(&self, captured: bool) -> PollFlags {
        let output = if captured || !self.answer.is_empty() { PollFlags::OUT } else { PollFlags::empty() };
        match self.state {
            State::Asks | State::Captures => output | PollFlags::IN,
            _ => output,
        }
    }

    /// Goes on. Returns the request, if it has come now.
    fn turn(&mut self) -> Option<Result<Request, String>> {
        if !matches!(self.state, State::Asks | State::Captures) {
            self.take();
            return None;
        }
        let mut bytes = [0; REQUEST];
        match (self.stream.read(&mut bytes), self.state) {
            (Err(error), _) if error.kind() == ErrorKind::WouldBlock => return None,
            (Ok(0), State::Captures) => (self.state, self.until) = (State::Ends, Some(Instant::now() + PATIENCE)),
            (Ok(0) | Err(_), _) => self.state = State::Gone,
            (Ok(len), State::Asks) => self.request.extend_from_slice(&bytes[..len]),
            _ => {}
        }
        let line = self.request.iter().position(|&byte| byte == b'\n');
        let line = line.or((self.request.len() >= REQUEST).then_some(REQUEST))?;
        let request = std::mem::take(&mut self.request);
        Some(serde_json::from_slice(&request[..line]).map_err(|error| format!("no request: {error}")))
    }

    /// Gives the client what it takes of the answer.
    fn take(&mut self) {
        match give(&self.stream, &self.answer) {
            Ok(given) => drop(self.answer.drain(..given)),
            Err(_) => self.state = State::Gone,
        }
        if self.answer.is_empty() && self.state == State::Takes {
            self.state = State::Gone;
        }
    }

    /// Gives the client bytes of its capture, behind the answer. Returns how many it has taken.
    pub fn give(&mut self, bytes: &[u8]) -> usize {
        self.take();
        if !self.answer.is_empty() || !self.captures() {
            return 0;
        }
        let given = give(&self.stream, bytes);
        let is_done = self.state == State::Ends && given.as_ref().is_ok_and(|&given| given == bytes.len());
        if is_done || given.is_err() {
            self.state = State::Gone;
        }
        given.unwrap_or(0)
    }
}

/// Writes what there is room for, and returns how much that was.
fn give(mut stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
