//! Locks on files, after flock(2).

use std::fs::File;
use std::io;
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
