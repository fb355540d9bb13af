//! A named pipe that bdaemon owns, after mkfifo(2).
//!
//! It is made with exactly the mode and owner asked for, whatever the umask. One that a crash
//! left is adopted when it is ours and nobody reads it; anything else at the path is refused and
//! left as it is. A write end is held open, so that the last writer's close is no end of file:
//! without it, poll(2) would return at once for ever.
//!
//! Beside each pipe lies a lock file, `PATH.lock`, since flock(2) refuses FIFOs on FreeBSD. It has
//! the pid of the daemon that reads the pipe. Writers lock it against each other; a daemon holds
//! it only while it takes the pipe, so that of two that start at once one finds the other reading.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::mode_t;
use nix::sys::signal::kill;
use nix::sys::stat::{self, FileStat};
use nix::unistd::{self, Gid, Pid, Uid};

use crate::config;
use crate::sys::account::{self, AccountError, Identity};
use crate::sys::entry::{self, Entry, FileId};
use crate::sys::lock;
use crate::sys::why;

/// How long a daemon that starts waits for a writer to let go of the lock. A writer that holds it
/// for longer must not be able to keep the daemon away.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// How many things that were put in a pipe's place are kept under another name.
const DISPLACED_MAX: usize = 16;

/// A pipe that could not be made or taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipeError {
    #[error("is {0}, not a FIFO; move it away or configure another path")]
    NotAFifo(&'static str),
    #[error("belongs to user {0}, not to bdaemon; remove it or configure another path")]
    Foreign(u32),
    #[error("is served by the daemon with pid {0}; stop that one or configure another path")]
    Served(u32),
    #[error("is read by another process; stop that one or configure another path")]
    Read,
    #[error("has a lock file, {}, that {what}; remove that file", path.display())]
    Lock { path: PathBuf, what: String },
    #[error("cannot be given away: {0}")]
    Account(#[from] AccountError),
    #[error("cannot be used: {during}: {}", why(cause))]
    Io { during: &'static str, cause: io::Error },
}

impl PipeError {
    /// Says what failed, to be used with `map_err`.
    pub(crate) fn during<E: Into<io::Error>>(during: &'static str) -> impl Fn(E) -> Self {
        move |cause| Self::Io { during, cause: cause.into() }
    }
}

/// Who owns a pipe, and who may write to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    uid: Uid,
    /// None where that of a new file cannot be told.
    gid: Option<Gid>,
    mode: mode_t,
}

impl Rights {
    /// What the configuration asks for, with the identity that the daemon runs as for what it
    /// leaves open.
    pub(crate) fn resolve(
        pipe: &config::Pipe,
        run_as: Option<&Identity>,
    ) -> Result<Self, AccountError> {
        let owner = pipe.owner.as_deref().map(account::user).transpose()?;
        let group = pipe.group.as_deref().map(account::group).transpose()?;
        Ok(Self {
            uid: owner
                .map_or_else(|| run_as.map_or_else(unistd::geteuid, |id| id.uid), |user| user.uid),
            gid: group
                .or_else(|| run_as.map(|id| id.gid))
                .or_else(|| Entry::at(&pipe.path).and_then(|entry| entry.group_of_new()).ok()),
            mode: pipe.mode.0,
        })
    }

    /// The lock may be read, and thereby locked, by those who may write to the pipe.
    fn of_lock(&self) -> mode_t {
        0o600 | (self.mode & 0o022) << 1
    }

    fn apply(&self, file: &File, mode: mode_t) -> io::Result<()> {
        entry::set_rights(file, Some(self.uid), self.gid, mode)
    }

    /// Whether a file is ours: the owner asked for, or whoever we are now.
    fn ours(&self, stat: &FileStat) -> bool {
        [self.uid, unistd::geteuid()].map(Uid::as_raw).contains(&stat.st_uid)
    }
}

/// How a pipe came to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was made.
    Created,
    /// A crash had left it.
    Adopted,
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// So many bytes.
    Bytes(usize),
    /// Nothing just now.
    Empty,
    /// Nothing ever again: all writers of a retired pipe have gone.
    End,
}

/// An open pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    path: PathBuf,
    id: FileId,
    reader: File,
    /// The write end that keeps the pipe from ending; none once it is retired.
    keeper: Option<File>,
    lock: Lock,
    origin: Origin,
}

/// The lock file. It stays open, though not locked: the number of a file that is gone and closed
/// is soon that of another one, which may be somebody else's.
#[derive(Debug)]
struct Lock {
    id: FileId,
    file: File,
    /// Whether it was not there before.
    made: bool,
}

impl Lock {
    fn new(file: File, made: bool) -> Result<Self, PipeError> {
        Ok(Self { id: id_of(&file)?, file, made })
    }
}

impl Pipe {
    /// Makes the pipe, or adopts it.
    ///
    /// A daemon that starts waits for the lock, so that of two that start at once one finds the
    /// other reading. A running one does not: its other pipes would wait as well.
    pub(crate) fn open(path: &Path, rights: &Rights, starting: bool) -> Result<Self, PipeError> {
        let entry = Entry::at(path).map_err(PipeError::during("opening its directory"))?;
        let lock = open_lock(&entry, rights)?;
        match Self::take(&entry, rights, &lock, starting) {
            Ok((id, reader, keeper, origin)) => {
                Ok(Self { path: path.to_owned(), id, reader, keeper: Some(keeper), lock, origin })
            }
            Err(error) => {
                if lock.made {
                    // Only the pipe's error is worth telling.
                    let _ = lock_entry(&entry).unlink_if(lock.id);
                }
                Err(error)
            }
        }
    }

    fn take(
        entry: &Entry,
        rights: &Rights,
        lock: &Lock,
        starting: bool,
    ) -> Result<(FileId, File, File, Origin), PipeError> {
        // Held until the reader is open: whoever gets it next finds that this one reads.
        let patience = if starting { LOCK_PATIENCE } else { Duration::ZERO };
        let held =
            lock::exclusive_within(&lock.file, patience).map_err(PipeError::during("locking"))?;
        if held.is_none() && starting {
            log::warn!(
                "{}: a writer holds the lock; taking the pipe without",
                entry.path().display()
            );
        }
        let origin = match entry.stat().map_err(PipeError::during("stat"))? {
            Some(stat) if !entry::is_fifo(&stat) => {
                return Err(PipeError::NotAFifo(entry::kind(&stat)));
            }
            Some(stat) if !rights.ours(&stat) => return Err(PipeError::Foreign(stat.st_uid)),
            Some(_) if has_reader(entry)? => return Err(served_by(&lock.file)),
            Some(_) => Origin::Adopted,
            None => {
                entry.make_fifo().map_err(PipeError::during("mkfifo"))?;
                Origin::Created
            }
        };
        let opened = Self::open_ends(entry, rights).and_then(|(id, reader, keeper)| {
            claim_lock(&lock.file, rights)?;
            Ok((id, reader, keeper, origin))
        });
        if let (Err(_), Origin::Created) = (&opened, origin) {
            // Only the first error is worth telling.
            let _ = entry.unlink();
        }
        opened
    }

    /// The two ends, and what tells this FIFO from others.
    fn open_ends(entry: &Entry, rights: &Rights) -> Result<(FileId, File, File), PipeError> {
        let open =
            |flags| entry.open(flags | OFlag::O_NONBLOCK).map_err(PipeError::during("opening"));
        let reader = open(OFlag::O_RDONLY)?;
        let stat = stat::fstat(&reader).map_err(PipeError::during("fstat"))?;
        // It may have been swapped since it was looked at.
        if !entry::is_fifo(&stat) {
            return Err(PipeError::NotAFifo(entry::kind(&stat)));
        }
        if !rights.ours(&stat) {
            return Err(PipeError::Foreign(stat.st_uid));
        }
        entry.refuse_second_name(FileId::of(&stat)).map_err(PipeError::during("opening"))?;
        let keeper = open(OFlag::O_WRONLY)?;
        let id = FileId::of(&stat);
        if id_of(&keeper)? != id {
            return Err(PipeError::during("opening")(Errno::EAGAIN));
        }
        rights.apply(&reader, rights.mode).map_err(PipeError::during("setting owner and mode"))?;
        Ok((id, reader, keeper))
    }

    /// Where it is, or was.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How it came to be ours.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Reads what there is into `space`.
    pub(crate) fn read(&mut self, space: &mut [u8]) -> io::Result<Input> {
        loop {
            match self.reader.read(space) {
                Ok(0) if self.keeper.is_none() => return Ok(Input::End),
                Ok(0) => return Ok(Input::Empty),
                Ok(count) => return Ok(Input::Bytes(count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Input::Empty),
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the pipe other rights.
    pub(crate) fn set_rights(&self, rights: &Rights) -> io::Result<()> {
        rights.apply(&self.reader, rights.mode)?;
        rights.apply(&self.lock.file, rights.of_lock())
    }

    /// Whether the path still leads to this pipe, and its lock is there.
    pub(crate) fn is_in_place(&self) -> io::Result<bool> {
        let entry = Entry::at(&self.path)?;
        let means = |entry: &Entry, id| {
            Ok::<_, io::Error>(entry.stat()?.is_some_and(|stat| FileId::of(&stat) == id))
        };
        Ok(means(&entry, self.id)? && means(&lock_entry(&entry), self.lock.id)?)
    }

    /// Makes the pipe again after its name was removed or taken by something else, and gives
    /// the one that it replaces. What had taken the name is kept under another one.
    pub(crate) fn remake(&mut self, rights: &Rights) -> Result<Option<Self>, PipeError> {
        let entry = Entry::at(&self.path).map_err(PipeError::during("opening its directory"))?;
        match entry.stat().map_err(PipeError::during("stat"))? {
            Some(stat) if FileId::of(&stat) == self.id => {
                // Only the lock is missing.
                let lock = open_lock(&entry, rights)?;
                claim_lock(&lock.file, rights)?;
                self.lock = lock;
                return Ok(None);
            }
            Some(stat) if !entry::is_fifo(&stat) || !rights.ours(&stat) => displace(&entry)?,
            Some(_) | None => {}
        }
        let remade = Self::open(&self.path, rights, false)?;
        let mut old = std::mem::replace(self, remade);
        old.keeper = None;
        Ok(Some(old))
    }

    /// Undoes what opening it made, when a start or a reload fails: an adopted pipe stays, as it
    /// was there before.
    pub(crate) fn discard(&self) {
        // What fails here is not worth more words than the error that led here.
        let Ok(entry) = Entry::at(&self.path) else { return };
        if self.origin == Origin::Created {
            let _ = entry.unlink_if(self.id);
        }
        if self.lock.made {
            let _ = lock_entry(&entry).unlink_if(self.lock.id);
        }
    }

    /// Takes the pipe's name away, so that no new writer finds it; those who have it open may
    /// write on. It ends when the last of them has closed it.
    pub(crate) fn retire(&mut self) -> io::Result<()> {
        self.keeper = None;
        let entry = Entry::at(&self.path)?;
        entry.unlink_if(self.id)?;
        lock_entry(&entry).unlink_if(self.lock.id)
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

fn id_of(file: &File) -> Result<FileId, PipeError> {
    stat::fstat(file).map(|stat| FileId::of(&stat)).map_err(PipeError::during("fstat"))
}

fn lock_entry(pipe: &Entry) -> Entry {
    let path = config::lock_path(pipe.path());
    pipe.sibling(path.file_name().unwrap_or_default())
}

/// Opens the lock file, or makes it. Its rights are left for [`claim_lock`].
fn open_lock(pipe: &Entry, rights: &Rights) -> Result<Lock, PipeError> {
    let lock = lock_entry(pipe);
    let wrong = |what: String| PipeError::Lock { path: lock.path().to_owned(), what };
    match lock.create_regular(OFlag::O_RDWR, 0o600) {
        Ok(file) => return Lock::new(file, true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(PipeError::during("making its lock file")(error)),
    }
    let file = lock.open_regular(OFlag::O_RDWR).map_err(|error| wrong(why(&error)))?;
    let stat = stat::fstat(&file).map_err(PipeError::during("fstat"))?;
    if !rights.ours(&stat) {
        return Err(wrong(format!("belongs to user {}, not to bdaemon", stat.st_uid)));
    }
    lock::noted_pid(&file).map_err(|error| wrong(why(&error)))?;
    Lock::new(file, false)
}

/// Makes the lock file that of this process.
fn claim_lock(lock: &File, rights: &Rights) -> Result<(), PipeError> {
    rights
        .apply(lock, rights.of_lock())
        .and_then(|()| lock::note_pid(lock))
        .map_err(PipeError::during("writing its lock file"))
}

/// Whether some process has the pipe open for reading. Opening a write end tells: it is refused
/// when there is no reader.
fn has_reader(entry: &Entry) -> Result<bool, PipeError> {
    match entry.open(OFlag::O_WRONLY | OFlag::O_NONBLOCK) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => Ok(false),
        Err(error) => Err(PipeError::during("opening")(error)),
    }
}

/// Names the daemon that reads the pipe, unless it has died and somebody else reads.
fn served_by(lock: &File) -> PipeError {
    let pid = lock::noted_pid(lock).ok().flatten();
    let alive = |pid: &u32| {
        let raw = i32::try_from(*pid).ok().filter(|raw| *raw > 0);
        raw.is_some_and(|raw| kill(Pid::from_raw(raw), None) != Err(Errno::ESRCH))
    };
    pid.filter(alive).map_or(PipeError::Read, PipeError::Served)
}

/// Renames what stands in the pipe's place: it may hold what somebody wrote while the pipe was
/// missing.
fn displace(entry: &Entry) -> Result<(), PipeError> {
    let name = entry.path().file_name().unwrap_or_default().to_owned();
    for number in 1..=DISPLACED_MAX {
        let mut displaced = name.clone();
        displaced.push(format!(".displaced.{number}"));
        let to = entry.sibling(&displaced);
        if to.stat().map_err(PipeError::during("stat"))?.is_none() {
            entry.rename(&to).map_err(PipeError::during("renaming what is in its place"))?;
            log::warn!(
                "{}: something else stood there; it is now {}",
                entry.path().display(),
                to.path().display()
            );
            return Ok(());
        }
    }
    Err(PipeError::during("renaming what is in its place")(Errno::EEXIST))
}
