//! A name in a directory, held by the directory's descriptor.
//!
//! Every call goes to the name within that directory and follows no symlink at it, so that
//! nothing can be put in between a check and its use by whoever may write to the directory.
//! A symlink on the way to the directory is followed where only root and this user can have put it,
//! and refused elsewhere.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{self, AtFlags, OFlag};
use nix::libc::{self, dev_t, ino_t, mode_t};
use nix::sys::stat::{self, FileStat, Mode, SFlag};
use nix::unistd::{self, Gid, Uid, UnlinkatFlags};

/// A directory and a name in it.
#[derive(Debug)]
pub(crate) struct Entry {
    directory: Rc<OwnedFd>,
    name: OsString,
    path: PathBuf,
    /// Whether somebody else may lead the path elsewhere at any time.
    exposed: bool,
}

/// How many symlinks there may be on the way to a directory: they may go in circles.
const LINKS_MAX: usize = 32;

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
        let (directory, exposed) = walk(parent)?;
        let directory = Rc::new(directory);
        Ok(Self { directory, name: name.to_owned(), path: path.to_owned(), exposed })
    }

    /// Another name in the same directory. It takes no descriptor, since it may be needed for
    /// tidying up when there are none left.
    pub(crate) fn sibling(&self, name: &OsStr) -> Self {
        Self {
            directory: self.directory.clone(),
            name: name.to_owned(),
            path: self.path.with_file_name(name),
            exposed: self.exposed,
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

    /// The group that a file gets here when it is made: that of the directory; on Linux that of
    /// this process, unless the directory has the set-group-ID bit.
    pub(crate) fn group_of_new(&self) -> io::Result<Gid> {
        let stat = stat::fstat(&self.directory)?;
        let hands_down = !cfg!(target_os = "linux") || stat.st_mode & libc::S_ISGID != 0;
        Ok(if hands_down { Gid::from_raw(stat.st_gid) } else { unistd::getegid() })
    }

    /// Opens what stands at the name, unless it is a symlink.
    pub(crate) fn open(&self, flags: OFlag) -> io::Result<File> {
        self.open_or_make(flags, Mode::empty())
    }

    fn open_or_make(&self, flags: OFlag, mode: Mode) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        Ok(fcntl::openat(&self.directory, self.name.as_os_str(), flags, mode)?.into())
    }

    /// Opens the regular file at the name; says what stands there if it is anything else, and
    /// refuses it as [`Entry::refuse_second_name`] does.
    pub(crate) fn open_regular(&self, flags: OFlag) -> io::Result<File> {
        // A FIFO without a reader would block the opening.
        let file =
            self.open(flags | OFlag::O_NONBLOCK).map_err(|error| self.said_plainly(error))?;
        let stat = stat::fstat(&file)?;
        if !is_regular(&stat) {
            return Err(io::Error::other(format!("is {}, not a regular file", kind(&stat))));
        }
        self.refuse_second_name(FileId::of(&stat))?;
        Ok(file)
    }

    /// Refuses, as root, what has a second name where others may write to the directory: they may
    /// have linked something of somebody else there.
    ///
    /// They may also take that name away again, so that what was opened has only the other one:
    /// its one name must be this one. A look is a lookup and a count, and they might get in between;
    /// not so many times in a row.
    pub(crate) fn refuse_second_name(&self, id: FileId) -> io::Result<()> {
        const LOOKS: usize = 32;
        if !unistd::geteuid().is_root() || is_closed(&self.directory)? {
            return Ok(());
        }
        for _ in 0..LOOKS {
            match self.stat()?.filter(|stat| FileId::of(stat) == id) {
                Some(stat) if stat.st_nlink == 1 => {}
                Some(_) => {
                    return Err(io::Error::other(
                        "has a second name, and not only root may write to its directory",
                    ));
                }
                None => return Err(Errno::ENOENT.into()),
            }
        }
        Ok(())
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

    /// Gives the socket at the name, which was made just now, another owner. The name itself may by
    /// now be that of something else.
    pub(crate) fn set_socket_owner(&self, uid: Option<Uid>, gid: Option<Gid>) -> io::Result<()> {
        if uid.is_none() && gid.is_none() {
            return Ok(());
        }
        let socket = self.open(O_PATH)?;
        let stat = stat::fstat(&socket)?;
        if !is_socket(&stat) || stat.st_uid != unistd::geteuid().as_raw() {
            return Err(io::Error::other("something else has taken its place"));
        }
        self.refuse_second_name(FileId::of(&stat))?;
        Ok(unistd::fchownat(&socket, "", uid, gid, AtFlags::AT_EMPTY_PATH)?)
    }

    /// Has `act` done by path: sockets know nothing of directories' descriptors. Where somebody
    /// could lead the path elsewhere, that is the mere name, with the directory as the working
    /// directory meanwhile.
    pub(crate) fn by_path<T>(&self, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        if !self.exposed {
            return act(&self.path);
        }
        let before = fcntl::open(".", DIRECTORY, Mode::empty())?;
        unistd::fchdir(&self.directory)?;
        let done = act(Path::new(&self.name));
        unistd::fchdir(&before)?;
        done
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

/// A descriptor that only names what it was opened at. Reading a directory is not needed here, and
/// a socket cannot be opened otherwise.
const O_PATH: OFlag = OFlag::from_bits_retain(libc::O_PATH);

/// A directory, only to be named in other calls.
const DIRECTORY: OFlag = O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Opens a directory, one after the other on the way there; says also whether anybody but root and
/// this user can change what its path leads to.
fn walk(path: &Path) -> io::Result<(OwnedFd, bool)> {
    let open = |path: &str| fcntl::open(path, DIRECTORY, Mode::empty());
    // The working directory may be one that this user cannot even name.
    let mut here = open(if path.is_absolute() { "/" } else { "." })?;
    let mut ahead: VecDeque<OsString> = steps(path);
    let (mut links, mut exposed) = (0, false);
    while let Some(name) = ahead.pop_front() {
        if name == "/" {
            here = open("/")?;
            continue;
        }
        let closed = is_closed(&here)?;
        exposed |= !closed;
        let flags = DIRECTORY | OFlag::O_NOFOLLOW;
        let refusal = match fcntl::openat(&here, name.as_os_str(), flags, Mode::empty()) {
            Ok(next) => {
                here = next;
                continue;
            }
            Err(errno) => errno,
        };
        // Only a symlink can be read so.
        let Ok(target) = fcntl::readlinkat(&here, name.as_os_str()) else {
            return Err(refusal.into());
        };
        if !closed {
            return Err(io::Error::other(format!(
                "`{}` on the way there is a symlink, and others may write to its directory",
                name.display()
            )));
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(Errno::ELOOP.into());
        }
        let mut from_there = steps(Path::new(&target));
        from_there.append(&mut ahead);
        ahead = from_there;
    }
    Ok((here, exposed))
}

/// The names on the way, the root among them.
fn steps(path: &Path) -> VecDeque<OsString> {
    let steps = path.components().filter(|step| *step != Component::CurDir);
    steps.map(|step| step.as_os_str().to_owned()).collect()
}

/// Whether only root and this user may write to a directory.
fn is_closed(directory: &OwnedFd) -> io::Result<bool> {
    let stat = stat::fstat(directory)?;
    let ours = [0, unistd::geteuid().as_raw()].contains(&stat.st_uid);
    Ok(ours && stat.st_mode & 0o022 == 0)
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
