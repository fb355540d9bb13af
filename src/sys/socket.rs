//! Listening on a local stream socket, and knowing who connects.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::libc::mode_t;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid};

use super::entry::{self, Entry, FileId};

/// Connects to whoever listens at the path.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    insist(|| UnixStream::connect(path))
}

/// Whether somebody listens at the path. Does not wait to be accepted.
fn is_served(path: &Path) -> io::Result<bool> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new(path)?;
    match insist(|| Ok(socket::connect(probe.as_raw_fd(), &address)?)) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Ok(true),
            io::ErrorKind::ConnectionRefused => Ok(false),
            _ => Err(error),
        },
    }
}

/// Where many wait to be accepted, FreeBSD refuses a connection as if nobody listened: only a
/// refusal that is repeated counts there.
fn insist<T>(connect: impl Fn() -> io::Result<T>) -> io::Result<T> {
    const TRIES: u32 = if cfg!(target_os = "linux") { 1 } else { 5 };
    const PAUSE: Duration = Duration::from_millis(50);
    let mut tries = 1;
    loop {
        match connect() {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && tries < TRIES => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("is {0}, not a socket; move it away or configure another path")]
    NotASocket(&'static str),
    #[error("is served by another daemon; stop that one or configure another path")]
    Served,
    #[error("{during}: {}", super::why(cause))]
    Io { during: &'static str, cause: io::Error },
}

impl ListenError {
    fn during<E: Into<io::Error>>(during: &'static str) -> impl Fn(E) -> Self {
        move |cause| Self::Io { during, cause: cause.into() }
    }
}

/// A socket that is listened on, and its name.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: UnixListener,
    id: FileId,
    entry: Entry,
}

impl Listener {
    /// Makes the socket with exactly this owner and mode. One that a crash left is replaced; one
    /// that somebody serves is not, and neither is anything that is no socket.
    pub(crate) fn bind(
        path: &Path,
        mode: mode_t,
        owner: (Option<Uid>, Option<Gid>),
    ) -> Result<Self, ListenError> {
        let entry = Entry::at(path).map_err(ListenError::during("open its directory"))?;
        if let Some(stat) = entry.stat().map_err(ListenError::during("stat"))? {
            if !entry::is_socket(&stat) {
                return Err(ListenError::NotASocket(entry::kind(&stat)));
            }
            if entry.by_path(is_served).map_err(ListenError::during("connect"))? {
                return Err(ListenError::Served);
            }
            entry.unlink_if(FileId::of(&stat)).map_err(ListenError::during("unlink"))?;
        }
        // The umask gives the exact mode: a chmod(2) of the name could be led astray by whoever
        // owns the directory.
        let before = umask(Mode::from_bits_truncate(!mode & 0o777));
        let socket = entry.by_path(|path| UnixListener::bind(path));
        umask(before);
        let socket = socket.map_err(ListenError::during("bind"))?;
        Self::finish(socket, entry, owner)
    }

    fn finish(
        socket: UnixListener,
        entry: Entry,
        (uid, gid): (Option<Uid>, Option<Gid>),
    ) -> Result<Self, ListenError> {
        let ready = entry
            .set_socket_owner(uid, gid)
            .and_then(|()| socket.set_nonblocking(true))
            .and_then(|()| entry.stat());
        match ready {
            Ok(Some(stat)) => Ok(Self { socket, id: FileId::of(&stat), entry }),
            outcome => {
                // Only the first error is worth telling.
                let _ = entry.unlink();
                let cause = outcome.err().unwrap_or_else(|| io::ErrorKind::NotFound.into());
                Err(ListenError::during("set its owner")(cause))
            }
        }
    }

    /// Whether the path still leads here.
    pub(crate) fn is_in_place(&self) -> io::Result<bool> {
        let there = Entry::at(self.entry.path())?.stat()?;
        Ok(there.is_some_and(|stat| FileId::of(&stat) == self.id))
    }

    /// Takes the name away.
    pub(crate) fn unlink(&self) -> io::Result<()> {
        self.entry.unlink_if(self.id)
    }
}

/// The user at the other end: as the kernel noted it when the connection was made.
pub(crate) fn peer_user(stream: &UnixStream) -> nix::Result<Uid> {
    #[cfg(target_os = "linux")]
    let user = {
        use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
        getsockopt(stream, PeerCredentials).map(|peer| Uid::from_raw(peer.uid()))
    };
    #[cfg(not(target_os = "linux"))]
    let user = nix::unistd::getpeereid(stream).map(|(uid, _)| uid);
    user
}
