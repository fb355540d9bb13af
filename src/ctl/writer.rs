//! The writing end of a pipe, for senders that must neither hang nor mix.
//!
//! A write of at most `PIPE_BUF` bytes is atomic, and needs no lock against others of its kind.
//! A longer record is written in several, and under the exclusive lock of the pipe's lock file;
//! the short ones take it shared, so that none gets in between.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memchr::memchr2_iter;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::libc::PIPE_BUF;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat;

use crate::config;
use crate::exit::Sysexit;
use crate::sys::entry::{self, Entry};
use crate::sys::why;

/// How often a lock is tried while there is a deadline.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Why a record was not sent, or not all of them.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriterError {
    #[error("{}: no such pipe: bdaemon is not running, or has another configuration; try: service bdaemon start", .0.display())]
    NoPipe(PathBuf),
    #[error("{}: nobody reads this pipe: bdaemon is not running; try: service bdaemon start", .0.display())]
    NoReader(PathBuf),
    #[error("{}: is {kind}, not a pipe of bdaemon", path.display())]
    NotAPipe { path: PathBuf, kind: &'static str },
    #[error("{}: not permitted; writers are the pipe's owner and group", .0.display())]
    NotPermitted(PathBuf),
    #[error("{}: the reader went away after {sent} records: bdaemon has stopped", path.display())]
    ReaderGone { path: PathBuf, sent: u64 },
    #[error("{}: timed out after {sent} records: bdaemon is behind, or its target is away", path.display())]
    TimedOut { path: PathBuf, sent: u64 },
    #[error("{}: {} after {sent} records", path.display(), why(cause))]
    Io { path: PathBuf, sent: u64, cause: io::Error },
}

impl WriterError {
    pub(super) fn exit(&self) -> Sysexit {
        match self {
            Self::NoPipe(_)
            | Self::NoReader(_)
            | Self::NotAPipe { .. }
            | Self::ReaderGone { .. } => Sysexit::Unavailable,
            Self::NotPermitted(_) => Sysexit::NoPerm,
            Self::TimedOut { .. } => Sysexit::TempFail,
            Self::Io { .. } => Sysexit::IoErr,
        }
    }
}

/// The writing end of a pipe.
pub(super) struct PipeWriter {
    path: PathBuf,
    pipe: File,
    /// The lock file; none where it cannot be opened: what is long may then mix.
    lock_file: Option<File>,
    /// Whether a line is being written whose end has not been seen, under this lock.
    unfinished: bool,
    held: Option<Flock<File>>,
    /// How long a write may wait; none means for ever.
    patience: Option<Duration>,
    /// When the write that is under way gives up; none means never.
    deadline: Option<Instant>,
    /// Records written whole.
    sent: u64,
}

impl PipeWriter {
    /// Opens the pipe if somebody reads it, and does not wait for that.
    pub(super) fn open(path: &Path, patience: Option<Duration>) -> Result<Self, WriterError> {
        let owned = || path.to_owned();
        let entry = Entry::at(path).map_err(|cause| refused(path, cause))?;
        if let Ok(Some(stat)) = entry.stat()
            && !entry::is_fifo(&stat)
        {
            return Err(WriterError::NotAPipe { path: owned(), kind: entry::kind(&stat) });
        }
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK;
        let pipe = entry.open(flags).map_err(|cause| refused(path, cause))?;
        let stat = stat::fstat(&pipe).map_err(|errno| refused(path, errno.into()))?;
        if !entry::is_fifo(&stat) {
            return Err(WriterError::NotAPipe { path: owned(), kind: entry::kind(&stat) });
        }
        let lock_file =
            Entry::at(&config::lock_path(path)).and_then(|lock| lock.open_regular(OFlag::O_RDONLY));
        let lock_file = lock_file.ok();
        Ok(Self {
            path: owned(),
            pipe,
            lock_file,
            unfinished: false,
            held: None,
            patience,
            deadline: None,
            sent: 0,
        })
    }

    /// Writes one record, with its newline.
    pub(super) fn write_record(&mut self, record: &[u8]) -> Result<(), WriterError> {
        let how =
            if record.len() <= PIPE_BUF { FlockArg::LockShared } else { FlockArg::LockExclusive };
        let lock = self.lock(how)?;
        let written = self.write_all(record);
        self.unlock(lock);
        written?;
        self.sent += 1;
        Ok(())
    }

    /// Writes whole lines, each with `prefix` in front; as many short ones at a time as are
    /// written atomically.
    pub(super) fn write_lines(&mut self, prefix: &[u8], lines: &[u8]) -> Result<(), WriterError> {
        let mut group: Vec<u8> = Vec::with_capacity(PIPE_BUF);
        let mut grouped = 0;
        let mut begin = 0;
        for newline in memchr2_iter(b'\n', 0, lines) {
            let line = &lines[begin..=newline];
            begin = newline + 1;
            if self.unfinished {
                self.finish(line)?;
                continue;
            }
            if line.len() == 1 {
                continue;
            }
            let length = prefix.len() + line.len();
            if group.len() + length > PIPE_BUF {
                self.write_group(&mut group, &mut grouped)?;
            }
            if length > PIPE_BUF {
                self.write_record(&[prefix, line].concat())?;
            } else {
                group.extend_from_slice(prefix);
                group.extend_from_slice(line);
                grouped += 1;
            }
        }
        self.write_group(&mut group, &mut grouped)
    }

    fn write_group(&mut self, group: &mut Vec<u8>, records: &mut u64) -> Result<(), WriterError> {
        if !group.is_empty() {
            let lock = self.lock(FlockArg::LockShared)?;
            let written = self.write_all(group);
            self.unlock(lock);
            written?;
            self.sent += std::mem::take(records);
            group.clear();
        }
        Ok(())
    }

    /// Writes a piece of a line whose end has not been read yet, and keeps others out until it
    /// has; `last` says that there is no more of it.
    pub(super) fn write_unfinished(
        &mut self,
        prefix: &[u8],
        piece: &[u8],
        last: bool,
    ) -> Result<(), WriterError> {
        if !self.unfinished {
            if piece.is_empty() {
                return Ok(());
            }
            if last {
                return self.write_lines(prefix, &[piece, b"\n"].concat());
            }
            self.held = self.lock(FlockArg::LockExclusive)?;
            self.unfinished = true;
            self.write_all(prefix)?;
        }
        if last { self.finish(&[piece, b"\n"].concat()) } else { self.write_all(piece) }
    }

    fn finish(&mut self, end: &[u8]) -> Result<(), WriterError> {
        self.write_all(end)?;
        self.unfinished = false;
        let lock = self.held.take();
        self.unlock(lock);
        self.sent += 1;
        Ok(())
    }

    fn lock(&mut self, how: FlockArg) -> Result<Option<Flock<File>>, WriterError> {
        // One that would be after the end of time is none.
        self.deadline = self.patience.and_then(|patience| Instant::now().checked_add(patience));
        let Some(mut file) = self.lock_file.take() else { return Ok(None) };
        let Some(deadline) = self.deadline else {
            return Flock::lock(file, how).map(Some).map_err(|(_, errno)| self.io(errno.into()));
        };
        let how = match how {
            FlockArg::LockShared => FlockArg::LockSharedNonblock,
            _ => FlockArg::LockExclusiveNonblock,
        };
        loop {
            file = match Flock::lock(file, how) {
                Ok(lock) => return Ok(Some(lock)),
                Err((file, Errno::EWOULDBLOCK)) => file,
                Err((_, errno)) => return Err(self.io(errno.into())),
            };
            if Instant::now() >= deadline {
                return Err(self.timed_out());
            }
            std::thread::sleep(LOCK_PAUSE);
        }
    }

    fn unlock(&mut self, lock: Option<Flock<File>>) {
        // A lock that cannot be released is released when the file is closed.
        self.lock_file = lock.and_then(|lock| lock.unlock().ok());
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), WriterError> {
        // FreeBSD lets even a write that must not block wait for another writer's large one, so that
        // nothing is written before poll(2) says that it can be.
        let mut wait = self.deadline.is_some();
        while !bytes.is_empty() {
            if wait {
                self.wait()?;
            }
            match self.pipe.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Err(WriterError::ReaderGone {
                        path: self.path.clone(),
                        sent: self.sent,
                    });
                }
                Err(error) => return Err(self.io(error)),
            }
        }
        Ok(())
    }

    /// Waits until the pipe takes more.
    fn wait(&self) -> Result<(), WriterError> {
        let timeout = match self.deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let millis = left.as_micros().div_ceil(1000);
                PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, timeout) {
            Ok(0) => Err(self.timed_out()),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(self.io(errno.into())),
        }
    }

    fn timed_out(&self) -> WriterError {
        WriterError::TimedOut { path: self.path.clone(), sent: self.sent }
    }

    fn io(&self, cause: io::Error) -> WriterError {
        WriterError::Io { path: self.path.clone(), sent: self.sent, cause }
    }
}

/// What a failure to open means.
fn refused(path: &Path, cause: io::Error) -> WriterError {
    let path = path.to_owned();
    match cause.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENOTDIR) => WriterError::NoPipe(path),
        Some(Errno::ENXIO) => WriterError::NoReader(path),
        Some(Errno::EACCES | Errno::EPERM) => WriterError::NotPermitted(path),
        Some(Errno::ELOOP | Errno::EMLINK) => WriterError::NotAPipe { path, kind: "a symlink" },
        _ => WriterError::Io { path, sent: 0, cause },
    }
}
