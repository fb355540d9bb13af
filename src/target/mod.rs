//! Targets: where messages go.
//!
//! A target delivers what it can at once and says what it is waiting for. When to try again, what
//! to do meanwhile and what to tell the administrator is its caller's affair.

mod datagram;
mod file;
mod stderr;
mod stream;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::PollFlags;

use crate::batch::Batch;
use crate::config::{self, Address, FileMode, Sync};
use crate::sys::account::Identity;
use crate::sys::{self, why};

/// How far a delivery came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The batch is empty.
    Done,
    /// The target takes no more just now.
    Later(Wait),
}

/// What a reopening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reopened {
    /// What was open before.
    Same,
    /// Something else, which has nothing of a message that the old one had taken in part.
    Other,
}

/// What a busy target waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// poll(2) will say when it can take more.
    Ready,
    /// poll(2) cannot tell: some time.
    Time(Duration),
    /// poll(2) will say when it has been reached.
    Reached,
}

/// A target that is away: the file cannot be written, nobody listens on the socket.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", why(cause))]
pub(crate) struct TargetError {
    what: &'static str,
    cause: io::Error,
}

impl TargetError {
    /// Says what failed, to be used with `map_err`.
    pub(crate) fn during<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Self {
        move |cause| Self { what, cause: cause.into() }
    }
}

/// Where messages go.
pub(crate) trait Target {
    /// Delivers from the front of the batch as much as can be without waiting, and notes it there.
    fn deliver(&mut self, batch: &mut Batch) -> Result<Delivery, TargetError>;

    /// Opens it anew, as after a rotation. On an error the old one stays in use, where there is
    /// one.
    fn reopen(&mut self) -> Result<Reopened, TargetError>;

    /// How long it has to stay open for what was delivered to reach its receiver.
    fn linger(&self) -> Duration {
        Duration::ZERO
    }

    /// Takes the settings of another destination at the same place.
    fn configure(&mut self, _destination: &Destination) {}

    /// Looks, once a poll interval, whether what is open is still what the name means.
    fn look_after(&mut self) -> Result<(), TargetError> {
        Ok(())
    }

    /// How many bytes are formatted before they are delivered; a message may exceed it by its own
    /// length.
    fn portion(&self) -> usize {
        128 << 10
    }

    /// How often it was opened again since the start.
    fn reconnects(&self) -> u64 {
        0
    }

    /// What to watch with poll(2) while `waiting` says that [`Wait::Ready`] was the last answer.
    fn interest(&self, waiting: bool) -> Option<(BorrowedFd<'_>, PollFlags)>;

    /// Undoes what opening it made, when the start-up fails.
    fn discard(&mut self) {}
}

/// What is opened: pipes that name the same one share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Socket(Address),
    File { path: PathBuf, mode: FileMode, sync: Sync },
    Stderr,
}

impl From<&config::Target> for Destination {
    fn from(target: &config::Target) -> Self {
        match target {
            config::Target::Syslog { address, .. } => Self::Socket(address.clone()),
            config::Target::File { path, mode, sync, .. } => {
                Self::File { path: path.clone(), mode: *mode, sync: *sync }
            }
            config::Target::Stderr => Self::Stderr,
        }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::File { path, .. } => write!(f, "file:{}", path.display()),
            Self::Stderr => f.write_str("stderr"),
        }
    }
}

impl Destination {
    /// Whether both mean one file or socket, be it with other settings.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { path: one, .. }, Self::File { path: two, .. }) => one == two,
            _ => self == other,
        }
    }

    /// What to do when it cannot be opened, as far as that can be seen: words to put behind the
    /// error, or nothing.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::File { path, .. } => sys::remedy(path),
            Self::Socket(Address::Unix(_)) => "; is syslogd running, and does it listen there?",
            Self::Socket(_) | Self::Stderr => "",
        }
    }

    /// Opens it. A log file that is made is given to `owner`, who will have to open it again.
    pub(crate) fn open(&self, owner: Option<&Identity>) -> Result<Box<dyn Target>, TargetError> {
        Ok(match self {
            Self::Socket(Address::Unix(path)) => Box::new(datagram::Datagrams::local(path)?),
            Self::Socket(Address::Udp { host, port }) => {
                Box::new(datagram::Datagrams::udp(host, *port)?)
            }
            Self::Socket(Address::Tcp { host, port }) => {
                Box::new(stream::Stream::open(host, *port)?)
            }
            Self::File { path, mode, sync } => {
                Box::new(file::LogFile::open(path, *mode, *sync, owner)?)
            }
            Self::Stderr => Box::new(stderr::Stderr::open()),
        })
    }
}

/// The addresses of a host. Looking a name up may take seconds, in which nothing else is done:
/// it happens when a target is opened and not again.
fn resolve(host: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, TargetError> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = std::net::ToSocketAddrs::to_socket_addrs(&(host, port));
    Ok(found.map_err(TargetError::during("looking up the host"))?.collect())
}
