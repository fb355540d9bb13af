//! A scratch directory on an ordinary disk, with a FIFO in it and a place for output.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

pub(crate) struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let scratch = std::env::var_os("BENCH_SCRATCH").unwrap_or_else(|| "/var/tmp".into());
        let directory = tempfile::Builder::new().prefix("bd").tempdir_in(scratch).unwrap();
        let site = Self { directory };
        fs::create_dir(site.output()).unwrap();
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn fifo(&self) -> PathBuf {
        self.path("in.pipe")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("syslog")
    }

    /// The directory of what a consumer writes.
    pub(crate) fn output(&self) -> PathBuf {
        self.path("out")
    }

    /// The file in it that is written to; others may have been rotated away from there.
    pub(crate) fn current(&self) -> PathBuf {
        self.output().join("current")
    }
}

/// Makes a FIFO.
pub(crate) fn make_fifo(path: &Path) {
    mkfifo(path, Mode::from_bits_truncate(0o600)).unwrap();
}

/// Opens a FIFO for a program that reads its standard input, without waiting for a writer.
pub(crate) fn open_reader(path: &Path) -> File {
    open(OpenOptions::new().read(true), path).unwrap()
}

/// Opens a FIFO for writing; none while nobody reads it.
pub(crate) fn open_writer(path: &Path) -> Option<File> {
    match open(OpenOptions::new().write(true), path) {
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => None,
        file => Some(file.unwrap()),
    }
}

/// Opens without waiting; reading and writing wait.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(file)
}
