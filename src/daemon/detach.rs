//! Leaving the terminal, and telling whoever started the daemon how that went.
//!
//! The parent waits until the daemon reads its pipes, or has said why it cannot: its exit code is
//! the truth about the start.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};

use daemonize::{Daemonize, Outcome, Stdio};

use super::{PROGRAM, StartError};
use crate::cli::complain;
use crate::exit::Sysexit;

/// Where the start-up reports how it went.
pub(super) enum Starter {
    /// The process that was started is the daemon.
    Foreground,
    /// The process that was started waits.
    Parent(PipeWriter),
}

/// The first byte of what the parent is told.
const READY: u8 = 0;

/// Which of the processes this is.
pub(super) enum Side {
    /// The one that is to be the daemon.
    Daemon(Starter),
    /// The one that was started, with the code that it is to exit with.
    Parent(Sysexit),
    /// The one in which leaving the terminal failed.
    Failed(Starter, StartError),
}

/// Forks twice, starts a session, goes to `/` and lets go of the standard streams, but for
/// standard error where that is a target.
pub(super) fn detach(keep_stderr: bool) -> Side {
    let (reader, writer) = match pipe() {
        Ok(ends) => ends,
        Err(error) => return Side::Failed(Starter::Foreground, StartError::os("pipe")(error)),
    };
    let stderr = if keep_stderr { Stdio::keep() } else { Stdio::devnull() };
    match Daemonize::new().umask(0o077).stderr(stderr).execute() {
        Outcome::Parent(Ok(_)) => {
            // The daemon's copy is the only one left: its end is seen here.
            drop(writer);
            Side::Parent(wait(reader))
        }
        Outcome::Parent(Err(error)) => {
            Side::Failed(Starter::Foreground, StartError::Detach(error.to_string()))
        }
        Outcome::Child(Ok(_)) => Side::Daemon(Starter::Parent(writer)),
        Outcome::Child(Err(error)) => {
            Side::Failed(Starter::Parent(writer), StartError::Detach(error.to_string()))
        }
    }
}

/// Waits for the daemon's word.
fn wait(mut reader: PipeReader) -> Sysexit {
    let mut word = Vec::new();
    let read = reader.read_to_end(&mut word);
    match (read, word.split_first()) {
        (Ok(_), Some((&READY, _))) => Sysexit::Ok,
        (Ok(_), Some((code, why))) => {
            complain(PROGRAM, String::from_utf8_lossy(why));
            Sysexit::from_number(*code).unwrap_or(Sysexit::OsErr)
        }
        _ => {
            complain(PROGRAM, "the daemon ended while it was starting, without a word");
            Sysexit::OsErr
        }
    }
}

impl Starter {
    /// Says that the daemon is reading.
    pub(super) fn ready(self) {
        if let Self::Parent(mut writer) = self {
            // A parent that was killed does not care any more.
            let _ = writer.write_all(&[READY]);
        }
    }

    /// Says why the daemon does not start.
    pub(super) fn failed(self, error: &StartError) {
        match self {
            Self::Foreground => complain(PROGRAM, error),
            Self::Parent(mut writer) => {
                let mut word = vec![error.exit() as u8];
                word.extend_from_slice(error.to_string().as_bytes());
                // A parent that was killed does not care any more.
                let _ = writer.write_all(&word);
            }
        }
    }
}
