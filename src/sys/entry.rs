//! A name in a directory, held by the directory's descriptor.
//!
//! Every call goes to the name within that directory and follows no symlink at it, so that
//! nothing can be put in between a check and its use by whoever may write to the directory.
//! Symlinks on the way to the directory are the administrator's and are followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{self, AtFlags, OFlag};
use nix::libc::{dev_t, ino_t, mode_t};
use nix::sys::stat::{self, FileStat, Mode, SFlag};
use nix::unistd::{self, Gid, Uid, UnlinkatFlags};

/// A directory and a name in it.
#[derive(Debug)]
pub(crate) struct Entry {
    directory: Rc<OwnedFd>,
    name: OsString,
    path: PathBuf,
}

/// What tells two files apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: dev_t,
    inode: ino_t,
}

impl FileId {
    pub(crate) fn of(stat: &FileStat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// The kind of a file, as a person would call it.
pub(crate) fn kind(stat: &FileStat) -> &'static str {
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFIFO => "a FIFO",
        SFlag::S_IFREG => "a regular file",
        SFlag::S_IFDIR => "a directory",
        SFlag::S_IFLNK => "a symlink",
        SFlag::S_IFSOCK => "a socket",
        SFlag::S_IFCHR | SFlag::S_IFBLK => "a device",
        _ => "of an unknown kind",
    }
}

/// Whether this is a FIFO.
pub(crate) fn is_fifo(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO
}

/// Whether this is a socket.
pub(crate) fn is_socket(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK
}

/// Whether this is a regular file.
pub(crate) fn is_regular(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

impl Entry {
    /// The entry at `path`, whose directory must exist.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::EISDIR.into());
        };
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let directory = Rc::new(fcntl::open(parent, flags, Mode::empty())?);
        Ok(Self { directory, name: name.to_owned(), path: path.to_owned() })
    }

    /// Another name in the same directory. It takes no descriptor, since it may be needed for
    /// tidying up when there are none left.
    pub(crate) fn sibling(&self, name: &OsStr) -> Self {
        Self {
            directory: self.directory.clone(),
            name: name.to_owned(),
            path: self.path.with_file_name(name),
        }
    }

    /// The path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What stands at the name; none where nothing does.
    pub(crate) fn stat(&self) -> io::Result<Option<FileStat>> {
        match stat::fstatat(&self.directory, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes a FIFO that only its owner can open.
    pub(crate) fn make_fifo(&self) -> io::Result<()> {
        Ok(unistd::mkfifoat(
            &self.directory,
            self.name.as_os_str(),
            Mode::from_bits_truncate(0o600),
        )?)
    }

    /// Opens what stands at the name, unless it is a symlink.
    pub(crate) fn open(&self, flags: OFlag) -> io::Result<File> {
        self.open_or_make(flags, Mode::empty())
    }

    fn open_or_make(&self, flags: OFlag, mode: Mode) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        Ok(fcntl::openat(&self.directory, self.name.as_os_str(), flags, mode)?.into())
    }

    /// Opens the regular file at the name; says what stands there if it is anything else.
    ///
    /// As root, a file with a second name is refused where others may write to the directory: they
    /// may have linked a file of somebody else there.
    pub(crate) fn open_regular(&self, flags: OFlag) -> io::Result<File> {
        // A FIFO without a reader would block the opening.
        let file =
            self.open(flags | OFlag::O_NONBLOCK).map_err(|error| self.said_plainly(error))?;
        let stat = stat::fstat(&file)?;
        if !is_regular(&stat) {
            return Err(io::Error::other(format!("is {}, not a regular file", kind(&stat))));
        }
        if stat.st_nlink > 1 && unistd::geteuid().is_root() && !self.is_in_roots_directory()? {
            return Err(io::Error::other(
                "has a second name, and not only root may write to its directory",
            ));
        }
        Ok(file)
    }

    fn is_in_roots_directory(&self) -> io::Result<bool> {
        let stat = stat::fstat(&self.directory)?;
        Ok(stat.st_uid == 0 && stat.st_mode & 0o022 == 0)
    }

    /// The refusal to follow a symlink has another number on each system, and none says what it
    /// is about.
    fn said_plainly(&self, error: io::Error) -> io::Error {
        match self.stat() {
            Ok(Some(stat)) if !is_regular(&stat) => {
                io::Error::other(format!("is {}, not a regular file", kind(&stat)))
            }
            _ => error,
        }
    }

    /// Makes a regular file, which must not be there yet.
    pub(crate) fn create_regular(&self, flags: OFlag, bits: mode_t) -> io::Result<File> {
        self.open_or_make(flags | OFlag::O_CREAT | OFlag::O_EXCL, Mode::from_bits_truncate(bits))
    }

    /// Gives what stands at the name another owner, and not what a symlink there leads to.
    pub(crate) fn set_owner(&self, uid: Option<Uid>, gid: Option<Gid>) -> io::Result<()> {
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        Ok(unistd::fchownat(&self.directory, self.name.as_os_str(), uid, gid, flags)?)
    }

    /// Removes the name.
    pub(crate) fn unlink(&self) -> io::Result<()> {
        Ok(unistd::unlinkat(&self.directory, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)?)
    }

    /// Removes the name if it still means this file; nothing otherwise.
    pub(crate) fn unlink_if(&self, id: FileId) -> io::Result<()> {
        match self.stat()? {
            Some(stat) if FileId::of(&stat) == id => self.unlink(),
            _ => Ok(()),
        }
    }

    /// Gives what stands here another name in the same directory.
    pub(crate) fn rename(&self, to: &Self) -> io::Result<()> {
        Ok(fcntl::renameat(
            &self.directory,
            self.name.as_os_str(),
            &to.directory,
            to.name.as_os_str(),
        )?)
    }
}

/// Gives an open file this owner, group and mode, whatever the umask; the owner first, since a
/// change of owner clears bits of the mode.
pub(crate) fn set_rights(
    file: &File,
    uid: Option<Uid>,
    gid: Option<Gid>,
    bits: mode_t,
) -> io::Result<()> {
    let now = stat::fstat(file)?;
    let uid = uid.filter(|uid| uid.as_raw() != now.st_uid);
    let gid = gid.filter(|gid| gid.as_raw() != now.st_gid);
    if uid.is_some() || gid.is_some() {
        unistd::fchown(file, uid, gid)?;
    }
    Ok(stat::fchmod(file, Mode::from_bits_truncate(bits))?)
}
