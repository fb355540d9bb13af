//! The configuration: one TOML file, whose every key is optional.
//!
//! [`Config`] is the validated form. It can only be had from [`Config::load`], [`Config::parse`]
//! and [`Config::default`], so that nothing behind it checks again. The parsed form is private to
//! this module.

mod advice;
mod error;
mod load;
mod schema;
mod show;
mod targets;
mod units;
mod uses;
mod validate;
mod values;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::priority::{Facility, Severity};

pub use error::{ConfigError, Place};
pub use units::{FileMode, Size, Span, UnitError};
pub(crate) use validate::LOG_LEVELS;

/// Where the configuration is looked for when no `-c` names one: `$PREFIX/etc/bdaemon.toml`, with
/// the prefix that the build was told.
pub const DEFAULT_PATH: &str = match option_env!("BDAEMON_CONFIG") {
    Some(path) => path,
    None => "/usr/local/etc/bdaemon.toml",
};

/// The sections of the file in their order, each with its keys: what a sample or a manual page has
/// to speak of. A section is named as in its brackets, and the top is `""`.
#[must_use]
pub fn keys() -> Vec<(&'static str, Vec<&'static str>)> {
    schema::sections()
        .into_iter()
        .map(|(section, keys)| {
            let plain = |key: &&str| !schema::is_section(&schema::inner(section, key));
            (section, keys.iter().copied().filter(plain).collect())
        })
        .collect()
}

/// A configuration that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The longest that the daemon sleeps before it looks after its pipes and targets.
    pub poll_interval: Duration,
    /// The pid file.
    pub pid_file: PathBuf,
    /// The level of bdaemon's own messages.
    pub log_level: log::LevelFilter,
    /// The longest that a shutdown may take to deliver what is left.
    pub stop_timeout: Duration,
    /// Whom to run as, when started as root.
    pub user: Option<String>,
    /// The group to run as; none means the login group of `user`.
    pub group: Option<String>,
    /// The target of bdaemon's own messages.
    pub log: Log,
    /// The pipes: at least one, with names and paths of their own.
    pub pipes: Vec<Pipe>,
    /// The control socket.
    pub control: Control,
}

impl Config {
    /// The logs of all pipes, and bdaemon's own.
    pub(crate) fn logs(&self) -> impl Iterator<Item = &Log> {
        self.pipes.iter().map(|pipe| &pipe.log).chain([&self.log])
    }
}

/// Where messages go, and what stands before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The facility of records that carry none.
    pub facility: Facility,
    /// The program's name in front of each message.
    pub tag: String,
    /// Where to.
    pub target: Target,
}

/// A destination, with the settings that only it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A syslog daemon.
    Syslog {
        /// Its address.
        address: Address,
        /// The form of the messages.
        format: SyslogFormat,
    },
    /// A log file.
    File {
        /// Its path.
        path: PathBuf,
        /// Its permission bits, when bdaemon makes it.
        mode: FileMode,
        /// The form of the lines.
        format: FileFormat,
        /// When a batch counts as delivered.
        sync: Sync,
    },
    /// Standard error.
    Stderr,
}

/// The address of a syslog daemon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A local datagram socket.
    Unix(PathBuf),
    /// UDP, RFC 5426.
    Udp {
        /// A name or an address.
        host: String,
        /// The port, usually 514.
        port: u16,
    },
    /// TCP with octet counting, RFC 6587 section 3.4.1.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port, often 514 or 601.
        port: u16,
    },
}

impl Address {
    /// Where syslogd listens on this system.
    pub(crate) fn local() -> Self {
        Self::Unix(PathBuf::from(if cfg!(target_os = "linux") {
            "/dev/log"
        } else {
            "/var/run/log"
        }))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp { host, port } => write!(f, "udp:{host}:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

/// The form of a syslog message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogFormat {
    /// The BSD form with local time; with the host where it leaves this machine.
    Rfc3164,
    /// The syslog protocol, with local time, its offset and the host.
    Rfc5424,
}

/// The form of a line in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// `TIME HOST TAG[PID] PIPE.SEVERITY: TEXT`
    Text,
    /// One JSON object a line.
    Json,
}

/// When a batch of lines counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// When write(2) took it.
    Never,
    /// When fsync(2) said that it is on disk.
    Always,
}

/// A pipe to make and to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipe {
    /// Its name, in status and in log lines.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its permission bits, exactly.
    pub mode: FileMode,
    /// Its owner; none means the user that the daemon runs as.
    pub owner: Option<String>,
    /// Its group, whose members may write; none means the group that the daemon runs as.
    pub group: Option<String>,
    /// The severity of records that carry no priority.
    pub priority: Severity,
    /// The longest record in bytes as read; longer ones are split.
    pub max_record: usize,
    /// How long a pipe must be silent for an unterminated tail to become a record.
    pub flush_after: Duration,
    /// Its target.
    pub log: Log,
}

impl Pipe {
    /// The lock file beside the pipe: FIFOs cannot be locked on FreeBSD.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        lock_path(&self.path)
    }
}

/// The lock file of the pipe at `path`.
pub(crate) fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// The control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Whether there is one.
    pub enable: bool,
    /// Its path.
    pub socket: PathBuf,
    /// Its permission bits.
    pub mode: FileMode,
    /// Its group.
    pub group: Option<String>,
}
