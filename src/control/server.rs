//! The daemon's side of the control socket: clients, and lines from and to them.
//!
//! Everything is bounded: how many clients, how long a request, how long it may take to arrive,
//! how much of an answer may wait for a client that does not read.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use nix::unistd::Uid;

use super::protocol::{Greeting, PROTOCOL, REQUEST_MAX, Reply};
use crate::exit::Sysexit;
use crate::sys::socket::{Listener, peer_user};
use crate::sys::why;

/// How many clients there may be.
const CLIENTS_MAX: usize = 32;

/// How long a request may take to arrive.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);

/// How much may wait for a client that does not read. One answer may exceed it.
const OUTPUT_MAX: usize = 64 << 10;

/// How much of an answer may wait before a client's next request is looked at: the others, and the
/// pipes, have their turn in between.
const OUTPUT_AT_ONCE: usize = 16 << 10;

/// How much is read from a client at a time.
const READ_SIZE: usize = 16 << 10;

/// Tells clients apart, for as long as the daemon lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientId(u64);

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    /// Who it is.
    pub(crate) user: Uid,
    stream: UnixStream,
    input: Vec<u8>,
    /// How much of the input has been given out as requests.
    taken: usize,
    output: Vec<u8>,
    /// By when the request that has begun, or the first one, must be whole.
    deadline: Option<Instant>,
    /// Whether its requests wait until one before them can be done.
    pub(crate) paused: bool,
    /// Whether its requests wait until it has read the answers to those before.
    held: bool,
    /// Whether it is to be told more, though it asks for nothing more.
    pub(crate) awaits: bool,
    /// Whether it will send nothing more.
    finished: bool,
    /// Whether it goes when its last answer has been sent.
    leaving: bool,
    /// Whether it is gone.
    pub(crate) gone: bool,
}

impl Client {
    fn new(id: ClientId, stream: UnixStream, user: Uid) -> Self {
        Self {
            id,
            user,
            stream,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
            deadline: Some(Instant::now() + REQUEST_PATIENCE),
            paused: false,
            held: false,
            awaits: false,
            finished: false,
            leaving: false,
            gone: false,
        }
    }

    /// Whether an answer may be given without exceeding what may wait.
    pub(crate) fn has_room(&self) -> bool {
        self.output.len() < OUTPUT_MAX
    }

    /// Whether it has read so much of the answers before that it may have another.
    fn keeps_up(&self) -> bool {
        self.output.len() < OUTPUT_AT_ONCE
    }

    /// Whether nothing waits for it.
    pub(crate) fn is_served(&self) -> bool {
        self.output.is_empty()
    }

    /// Answers. A client that leaves answers unread until they are too many is dropped.
    pub(crate) fn answer(&mut self, reply: &Reply) {
        if !self.has_room() {
            self.gone = true;
            return;
        }
        self.line(reply);
    }

    fn line(&mut self, line: &impl serde::Serialize) {
        // Neither a Vec nor the protocol's types refuse anything.
        if serde_json::to_writer(&mut self.output, line).is_ok() {
            self.output.push(b'\n');
        }
    }

    /// Answers with many lines and says that these were all. They are bounded by whoever gives
    /// them.
    pub(crate) fn answer_all(&mut self, replies: impl Iterator<Item = Reply>) {
        if !self.has_room() {
            self.gone = true;
            return;
        }
        replies.for_each(|reply| self.line(&reply));
        self.line(&Reply::Done {});
    }

    /// Answers that it was not done, and why.
    pub(crate) fn refuse(&mut self, code: Sysexit, message: impl Into<String>) {
        self.answer(&Reply::Error { code: code as u8, message: message.into() });
    }

    /// Refuses, and ends the connection after that.
    fn dismiss(&mut self, message: &str) {
        self.refuse(Sysexit::DataErr, message);
        self.leaving = true;
    }

    /// The next request, if one is whole. Whoever does not read the answers is asked no further.
    pub(crate) fn next_line(&mut self) -> Option<Vec<u8>> {
        self.held = !self.keeps_up();
        if self.held || self.paused || self.leaving || self.gone {
            return None;
        }
        let Some(length) = memchr::memchr(b'\n', &self.input[self.taken..]) else {
            self.input.drain(..self.taken);
            self.taken = 0;
            if self.input.len() >= REQUEST_MAX {
                self.dismiss("a request has at most 64 KiB");
            } else if self.finished && !self.input.is_empty() {
                self.dismiss("a request ends in a newline");
            }
            return None;
        };
        let line = self.input[self.taken..self.taken + length].to_vec();
        self.taken += length + 1;
        let more = self.taken < self.input.len();
        self.deadline = more.then(|| Instant::now() + REQUEST_PATIENCE);
        Some(line)
    }

    fn read(&mut self) {
        let mut space = [0; READ_SIZE];
        let room = (REQUEST_MAX - self.input.len().min(REQUEST_MAX)).min(READ_SIZE);
        match self.stream.read(&mut space[..room]) {
            Ok(0) => self.finished = true,
            Ok(count) => {
                if self.input.is_empty() {
                    self.deadline = Some(Instant::now() + REQUEST_PATIENCE);
                }
                self.input.extend_from_slice(&space[..count]);
            }
            Err(error) if is_passing(&error) => {}
            Err(_) => self.gone = true,
        }
    }

    /// Sends what waits, as far as it is taken.
    pub(crate) fn write(&mut self) {
        while !self.output.is_empty() && !self.gone {
            match self.stream.write(&self.output) {
                Ok(count) => {
                    self.output.drain(..count);
                }
                Err(error) if is_passing(&error) => return,
                Err(_) => self.gone = true,
            }
        }
    }

    /// Whether its next request can be looked at, though it has been read already.
    pub(crate) fn is_ready(&self) -> bool {
        self.held && self.keeps_up()
    }

    /// When it is to go, if it has sent no whole request by then, or read no answers.
    fn deadline(&self) -> Option<Instant> {
        // What the daemon lets wait is not late.
        self.deadline.filter(|_| !self.paused && !self.leaving && !self.gone)
    }

    fn is_late(&self, now: Instant) -> bool {
        let whole = memchr::memchr(b'\n', &self.input[self.taken..]).is_some();
        self.deadline().is_some_and(|deadline| now >= deadline) && !(whole && self.keeps_up())
    }

    /// Whether it wants to be read: not while its requests wait, or its answers.
    fn reads(&self) -> bool {
        !self.paused
            && !self.finished
            && !self.leaving
            && self.has_room()
            && self.input.len() < REQUEST_MAX
    }

    fn interest(&self) -> PollFlags {
        let input = if self.reads() { PollFlags::POLLIN } else { PollFlags::empty() };
        let output = if self.output.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        input | output
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The socket and its clients.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) listener: Option<Listener>,
    pub(crate) clients: Vec<Client>,
    last_id: u64,
    /// Whether nobody is taken in for now: poll(2) would go on telling of a client for which there
    /// is no descriptor.
    resting: bool,
}

impl Server {
    /// What to watch with poll(2), in an order that [`Server::serve`] knows.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let listener = self.listener.iter().filter(|_| !self.resting);
        let listener = listener.map(|l| (l.socket.as_fd(), PollFlags::POLLIN));
        listener.chain(self.clients.iter().map(|c| (c.stream.as_fd(), c.interest())))
    }

    /// When the first of the clients that are too slow is to go.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.clients.iter().filter_map(Client::deadline).min()
    }

    /// Takes new clients in, reads from those that have something to say, and lets go of those
    /// that take too long.
    pub(crate) fn serve(&mut self, happened: &[bool], now: Instant) {
        let mut happened = happened.iter().copied();
        let listens = self.listener.is_some() && !self.resting;
        let knocks = listens && happened.next().unwrap_or(false);
        for client in &mut self.clients {
            if happened.next().unwrap_or(false) {
                if client.reads() {
                    client.read();
                } else if client.is_served() {
                    // Watched for nothing, and something happened all the same: it hung up.
                    client.gone = true;
                }
            }
            if client.paused && client.deadline.is_some() {
                client.deadline = Some(now + REQUEST_PATIENCE);
            }
            if client.is_late(now) {
                client.dismiss("a request must arrive within 5 seconds");
            }
        }
        if knocks {
            self.take_in();
        }
    }

    fn take_in(&mut self) {
        let Some(listener) = &self.listener else { return };
        // One at a time: poll(2) tells of the next.
        let stream = match listener.socket.accept() {
            Ok((stream, _)) => stream,
            Err(error) if is_passing(&error) => return,
            Err(error) => {
                log::warn!("control socket: accept: {}; trying again later", why(&error));
                self.resting = true;
                return;
            }
        };
        let Ok(user) = peer_user(&stream) else { return };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        self.last_id += 1;
        let mut client = Client::new(ClientId(self.last_id), stream, user);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        client.line(&Greeting { protocol: PROTOCOL, version, pid: std::process::id() });
        if self.clients.len() >= CLIENTS_MAX {
            let message = "32 clients are connected, and there may be no more; try again later";
            client.refuse(Sysexit::TempFail, message);
            // It gets what fits into its socket at once, and takes no place from anybody.
            client.write();
            return;
        }
        self.clients.push(client);
    }

    /// Sends what waits, and forgets the clients that have gone. One that leaves gets what fits
    /// into its socket at once.
    pub(crate) fn flush(&mut self) {
        for client in &mut self.clients {
            client.write();
        }
        self.clients.retain(|client| {
            let asks = client.paused || client.awaits || client.taken < client.input.len();
            let over = client.finished && !asks && client.is_served();
            !(client.gone || client.leaving || over)
        });
    }

    /// Takes clients in again, if that had failed.
    pub(crate) fn wake(&mut self) {
        self.resting = false;
    }

    /// The client with this id, if it is still there.
    pub(crate) fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.iter_mut().find(|client| client.id == id)
    }
}
