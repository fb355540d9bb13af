//! Syslog over TCP with octet counting, RFC 6587 section 3.4.1.
//!
//! A message counts as delivered when the kernel took the whole of it. What was then still on its
//! way when the collector died is lost: TCP does not say what the other side has read. A message
//! that had been taken in part is sent again whole on the next connection.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, sockopt};

use super::{Delivery, Reopened, Target, TargetError, Wait, resolve};
use crate::batch::Batch;

/// How much is prepared for one write(2).
const STAGE_SIZE: usize = 64 << 10;

/// How much this side's kernel is asked to hold of what the collector's has not taken. Left to
/// itself it grows to some MiB, all of which counts as delivered and is lost with the connection.
const SEND_BUFFER: usize = 64 << 10;

/// A connection to a collector.
pub(super) struct Stream {
    addresses: Vec<SocketAddr>,
    /// The index of the address to try next.
    next: usize,
    state: State,
    stage: Stage,
    /// How often a connection was made.
    connected: u64,
}

enum State {
    Closed,
    /// connect(2) is under way.
    Connecting(TcpStream),
    Open(TcpStream),
}

/// Messages with their lengths in front, ready to be written.
#[derive(Default)]
struct Stage {
    bytes: Vec<u8>,
    written: usize,
    /// Where each staged message ends in `bytes`.
    ends: VecDeque<usize>,
}

impl Stage {
    fn fill(&mut self, batch: &Batch) {
        self.clear();
        for message in batch.messages() {
            // A Vec takes all that is written to it.
            let _ = write!(self.bytes, "{} ", message.len());
            self.bytes.extend_from_slice(message);
            self.ends.push_back(self.bytes.len());
            if self.bytes.len() >= STAGE_SIZE {
                break;
            }
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.written = 0;
    }

    /// Notes what was written and says how many messages that completed.
    fn advance(&mut self, count: usize) -> usize {
        self.written += count;
        let complete = self.ends.iter().take_while(|end| **end <= self.written).count();
        self.ends.drain(..complete);
        complete
    }
}

impl Stream {
    /// Looks the host up, and connects when there is something to send. A collector that is away is
    /// no reason not to start: it may be another machine, and its messages wait.
    pub(super) fn open(host: &str, port: u16) -> Result<Self, TargetError> {
        let addresses = resolve(host, port)?;
        Ok(Self { addresses, next: 0, state: State::Closed, stage: Stage::default(), connected: 0 })
    }

    fn connect(&mut self) -> Result<(), TargetError> {
        let error = TargetError::during::<Errno>("connect");
        let address = *self.addresses.get(self.next).ok_or_else(|| error(Errno::EADDRNOTAVAIL))?;
        self.next = (self.next + 1) % self.addresses.len();
        let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(family, SockType::Stream, flags, None)
            .map_err(TargetError::during("socket"))?;
        socket::setsockopt(&fd, sockopt::SndBuf, &SEND_BUFFER)
            .map_err(TargetError::during("setting the send buffer"))?;
        self.state = match socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
            Ok(()) => {
                self.connected += 1;
                State::Open(fd.into())
            }
            Err(Errno::EINPROGRESS | Errno::EINTR) => State::Connecting(fd.into()),
            Err(errno) => return Err(error(errno)),
        };
        Ok(())
    }

    /// Gets to an open connection, or says what to wait for.
    fn connection(&mut self) -> Result<Option<&mut TcpStream>, TargetError> {
        if let State::Closed = self.state {
            self.connect()?;
        }
        if let State::Connecting(stream) = &self.state {
            match socket::getsockopt(stream, sockopt::SocketError) {
                Ok(0) => {}
                Ok(raw) => return Err(TargetError::during("connect")(Errno::from_raw(raw))),
                Err(errno) => return Err(TargetError::during("connect")(errno)),
            }
            if stream.peer_addr().is_err() {
                return Ok(None);
            }
            if let State::Connecting(stream) = std::mem::replace(&mut self.state, State::Closed) {
                self.state = State::Open(stream);
                self.connected += 1;
            }
        }
        match &mut self.state {
            State::Open(stream) => Ok(Some(stream)),
            State::Connecting(_) | State::Closed => Ok(None),
        }
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.stage.clear();
    }

    fn try_deliver(&mut self, batch: &mut Batch) -> Result<Delivery, TargetError> {
        self.notice_closing()?;
        if self.connection()?.is_none() {
            return Ok(Delivery::Later(Wait::Reached));
        }
        while !batch.is_empty() {
            if self.stage.ends.is_empty() {
                self.stage.fill(batch);
            }
            let State::Open(stream) = &mut self.state else {
                return Ok(Delivery::Later(Wait::Ready));
            };
            match stream.write(&self.stage.bytes[self.stage.written..]) {
                Ok(count) => batch.advance_messages(self.stage.advance(count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Delivery::Later(Wait::Ready));
                }
                Err(error) => return Err(TargetError::during("send")(error)),
            }
        }
        Ok(Delivery::Done)
    }

    /// A collector has nothing to say, so that what there is to read is its end. Seen early, less
    /// is written to nobody. One that talks all the same is read once at a time, and ignored.
    fn notice_closing(&mut self) -> Result<(), TargetError> {
        let State::Open(stream) = &mut self.state else { return Ok(()) };
        match stream.read(&mut [0; 4096]) {
            Ok(0) => Err(TargetError::during("connection")(Errno::ECONNRESET)),
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Ok(()),
                _ => Err(TargetError::during("connection")(error)),
            },
        }
    }
}

impl Target for Stream {
    fn deliver(&mut self, batch: &mut Batch) -> Result<Delivery, TargetError> {
        let delivery = self.try_deliver(batch);
        if delivery.is_err() {
            self.close();
        }
        delivery
    }

    fn reopen(&mut self) -> Result<Reopened, TargetError> {
        // A connection in use is as good as a new one, and closing it could lose what is on its
        // way.
        Ok(Reopened::Same)
    }

    fn reconnects(&self) -> u64 {
        self.connected.saturating_sub(1)
    }

    fn interest(&self, waiting: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match &self.state {
            State::Closed => None,
            State::Connecting(stream) => Some((stream.as_fd(), PollFlags::POLLOUT)),
            State::Open(stream) => {
                let out = if waiting { PollFlags::POLLOUT } else { PollFlags::empty() };
                Some((stream.as_fd(), PollFlags::POLLIN | out))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;

    const MESSAGES: usize = 300;
    const DEADLINE: Duration = Duration::from_secs(90);

    fn message(number: usize) -> String {
        format!("{number:01000}")
    }

    /// Delivers until the answer is as wanted.
    fn deliver_until(
        target: &mut Stream,
        batch: &mut Batch,
        wanted: impl Fn(&Stream, &Result<Delivery, TargetError>) -> bool,
    ) {
        let give_up = Instant::now() + DEADLINE;
        loop {
            let delivery = target.deliver(batch);
            if wanted(target, &delivery) {
                return;
            }
            assert!(Instant::now() < give_up, "in vain: {delivery:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_message_taken_in_part_is_sent_whole_on_the_next_connection() {
        let collector = TcpListener::bind("127.0.0.1:0").unwrap();
        setsockopt(&collector, sockopt::RcvBuf, &4096).unwrap();
        let port = collector.local_addr().unwrap().port();
        let mut target = Stream::open("127.0.0.1", port).unwrap();
        deliver_until(&mut target, &mut Batch::default(), |target, _| {
            matches!(target.state, State::Open(_))
        });
        let State::Open(stream) = &target.state else { unreachable!() };
        // Far less than what is written at a time, and no multiple of a message.
        setsockopt(stream, sockopt::SndBuf, &4096).unwrap();
        let mut batch = Batch::default();
        for number in 0..MESSAGES {
            batch.push(true, |bytes| {
                bytes.extend_from_slice(message(number).as_bytes());
                0
            });
        }
        let first = collector.accept().unwrap().0;
        deliver_until(&mut target, &mut batch, |target, delivery| {
            target.stage.written > 0 && matches!(delivery, Ok(Delivery::Later(Wait::Ready)))
        });
        let delivered = usize::try_from(batch.take_delivered()).unwrap();
        assert!(delivered < MESSAGES);
        drop(first);
        deliver_until(&mut target, &mut batch, |_, delivery| delivery.is_err());
        let reader = std::thread::spawn(move || {
            let mut received = String::new();
            collector.accept().unwrap().0.read_to_string(&mut received).unwrap();
            received
        });
        deliver_until(&mut target, &mut batch, |_, delivery| {
            matches!(delivery, Ok(Delivery::Done))
        });
        drop(target);
        let expected: String =
            (delivered..MESSAGES).map(|n| "1000 ".to_owned() + &message(n)).collect();
        assert!(
            reader.join().unwrap() == expected,
            "each whole, from the first that was not taken"
        );
    }
}
