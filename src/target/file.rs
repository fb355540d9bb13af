//! A log file.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use nix::sys::stat;

use super::{Delivery, Target, TargetError};
use crate::batch::Batch;
use crate::config::{FileMode, Sync};
use crate::sys::account::Identity;
use crate::sys::entry::{self, Entry, FileId};

/// A log file, open for appending.
///
/// A rotation renames the file and asks for [`Target::reopen`]; until then lines go on into the
/// renamed file. A file that was removed altogether is made again before the next line: what is
/// written to a file without a name is lost.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    mode: FileMode,
    sync: Sync,
    owner: Option<Identity>,
    file: File,
    /// Whether lines were written that may not be on disk yet, and are to be.
    unsynced: bool,
    /// The file, if it was not there before.
    made: Option<FileId>,
}

impl LogFile {
    pub(super) fn open(
        path: &Path,
        mode: FileMode,
        sync: Sync,
        owner: Option<&Identity>,
    ) -> Result<Self, TargetError> {
        let (file, made) = open(path, mode, owner).map_err(TargetError::during("open"))?;
        let (path, owner) = (path.to_owned(), owner.cloned());
        Ok(Self { path, mode, sync, owner, file, unsynced: false, made })
    }

    fn write(&mut self, batch: &mut Batch) -> Result<(), TargetError> {
        while !batch.is_empty() {
            match self.file.write(batch.unsent()) {
                Ok(0) => return Err(TargetError::during("write")(Errno::EIO)),
                Ok(count) => {
                    self.unsynced = self.sync == Sync::Always;
                    batch.advance_bytes(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TargetError::during("write")(error)),
            }
        }
        Ok(())
    }

    fn has_no_name(&self) -> Result<bool, TargetError> {
        let stat = stat::fstat(&self.file).map_err(TargetError::during("fstat"))?;
        Ok(stat.st_nlink == 0)
    }
}

impl Target for LogFile {
    fn deliver(&mut self, batch: &mut Batch) -> Result<Delivery, TargetError> {
        if self.has_no_name()? {
            self.reopen()?;
            batch.restart_message();
        }
        self.write(batch)?;
        if self.unsynced {
            self.file.sync_all().map_err(TargetError::during("fsync"))?;
            self.unsynced = false;
        }
        Ok(Delivery::Done)
    }

    fn reopen(&mut self) -> Result<(), TargetError> {
        if self.unsynced {
            self.file.sync_all().map_err(TargetError::during("fsync"))?;
            self.unsynced = false;
        }
        let (file, _) = open(&self.path, self.mode, self.owner.as_ref())
            .map_err(TargetError::during("open"))?;
        self.file = file;
        self.made = None;
        Ok(())
    }

    fn interest(&self, _waiting: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        None
    }

    fn discard(&mut self) {
        if let Some(made) = self.made.take() {
            // Only the start-up's error is worth telling.
            let _ = Entry::at(&self.path).and_then(|entry| entry.unlink_if(made));
        }
    }
}

/// Opens the file for appending, and makes it with exactly this mode where there is none; says
/// which one it made. A symlink is not followed, and nothing but a regular file is taken.
fn open(
    path: &Path,
    mode: FileMode,
    owner: Option<&Identity>,
) -> io::Result<(File, Option<FileId>)> {
    const TRIES: usize = 8;
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND;
    let entry = Entry::at(path)?;
    for _ in 0..TRIES {
        match entry.open_regular(flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => return file.map(|file| (file, None)),
        }
        match entry.create_regular(flags, mode.0 & 0o600) {
            // Somebody else, newsyslog(8) perhaps, was quicker: that one is as good.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(file) => {
                entry::set_rights(&file, owner.map(|o| o.uid), owner.map(|o| o.gid), mode.0)?;
                let made = FileId::of(&stat::fstat(&file)?);
                return Ok((file, Some(made)));
            }
        }
    }
    Err(Errno::EAGAIN.into())
}
