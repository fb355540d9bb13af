//! Standard error, for a daemon in the foreground.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::libc::PIPE_BUF;
use nix::poll::PollFlags;

use super::{Delivery, Reopened, Target, TargetError, Wait};
use crate::batch::Batch;
use crate::sys::takes_now;

/// Standard error. The descriptor is shared with whoever started the daemon, so that it is not
/// made non-blocking; instead, no more is written than poll(2) says it takes.
#[derive(Debug)]
pub(super) struct Stderr(io::Stderr);

impl Stderr {
    pub(super) fn open() -> Self {
        Self(io::stderr())
    }
}

impl Target for Stderr {
    fn deliver(&mut self, batch: &mut Batch) -> Result<Delivery, TargetError> {
        let Self(stderr) = self;
        while !batch.is_empty() {
            if !takes_now(&*stderr).map_err(TargetError::during("poll"))? {
                return Ok(Delivery::Later(Wait::Ready));
            }
            let unsent = batch.unsent();
            match stderr.write(&unsent[..unsent.len().min(PIPE_BUF)]) {
                Ok(count) => batch.advance_bytes(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Delivery::Later(Wait::Ready));
                }
                Err(error) => return Err(TargetError::during("write")(error)),
            }
        }
        Ok(Delivery::Done)
    }

    fn reopen(&mut self) -> Result<Reopened, TargetError> {
        Ok(Reopened::Same)
    }

    fn interest(&self, waiting: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        waiting.then(|| (self.0.as_fd(), PollFlags::POLLOUT))
    }
}
