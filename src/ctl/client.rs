//! The connection to a running daemon.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::control::protocol::{Greeting, PROTOCOL, REPLY_MAX, Reply, Request};
use crate::exit::Sysexit;
use crate::record::without_controls;
use crate::sys::socket::connect;
use crate::sys::why;

/// How long a daemon may take to greet: one that is stopped does not.
const GREETING_PATIENCE: Duration = Duration::from_secs(5);

/// Why the daemon was not asked, or what it answered instead.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("{}: bdaemon is not running: {}; try: service bdaemon start", path.display(), why(cause))]
    NotRunning { path: PathBuf, cause: io::Error },
    #[error("{}: not permitted: those who may connect are the socket's owner and group", .0.display())]
    NotPermitted(PathBuf),
    #[error("{}: no control socket: control.enable is false in this configuration", .0.display())]
    Disabled(PathBuf),
    #[error(
        "{}: this is not bdaemon's control socket, or one of another version; after an upgrade: \
         service bdaemon restart",
        .0.display()
    )]
    Foreign(PathBuf),
    #[error("{}: bdaemon went away", .0.display())]
    Gone(PathBuf),
    #[error("{}: no answer in time", .0.display())]
    TimedOut(PathBuf),
    #[error("{}: {}", path.display(), why(cause))]
    Io { path: PathBuf, cause: io::Error },
    #[error("{message}")]
    Refused { code: Sysexit, message: String },
}

impl ClientError {
    pub(super) fn exit(&self) -> Sysexit {
        match self {
            Self::NotRunning { .. } | Self::Disabled(_) | Self::Foreign(_) | Self::Gone(_) => {
                Sysexit::Unavailable
            }
            Self::NotPermitted(_) => Sysexit::NoPerm,
            Self::TimedOut(_) => Sysexit::TempFail,
            Self::Io { .. } => Sysexit::IoErr,
            Self::Refused { code, .. } => *code,
        }
    }
}

/// A connection to a running daemon.
pub(super) struct Client {
    path: PathBuf,
    input: BufReader<UnixStream>,
    deadline: Option<Instant>,
}

impl Client {
    /// Connects, and hears the greeting.
    pub(super) fn connect(path: &Path) -> Result<Self, ClientError> {
        let owned = || path.to_owned();
        let stream = connect(path).map_err(|cause| match cause.kind() {
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted(owned()),
            _ => ClientError::NotRunning { path: owned(), cause },
        })?;
        let mut client = Self { path: owned(), input: BufReader::new(stream), deadline: None };
        client.set_patience(Some(GREETING_PATIENCE));
        let line = client.line()?;
        let greeting: Greeting =
            serde_json::from_slice(&line).map_err(|_| ClientError::Foreign(owned()))?;
        if greeting.protocol != PROTOCOL {
            return Err(ClientError::Foreign(owned()));
        }
        client.set_patience(None);
        Ok(client)
    }

    /// From now on, how long answers may take in all; none means for ever.
    pub(super) fn set_patience(&mut self, patience: Option<Duration>) {
        // One that would be after the end of time is none.
        self.deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
    }

    /// The stream, for those who write while they wait for answers.
    pub(super) fn stream(&self) -> &UnixStream {
        self.input.get_ref()
    }

    /// Whether an answer has arrived already.
    pub(super) fn has_answer(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }

    /// Asks for something.
    pub(super) fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request)
            .map_err(|error| ClientError::Io { path: self.path.clone(), cause: error.into() })?;
        line.push(b'\n');
        self.write_all(&line)
    }

    /// Writes requests that are lines already.
    pub(super) fn write_all(&mut self, lines: &[u8]) -> Result<(), ClientError> {
        let timeout = self.time_left()?;
        let stream = self.input.get_mut();
        let sent = stream.set_write_timeout(timeout).and_then(|()| stream.write_all(lines));
        sent.map_err(|cause| {
            // A daemon that has closed the connection has said why before.
            let failure = self.failed(cause);
            while let ClientError::Gone(_) = failure {
                match self.receive() {
                    Ok(_) => {}
                    Err(refusal @ ClientError::Refused { .. }) => return refusal,
                    Err(_) => break,
                }
            }
            failure
        })
    }

    /// What is left of the time; none where there is no end to it.
    fn time_left(&self) -> Result<Option<Duration>, ClientError> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ClientError::TimedOut(self.path.clone())) } else { Ok(Some(left)) }
    }

    /// The next answer; a refusal is an error. Whatever it says can be shown: it may come from
    /// something that only pretends to be the daemon.
    pub(super) fn receive(&mut self) -> Result<Reply, ClientError> {
        let line = self.line()?;
        match serde_json::from_slice(&line).map(shown).and_then(serde_json::from_value) {
            Ok(Reply::Error { code, message }) => {
                let code = Sysexit::from_number(code).unwrap_or(Sysexit::IoErr);
                Err(ClientError::Refused { code, message })
            }
            Ok(reply) => Ok(reply),
            Err(_) => Err(ClientError::Foreign(self.path.clone())),
        }
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Reply, ClientError> {
        self.send(request)?;
        self.receive()
    }

    /// Asks for something that is done or refused.
    pub(super) fn have_done(&mut self, request: &Request) -> Result<(), ClientError> {
        match self.ask(request)? {
            Reply::Done {} => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    /// Waits until the daemon has closed the connection: it ends by ending.
    pub(super) fn wait_for_end(&mut self) -> Result<(), ClientError> {
        loop {
            match self.line() {
                Ok(_) => {}
                Err(ClientError::Gone(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// What an answer that belongs to another request means.
    pub(super) fn unexpected(&self) -> ClientError {
        ClientError::Foreign(self.path.clone())
    }

    fn line(&mut self) -> Result<Vec<u8>, ClientError> {
        let timeout = if self.has_answer() { None } else { self.time_left()? };
        let path = self.path.clone();
        let set = self.input.get_ref().set_read_timeout(timeout);
        set.map_err(|cause| ClientError::Io { path: path.clone(), cause })?;
        let mut line = Vec::new();
        match self.input.by_ref().take(REPLY_MAX).read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => Ok(line),
            Ok(length) if length as u64 == REPLY_MAX => Err(ClientError::Foreign(path)),
            Ok(_) => Err(ClientError::Gone(path)),
            Err(cause) => Err(self.failed(cause)),
        }
    }

    fn failed(&self, cause: io::Error) -> ClientError {
        let path = self.path.clone();
        match cause.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::TimedOut(path),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ClientError::Gone(path),
            _ => ClientError::Io { path, cause },
        }
    }
}

/// A value with texts that move no cursor and end no line.
fn shown(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_controls(text)),
        Value::Array(values) => values.into_iter().map(shown).collect(),
        Value::Object(values) => {
            values.into_iter().map(|(key, value)| (key, shown(value))).collect()
        }
        other => other,
    }
}
