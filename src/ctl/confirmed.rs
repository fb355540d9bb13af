//! Records through the control socket, each confirmed when it was delivered.
//!
//! Requests are sent without waiting for the confirmations of those before, which are counted as
//! they come; at the end all of them are waited for.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use memchr::memchr2_iter;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::client::{Client, ClientError};
use super::lines::{Piece, for_each_piece};
use super::{Context, CtlError};
use crate::control::protocol::{REQUEST_MAX, Reply, Request};

/// A sender that knows what was delivered.
pub(super) struct ConfirmedSender {
    client: Client,
    pipe: Option<String>,
    patience: Option<Duration>,
    sent: u64,
    confirmed: u64,
}

impl ConfirmedSender {
    pub(super) fn connect(
        context: &Context,
        pipe: Option<String>,
        patience: Option<Duration>,
    ) -> Result<Self, CtlError> {
        let client = context.connect()?;
        Ok(Self { client, pipe, patience, sent: 0, confirmed: 0 })
    }

    /// Sends each line of `input` as soon as it is there.
    pub(super) fn write_all_of(
        &mut self,
        input: &mut impl Read,
        prefix: &[u8],
    ) -> Result<(), CtlError> {
        for_each_piece(input, |piece| match piece {
            Piece::Lines(lines) => self.write_lines(prefix, lines),
            Piece::Part(_) => Err(TOO_LONG),
            Piece::Rest(rest) => self.write_lines(prefix, &[rest, b"\n"].concat()),
        })
    }

    /// Sends whole lines, each with `prefix` in front.
    pub(super) fn write_lines(&mut self, prefix: &[u8], lines: &[u8]) -> Result<(), CtlError> {
        let mut requests = Vec::new();
        let mut encoded = Ok(());
        let mut begin = 0;
        for end in memchr2_iter(b'\n', 0, lines) {
            let line = &lines[begin..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            begin = end + 1;
            if !line.is_empty() {
                encoded = self.encode([prefix, line].concat(), &mut requests);
            }
            if encoded.is_err() {
                break;
            }
        }
        self.client.set_patience(self.patience);
        let written = self.client.write_all(&requests);
        written.map_err(|cause| self.unconfirmed(cause))?;
        while self.has_answer() {
            self.hear()?;
        }
        encoded
    }

    fn encode(&mut self, record: Vec<u8>, requests: &mut Vec<u8>) -> Result<(), CtlError> {
        let (text, hex) = match String::from_utf8(record) {
            Ok(text) => (text, String::new()),
            Err(error) => (String::new(), hex(error.as_bytes())),
        };
        let request = Request::Send { pipe: self.pipe.clone(), text, hex };
        let begin = requests.len();
        serde_json::to_writer(&mut *requests, &request)
            .map_err(|error| CtlError::Stdin(error.into()))?;
        requests.push(b'\n');
        if requests.len() - begin > REQUEST_MAX {
            requests.truncate(begin);
            return Err(TOO_LONG);
        }
        self.sent += 1;
        Ok(())
    }

    /// Waits until everything that was sent is confirmed.
    pub(super) fn finish(mut self) -> Result<(), CtlError> {
        self.client.set_patience(self.patience);
        while self.confirmed < self.sent {
            self.hear()?;
        }
        Ok(())
    }

    fn has_answer(&self) -> bool {
        if self.client.has_answer() {
            return true;
        }
        let mut fds = [PollFd::new(self.client.stream().as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    fn hear(&mut self) -> Result<(), CtlError> {
        match self.client.receive() {
            Ok(Reply::Delivered { records }) => {
                self.confirmed += records;
                Ok(())
            }
            Ok(_) => Err(self.client.unexpected().into()),
            Err(cause) => Err(self.unconfirmed(cause)),
        }
    }

    fn unconfirmed(&self, cause: ClientError) -> CtlError {
        CtlError::Unconfirmed { cause, confirmed: self.confirmed, sent: self.sent }
    }
}

const TOO_LONG: CtlError = CtlError::Data(
    "too long to be confirmed: a record and its request must fit into 64 KiB; send this one without --wait",
);

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
