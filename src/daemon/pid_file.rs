//! The pid file, as pidfile(3) has it: locked with flock(2) for as long as the daemon lives, so
//! that the lock and not the file's being there says whether one runs.
//!
//! It is locked before the daemon forks, so that the one who started it hears of a second daemon:
//! the lock belongs to the open file, and the child inherits that.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, OFlag};
use nix::sys::stat;

use crate::sys::entry::{self, Entry, FileId};
use crate::sys::{lock, remedy, why};

/// How long a daemon that has just taken the lock may need to write its pid.
const PID_PATIENCE: Duration = Duration::from_secs(2);

/// A pid file that is not ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidFileError {
    #[error("already running as pid {pid}: it holds {}", path.display())]
    Running { pid: u32, path: PathBuf },
    #[error("already running: another process holds {}", path.display())]
    RunningUnnamed { path: PathBuf },
    #[error("pid file {}: {}{}", path.display(), why(cause), remedy(path))]
    Io { path: PathBuf, cause: io::Error },
}

/// The locked pid file. Dropping it unlocks it and leaves it; [`PidFile::remove`] removes it.
#[derive(Debug)]
pub(crate) struct PidFile {
    entry: Entry,
    lock: Flock<File>,
}

impl PidFile {
    /// Opens or makes the file, and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Self, PidFileError> {
        Self::try_lock(path)
            .map_err(|cause| PidFileError::Io { path: path.to_owned(), cause })?
            .ok_or_else(|| {
                let path = path.to_owned();
                match holder(&path) {
                    Some(pid) => PidFileError::Running { pid, path },
                    None => PidFileError::RunningUnnamed { path },
                }
            })
    }

    fn try_lock(path: &Path) -> io::Result<Option<Self>> {
        const TRIES: usize = 8;
        let entry = Entry::at(path)?;
        for _ in 0..TRIES {
            let file = match entry.create_regular(OFlag::O_RDWR, 0o600) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    match entry.open_regular(OFlag::O_RDWR) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        file => file?,
                    }
                }
                file => file?,
            };
            let Some(lock) = lock::try_exclusive(file)? else { return Ok(None) };
            // The daemon that held it may have removed the name while this one waited.
            let id = FileId::of(&stat::fstat(&*lock)?);
            if entry.stat()?.is_some_and(|stat| FileId::of(&stat) == id) {
                lock::noted_pid(&lock)?;
                entry::set_rights(&lock, None, None, 0o644)?;
                // A pid of long ago must not be taken for the one that has the lock now.
                lock.set_len(0)?;
                return Ok(Some(Self { entry, lock }));
            }
        }
        Err(Errno::EAGAIN.into())
    }

    /// Writes the pid of this process.
    pub(crate) fn write(&self) -> Result<(), PidFileError> {
        lock::note_pid(&self.lock)
            .map_err(|cause| PidFileError::Io { path: self.entry.path().to_owned(), cause })
    }

    /// Removes the file. The lock on it stays until this is dropped.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let id = FileId::of(&stat::fstat(&*self.lock)?);
        self.entry.unlink_if(id)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.entry.path()
    }
}

/// The pid in the file, for which its holder is given a moment.
fn holder(path: &Path) -> Option<u32> {
    let give_up = Instant::now() + PID_PATIENCE;
    loop {
        let file = Entry::at(path).and_then(|entry| entry.open_regular(OFlag::O_RDONLY));
        match file.and_then(|file| lock::noted_pid(&file)) {
            Ok(Some(pid)) => return Some(pid),
            _ if Instant::now() >= give_up => return None,
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
