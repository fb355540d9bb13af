//! A log file.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::{memchr, memrchr};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use nix::sys::stat;

use super::{Delivery, Destination, Reopened, Target, TargetError};
use crate::batch::Batch;
use crate::config::{FileMode, Sync};
use crate::sys::account::Identity;
use crate::sys::entry::{self, Entry, FileId};

/// A log file, open for appending.
///
/// A rotation renames the file and asks for [`Target::reopen`]; until then lines go on into the
/// renamed file. A file that was removed altogether is made again: what is written to a file
/// without a name is lost, and so nothing counts before the file was seen to have one still.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    mode: FileMode,
    sync: Sync,
    owner: Option<Identity>,
    open: OpenFile,
    /// How much of the batch has been written and does not count yet.
    unsettled: usize,
    /// How often another file was opened.
    reopened: u64,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    id: FileId,
    /// Whether it was not there before.
    made: bool,
    /// Whether it ends in half a line, which a full disk or a crash left.
    torn: bool,
}

/// How often a file is tried that somebody else makes, or removes, at the same time.
const TRIES: usize = 8;

/// Whether the file system has no room for it, or the user may have no more of it.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// How much to write instead to a nearly full file system, of which UFS takes all of a write or
/// nothing: about half, in whole lines, and none when it is one line.
fn less(lines: &[u8]) -> Option<usize> {
    let end = memrchr(b'\n', &lines[..lines.len() / 2]).or_else(|| memchr(b'\n', lines));
    end.map(|end| end + 1).filter(|&length| length < lines.len())
}

impl LogFile {
    pub(super) fn open(
        path: &Path,
        mode: FileMode,
        sync: Sync,
        owner: Option<&Identity>,
    ) -> Result<Self, TargetError> {
        let open = OpenFile::at(path, mode, owner).map_err(TargetError::during("open"))?;
        let (path, owner) = (path.to_owned(), owner.cloned());
        Ok(Self { path, mode, sync, owner, open, unsettled: 0, reopened: 0 })
    }

    fn write(&mut self, batch: &Batch) -> Result<(), TargetError> {
        if self.open.torn {
            self.open.file.write_all(b"\n").map_err(TargetError::during("write"))?;
            self.open.torn = false;
        }
        let mut most = usize::MAX;
        while batch.unsent().len() > self.unsettled {
            let rest = &batch.unsent()[self.unsettled..];
            let portion = &rest[..rest.len().min(most)];
            match self.open.file.write(portion) {
                Ok(0) => return Err(TargetError::during("write")(Errno::EIO)),
                Ok(count) => self.unsettled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match less(portion) {
                    Some(less) if is_full(&error) => most = less,
                    _ => return Err(TargetError::during("write")(error)),
                },
            }
        }
        Ok(())
    }

    fn settle(&mut self, batch: &mut Batch) -> Result<(), TargetError> {
        if self.unsettled > 0 {
            if self.sync == Sync::Always {
                self.open.file.sync_all().map_err(TargetError::during("fsync"))?;
            }
            batch.advance_bytes(std::mem::take(&mut self.unsettled));
        }
        Ok(())
    }

    fn has_no_name(&self) -> Result<bool, TargetError> {
        let stat = stat::fstat(&self.open.file).map_err(TargetError::during("fstat"))?;
        Ok(stat.st_nlink == 0)
    }
}

impl Target for LogFile {
    fn deliver(&mut self, batch: &mut Batch) -> Result<Delivery, TargetError> {
        if batch.is_empty() {
            return Ok(Delivery::Done);
        }
        for _ in 0..TRIES {
            let written = self.write(batch);
            // Looked at after the write: a file that still has a name had one when it was written
            // to.
            if !self.has_no_name()? {
                // Whatever was written before a failure is as good as it gets when it is on disk.
                self.settle(batch)?;
                return written.map(|()| Delivery::Done);
            }
            self.reopen()?;
            batch.restart_message();
        }
        Err(TargetError::during("write")(Errno::ENOENT))
    }

    fn reopen(&mut self) -> Result<Reopened, TargetError> {
        let open = OpenFile::at(&self.path, self.mode, self.owner.as_ref());
        let open = open.map_err(TargetError::during("open"))?;
        if open.id == self.open.id {
            return Ok(Reopened::Same);
        }
        // What the old file has and the disk perhaps not is written again.
        self.unsettled = 0;
        self.open = open;
        self.reopened += 1;
        Ok(Reopened::Other)
    }

    fn configure(&mut self, destination: &Destination) {
        if let Destination::File { mode, sync, .. } = destination {
            (self.mode, self.sync) = (*mode, *sync);
        }
    }

    fn reconnects(&self) -> u64 {
        self.reopened
    }

    fn interest(&self, _waiting: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        None
    }

    fn discard(&mut self) {
        // This daemon has not written to it. Another one may have, that started at the same moment
        // and found the file there.
        let empty = self.open.file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        if self.open.made && empty {
            // Only the start-up's error is worth telling.
            let _ = Entry::at(&self.path).and_then(|entry| entry.unlink_if(self.open.id));
        }
    }
}

impl OpenFile {
    /// Opens the file for appending, and makes it with exactly this mode where there is none. A
    /// symlink is not followed, and nothing but a regular file is taken.
    fn at(path: &Path, mode: FileMode, owner: Option<&Identity>) -> io::Result<Self> {
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND;
        let entry = Entry::at(path)?;
        for _ in 0..TRIES {
            match entry.open_regular(flags) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => return Self::with(file?, false, is_torn(&entry)),
            }
            match entry.create_regular(flags, mode.0 & 0o600) {
                // Somebody else, newsyslog(8) perhaps, was quicker: that one is as good.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    let (uid, gid) = (owner.map(|o| o.uid), owner.map(|o| o.gid));
                    entry::set_rights(&file, uid, gid, mode.0)?;
                    return Self::with(file, true, false);
                }
            }
        }
        Err(Errno::EAGAIN.into())
    }

    fn with(file: File, made: bool, torn: bool) -> io::Result<Self> {
        let id = FileId::of(&stat::fstat(&file)?);
        Ok(Self { file, id, made, torn })
    }
}

/// Whether the file's last byte is no newline. Where that cannot be read, it is taken to be one.
fn is_torn(entry: &Entry) -> bool {
    let last_byte = entry.open_regular(OFlag::O_RDONLY).and_then(|file| {
        let mut byte = [b'\n'];
        match file.metadata()?.len() {
            0 => {}
            length => file.read_exact_at(&mut byte, length - 1)?,
        }
        Ok(byte)
    });
    last_byte.is_ok_and(|byte| byte != [b'\n'])
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    fn line() -> Batch {
        let mut batch = Batch::default();
        batch.push(true, |bytes| {
            bytes.extend_from_slice(b"line\n");
            0
        });
        batch
    }

    fn log_file(file: File) -> LogFile {
        LogFile {
            path: PathBuf::from("/nonexistent/file.log"),
            mode: FileMode(0o600),
            sync: Sync::Always,
            owner: None,
            open: OpenFile::with(file, false, false).unwrap(),
            unsettled: 0,
            reopened: 0,
        }
    }

    #[test]
    fn a_full_disk_is_offered_whole_lines_and_ever_fewer() {
        assert_eq!(less(b"one\ntwo\nthree\nfour\n"), Some(8));
        assert_eq!(less(b"one\ntwo\n"), Some(4));
        assert_eq!(less(b"a long line\nb\n"), Some(12));
        assert_eq!(less(b"one\n"), None);
        assert_eq!(less(b""), None);
    }

    #[test]
    fn what_cannot_be_synced_is_not_delivered_and_not_written_twice() {
        // What fsync(2) refuses stands for a disk that fails.
        let (mut reader, writer) = io::pipe().unwrap();
        let mut log = log_file(OwnedFd::from(writer).into());
        let mut batch = line();
        for _ in 0..2 {
            log.write(&batch).unwrap();
            assert_eq!(batch.records(), 1, "written, and not yet on disk");
            assert!(log.settle(&mut batch).is_err());
            assert_eq!((batch.records(), batch.take_delivered()), (1, 0));
        }
        drop(log);
        let mut written = String::new();
        reader.read_to_string(&mut written).unwrap();
        assert_eq!(written, "line\n");
    }

    #[test]
    fn what_is_synced_is_delivered() {
        let mut log = log_file(tempfile::tempfile().unwrap());
        let mut batch = line();
        log.write(&batch).unwrap();
        assert_eq!((batch.records(), batch.take_delivered()), (1, 0));
        log.settle(&mut batch).unwrap();
        assert_eq!((batch.records(), batch.take_delivered()), (0, 1));
    }
}
