//! Locks on files, after flock(2).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Takes the lock at once; none when another open file holds it.
pub(crate) fn try_exclusive(file: File) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        // EAGAIN has the same number on both systems.
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Takes the lock before `patience` is over; none after that.
pub(crate) fn exclusive_within(file: &File, patience: Duration) -> io::Result<Option<Flock<File>>> {
    const PAUSE: Duration = Duration::from_millis(10);
    let give_up = Instant::now() + patience;
    loop {
        let lock = try_exclusive(file.try_clone()?)?;
        if lock.is_some() || Instant::now() >= give_up {
            return Ok(lock);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Writes the pid of this process as all that is in the file.
pub(crate) fn note_pid(file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)
}

/// The pid that is noted in the file; none where it is empty. A file with anything else in it is
/// somebody's, and not for notes.
pub(crate) fn noted_pid(file: &File) -> io::Result<Option<u32>> {
    let mut bytes = [0; 16];
    let length = file.read_at(&mut bytes, 0)?;
    let text = std::str::from_utf8(&bytes[..length]).unwrap_or("?").trim();
    if text.is_empty() {
        return Ok(None);
    }
    let pid = text.parse().map_err(|_| io::Error::other("has something else in it than a pid"));
    pid.map(Some)
}
