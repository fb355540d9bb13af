//! Syslog over datagrams: the local socket of syslogd(8), or UDP after RFC 5426. One message is
//! one datagram.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, MultiHeaders, getsockopt, sendmmsg, setsockopt, sockopt};
use nix::sys::stat;

use super::{Delivery, Reopened, Target, TargetError, Wait, resolve};
use crate::batch::Batch;
use crate::sys::entry::FileId;

/// How many messages one system call takes, at most: a few more than a local queue has room for, as
/// what it does not take was prepared in vain.
const GROUP: usize = 16;

/// How much the system is asked to hold of what syslogd has not read; all of it counts as delivered
/// and is lost if syslogd dies. The longest message must fit, with the sender's groups that FreeBSD
/// adds where syslogd asks for them: one that does not is refused like one that comes too early, for
/// ever. Linux calls the socket writable when three quarters of it are free, and not at every
/// message that is read: a larger one costs a wake-up for each.
const LOCAL_SEND_BUFFER: usize = 12 << 10;

/// A receiver that is faster than this side has room again by the next try. One that made room for
/// fewer messages than this since the last is waited for, as a try at once would find even less.
const WORTHWHILE: usize = 4;

/// What every receiver of syslog takes, RFC 5424 section 6.1: a socket that refuses even this as
/// too large refuses everything.
const MESSAGE_MIN: usize = 480;

/// How soon a receiver that is behind is tried again at first, and at the latest. FreeBSD says
/// ENOBUFS when the receiver has about fifty messages waiting, and poll(2) there calls the socket
/// writable all the same.
const BEHIND_FIRST: Duration = Duration::from_millis(1);
const BEHIND_MOST: Duration = Duration::from_millis(50);

/// How long a local socket stays open after the last message. FreeBSD holds at the sender what
/// syslogd has not read, and when the sender closes it throws that away if messages of another
/// sender that has gone are still unread.
const LINGER: Duration = Duration::from_millis(100);

/// How long a collector that has refused messages has to refuse the next one: its answer comes
/// from another machine, after the message was sent.
const REFUSAL_TIME: Duration = Duration::from_millis(200);

#[derive(Debug)]
enum Peer {
    Local(PathBuf),
    Udp(Vec<SocketAddr>),
}

/// A connected datagram socket.
pub(super) struct Datagrams {
    peer: Peer,
    socket: Option<Connection>,
    headers: MultiHeaders<()>,
    behind: Duration,
    /// How often it was connected.
    connected: u64,
    trust: Trust,
}

/// Whether what is sent by UDP finds somebody. Where nobody listens, the system takes a message
/// all the same, and says of it with the next one that it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Nothing was refused.
    Full,
    /// A message was refused: the next one is waited for.
    None,
    /// The first message of the batch has gone, and counts unless it is refused as well.
    Tried,
}

struct Connection {
    socket: OwnedFd,
    /// What stood at the path when it was connected.
    peer: Option<FileId>,
}

impl Datagrams {
    pub(super) fn local(path: &Path) -> Result<Self, TargetError> {
        Self::open(Peer::Local(path.to_owned()))
    }

    pub(super) fn udp(host: &str, port: u16) -> Result<Self, TargetError> {
        Self::open(Peer::Udp(resolve(host, port)?))
    }

    fn open(peer: Peer) -> Result<Self, TargetError> {
        let socket = Connection::open_if_it_goes(&peer)?;
        let connected = u64::from(socket.is_some());
        Ok(Self {
            peer,
            socket,
            headers: MultiHeaders::preallocate(GROUP, None),
            behind: BEHIND_FIRST,
            connected,
            trust: Trust::Full,
        })
    }

    /// What tells that the receiver has room again.
    fn room(&self) -> Wait {
        if cfg!(target_os = "linux") { Wait::Ready } else { Wait::Time(self.behind) }
    }

    /// Counts the message that was tried, unless it was refused.
    fn settle(&mut self, batch: &mut Batch) -> Result<(), TargetError> {
        let Some(connection) = &self.socket else { return Ok(()) };
        let refusal = getsockopt(&connection.socket, sockopt::SocketError)
            .map_err(TargetError::during("send"))?;
        if refusal != 0 {
            return Err(TargetError::during("send")(Errno::from_raw(refusal)));
        }
        batch.advance_messages(1);
        self.trust = Trust::Full;
        Ok(())
    }

    /// Whether the local socket that stands at the path is the one that it is connected to.
    fn leads_to_what_is_there(&self) -> bool {
        let (Peer::Local(path), Some(connection)) = (&self.peer, &self.socket) else {
            return false;
        };
        let there = stat::stat(path).ok().map(|stat| FileId::of(&stat));
        there.is_some() && there == connection.peer
    }

    /// Sends the first messages of the batch.
    fn send(&mut self, batch: &Batch) -> Result<Sent, Failure> {
        let group = match &self.peer {
            Peer::Local(_) => GROUP,
            // Of several, the first refusal would be kept from us: the system says how many went.
            Peer::Udp(_) => 1,
        };
        let connection = match &self.socket {
            Some(connection) => connection,
            None => {
                let connection = Connection::open(&self.peer).map_err(Failure::Away)?;
                self.connected += 1;
                self.socket.insert(connection)
            }
        };
        let messages: Vec<[IoSlice<'_>; 1]> =
            batch.messages().take(group).map(|m| [IoSlice::new(m)]).collect();
        let addresses = [None; GROUP];
        let fd = connection.socket.as_raw_fd();
        let sent =
            sendmmsg(fd, &mut self.headers, &messages, addresses, [], MsgFlags::MSG_DONTWAIT);
        match sent {
            Ok(results) => Ok(Sent { count: results.count(), offered: messages.len() }),
            Err(Errno::EAGAIN | Errno::EINTR) => Err(Failure::Behind(Wait::Ready)),
            Err(Errno::ENOBUFS) => Err(Failure::Behind(Wait::Time(self.behind))),
            Err(Errno::EMSGSIZE) => Err(Failure::TooLong(messages[0][0].len())),
            Err(Errno::ECONNREFUSED) if matches!(self.peer, Peer::Udp(_)) => {
                Err(Failure::Refused(TargetError::during("send")(Errno::ECONNREFUSED)))
            }
            Err(errno) => Err(Failure::Away(TargetError::during("send")(errno))),
        }
    }
}

/// How many messages were sent, at least one, of how many.
struct Sent {
    count: usize,
    offered: usize,
}

/// Why nothing was sent.
enum Failure {
    /// What was sent before found nobody.
    Refused(TargetError),
    Behind(Wait),
    TooLong(usize),
    Away(TargetError),
}

impl Target for Datagrams {
    fn deliver(&mut self, batch: &mut Batch) -> Result<Delivery, TargetError> {
        // When syslogd restarts, the first that is seen of it is an error on the old socket.
        let mut may_reconnect = self.socket.is_some();
        if self.trust == Trust::Tried {
            self.trust = Trust::None;
            self.settle(batch)?;
        }
        while !batch.is_empty() {
            match self.send(batch) {
                Ok(_) if self.trust == Trust::None => {
                    self.trust = Trust::Tried;
                    return Ok(Delivery::Later(Wait::Time(REFUSAL_TIME)));
                }
                Ok(Sent { count, offered }) => {
                    batch.advance_messages(count);
                    self.behind = BEHIND_FIRST;
                    if count < offered && count < WORTHWHILE {
                        return Ok(Delivery::Later(self.room()));
                    }
                }
                Err(Failure::Behind(wait)) => {
                    self.behind = (self.behind * 2).min(BEHIND_MOST);
                    return Ok(Delivery::Later(wait));
                }
                Err(Failure::TooLong(length)) if length > MESSAGE_MIN => {
                    batch.split_over((length / 2).max(MESSAGE_MIN));
                }
                Err(Failure::TooLong(_)) => {
                    return Err(TargetError::during("send")(Errno::EMSGSIZE));
                }
                Err(Failure::Refused(error)) => {
                    self.trust = Trust::None;
                    return Err(error);
                }
                Err(Failure::Away(error)) => {
                    self.socket = None;
                    if !std::mem::take(&mut may_reconnect) {
                        return Err(error);
                    }
                }
            }
        }
        Ok(Delivery::Done)
    }

    fn reopen(&mut self) -> Result<Reopened, TargetError> {
        // What waits in a socket that still leads to syslogd would be overtaken there by what goes
        // through another, and on FreeBSD may be lost when it is closed.
        if self.leads_to_what_is_there() {
            return Ok(Reopened::Same);
        }
        self.socket = Connection::open_if_it_goes(&self.peer)?;
        self.connected += u64::from(self.socket.is_some());
        if self.trust == Trust::Tried {
            // What the old socket was told is not known to this one.
            self.trust = Trust::None;
        }
        // A datagram is never taken in part.
        Ok(Reopened::Same)
    }

    fn look_after(&mut self) -> Result<(), TargetError> {
        // Where nothing is at the path, syslogd may still listen to the old socket.
        if matches!(&self.peer, Peer::Local(path) if path.exists()) && self.socket.is_some() {
            self.reopen()?;
        }
        Ok(())
    }

    fn linger(&self) -> Duration {
        match &self.peer {
            Peer::Local(_) if cfg!(target_os = "freebsd") => LINGER,
            _ => Duration::ZERO,
        }
    }

    /// Small, so that syslogd reads messages while the next are formatted, and its queue is found
    /// full less often.
    fn portion(&self) -> usize {
        4 << 10
    }

    fn reconnects(&self) -> u64 {
        self.connected.saturating_sub(1)
    }

    fn interest(&self, waiting: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let connection = self.socket.as_ref().filter(|_| waiting)?;
        Some((connection.socket.as_fd(), PollFlags::POLLOUT))
    }
}

impl Connection {
    /// A syslogd that is not there is an error. So is no network to a collector, but only when there
    /// is something to send: it may come up later than this daemon.
    fn open_if_it_goes(peer: &Peer) -> Result<Option<Self>, TargetError> {
        match (Self::open(peer), peer) {
            (Err(_), Peer::Udp(_)) => Ok(None),
            (opened, _) => opened.map(Some),
        }
    }

    fn open(peer: &Peer) -> Result<Self, TargetError> {
        match peer {
            Peer::Local(path) => {
                let socket = UnixDatagram::unbound().map_err(TargetError::during("socket"))?;
                setsockopt(&socket, sockopt::SndBuf, &LOCAL_SEND_BUFFER)
                    .map_err(TargetError::during("setting the send buffer"))?;
                socket.connect(path).map_err(TargetError::during("connect"))?;
                let peer = stat::stat(path).ok().map(|stat| FileId::of(&stat));
                Ok(Self { socket: socket.into(), peer })
            }
            Peer::Udp(addresses) => {
                let socket =
                    first_that_connects(addresses).map_err(TargetError::during("connect"))?;
                Ok(Self { socket: socket.into(), peer: None })
            }
        }
    }
}

fn first_that_connects(addresses: &[SocketAddr]) -> io::Result<UdpSocket> {
    let mut last = Errno::EADDRNOTAVAIL.into();
    for address in addresses {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let connected =
            UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(address).map(|()| socket));
        match connected {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CONTINUED, CONTINUES};

    #[test]
    fn the_system_holds_little_of_what_syslogd_has_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let _syslogd = UnixDatagram::bind(&path).unwrap();
        let connection = Connection::open(&Peer::Local(path)).unwrap();
        let size = getsockopt(&connection.socket, sockopt::SndBuf).unwrap();
        // Linux takes twice of what is asked for.
        assert!((LOCAL_SEND_BUFFER..=2 * LOCAL_SEND_BUFFER).contains(&size), "{size}");
    }

    #[test]
    fn a_socket_that_still_leads_to_syslogd_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let _old = UnixDatagram::bind(&path).unwrap();
        let mut target = Datagrams::local(&path).unwrap();
        target.reopen().unwrap();
        target.look_after().unwrap();
        assert_eq!(target.reconnects(), 0);
        std::fs::rename(&path, directory.path().join("old")).unwrap();
        target.look_after().unwrap();
        assert_eq!(target.reconnects(), 0, "nothing is there to connect to");
        let new = UnixDatagram::bind(&path).unwrap();
        target.look_after().unwrap();
        assert_eq!(target.reconnects(), 1);
        target.reopen().unwrap();
        assert_eq!(target.reconnects(), 1);
        let mut batch = Batch::default();
        batch.push(true, |bytes| {
            bytes.extend_from_slice(b"<14>text");
            4
        });
        target.deliver(&mut batch).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(new.recv(&mut buffer).unwrap(), 8);
    }

    #[test]
    fn a_message_that_the_socket_finds_too_long_goes_in_parts() {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        // No message may be longer than what the sender holds: on Linux, which takes twice of what
        // is asked for, a bit over 4 KiB.
        setsockopt(&sender, sockopt::SndBuf, &2048).unwrap();
        let mut target = Datagrams {
            peer: Peer::Udp(Vec::new()),
            socket: Some(Connection { socket: sender.into(), peer: None }),
            headers: MultiHeaders::preallocate(GROUP, None),
            behind: BEHIND_FIRST,
            connected: 1,
            trust: Trust::Full,
        };
        let text: String = ('a'..='z').cycle().take(8000).collect();
        let mut batch = Batch::default();
        for text in [text.as_str(), "short"] {
            batch.push(true, |bytes| {
                bytes.extend_from_slice(b"<14>");
                bytes.extend_from_slice(text.as_bytes());
                4
            });
        }
        receiver.set_nonblocking(true).unwrap();
        let mut texts = Vec::new();
        let mut buffer = [0; 9000];
        while !batch.is_empty() {
            target.deliver(&mut batch).unwrap();
            while let Ok(length) = receiver.recv(&mut buffer) {
                let message = std::str::from_utf8(&buffer[..length]).unwrap();
                texts.push(message.strip_prefix("<14>").unwrap().to_owned());
            }
        }
        assert_eq!(batch.take_delivered(), 2, "parts of a record count once");
        assert_eq!(texts.pop().unwrap(), "short");
        assert!(texts.len() > 1);
        let last = texts.len() - 1;
        let parts = texts.iter().enumerate().map(|(number, text)| {
            let text =
                if number > 0 { text.strip_prefix(CONTINUED).unwrap() } else { text.as_str() };
            if number < last { text.strip_suffix(CONTINUES).unwrap() } else { text }
        });
        assert_eq!(parts.collect::<String>(), text);
    }
}
