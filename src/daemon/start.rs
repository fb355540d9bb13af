//! Start-up: everything that can fail is tried here, and undone when a later step fails.

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use nix::unistd;

use super::change::Change;
use super::cli::Cli;
use super::commands::Control;
use super::journal;
use super::pid_file::{PidFile, PidFileError};
use super::relay::Relay;
use super::status;
use super::{Daemon, Prepared};
use crate::config::{Config, ConfigError, DEFAULT_PATH};
use crate::exit::Sysexit;
use crate::line::Sender;
use crate::pipe::PipeError;
use crate::sys::account::{self, AccountError, Identity, PrivilegeError};
use crate::sys::signals::Signals;
use crate::sys::socket::{ListenError, Listener};
use crate::sys::stamp::Stamp;
use crate::sys::{remedy, why};
use crate::target::{Destination, TargetError};

/// Why the daemon does not start, or a new configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// A user or group is not there.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// Another daemon runs, or the pid file cannot be used.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The pid file of the command line is something else already.
    #[error("pid file: {0}")]
    PidFileOption(String),
    /// A pipe cannot be made or taken.
    #[error("pipe {name}: {} {cause}{}", path.display(), remedy(path))]
    Pipe {
        /// The pipe's name.
        name: String,
        /// The pipe's path.
        path: PathBuf,
        /// Why.
        cause: PipeError,
    },
    /// A target cannot be opened.
    #[error("target {destination}: {cause}{}", destination.remedy())]
    Target {
        /// The target.
        destination: Destination,
        /// Why.
        cause: TargetError,
    },
    /// The control socket cannot be made.
    #[error("control socket {}: {cause}{}", path.display(), remedy(path))]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        cause: ListenError,
    },
    /// Root's privileges cannot be given up.
    #[error("becoming user {name}: {cause}")]
    Privileges {
        /// The user.
        name: String,
        /// Why.
        cause: PrivilegeError,
    },
    /// A running daemon cannot change this.
    #[error("{0} cannot change while the daemon runs; restart it")]
    NeedsRestart(&'static str),
    /// A daemon without a standard error cannot use it.
    #[error("target = \"stderr\" goes nowhere in the background; restart the daemon with it")]
    NoStderr,
    /// The configuration file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The process cannot leave the terminal.
    #[error("leaving the terminal: {0}")]
    Detach(String),
    /// The system refused something else.
    #[error("{during}: {}", why(cause))]
    Os {
        /// What.
        during: &'static str,
        /// Why.
        cause: io::Error,
    },
}

impl StartError {
    pub(super) fn os(during: &'static str) -> impl Fn(io::Error) -> Self {
        move |cause| Self::Os { during, cause }
    }

    /// The code to exit with.
    pub(super) fn exit(&self) -> Sysexit {
        match self {
            Self::PidFileOption(_) => Sysexit::Usage,
            Self::Account(_)
            | Self::Pipe { cause: PipeError::Account(_), .. }
            | Self::NeedsRestart(_)
            | Self::NoStderr => Sysexit::Config,
            Self::Config(error) => error.exit(),
            Self::PidFile(_) | Self::Pipe { .. } | Self::Target { .. } | Self::Socket { .. } => {
                Sysexit::CantCreat
            }
            Self::Privileges { .. } => Sysexit::NoPerm,
            Self::Detach(_) | Self::Os { .. } => Sysexit::OsErr,
        }
    }
}

impl Prepared {
    /// Looks up whom to run as, and takes the pid file.
    pub(super) fn new(cli: Cli, mut config: Config) -> Result<Self, StartError> {
        let absolute =
            |path: PathBuf| std::path::absolute(path).map_err(StartError::os("working directory"));
        // A file that was there must not be missing at a reload, be it the default one.
        let default = Some(PathBuf::from(DEFAULT_PATH)).filter(|path| path.exists());
        let config_path = cli.config.map(absolute).transpose()?.or(default);
        let pid_file_option = cli.pid_file.map(absolute).transpose()?;
        if let Some(path) = &pid_file_option {
            config.set_pid_file(path).map_err(StartError::PidFileOption)?;
        }
        let identity = match &config.user {
            Some(user) if unistd::geteuid().is_root() => {
                Some(Identity::resolve(user, config.group.as_deref())?)
            }
            _ => None,
        };
        let pid_file = PidFile::lock(&config.pid_file)?;
        let foreground = cli.foreground;
        Ok(Self { config, config_path, pid_file_option, identity, pid_file, foreground })
    }
}

impl Daemon {
    /// Opens everything, gives up root's privileges, and writes the pid file. On an error nothing
    /// is left behind.
    pub(super) fn start(prepared: Prepared) -> Result<Self, StartError> {
        let has_stderr = prepared.foreground || prepared.uses_stderr();
        let Prepared { config, config_path, pid_file_option, identity, pid_file, .. } = prepared;
        journal::install(config.log_level);
        match open(&config, identity.as_ref(), &pid_file) {
            Ok((signals, relay, control)) => {
                let started = (Instant::now(), Stamp::now());
                Ok(Self {
                    next_look: started.0 + config.poll_interval,
                    config,
                    config_path,
                    pid_file_option,
                    identity,
                    pid_file,
                    has_stderr,
                    signals,
                    relay,
                    control,
                    user: status::user_name(),
                    started,
                    reloads: 0,
                    failed_reloads: 0,
                    last_reload_error: None,
                })
            }
            Err(error) => {
                // Only the first error is worth telling.
                let _ = pid_file.remove();
                Err(error)
            }
        }
    }
}

fn open(
    config: &Config,
    identity: Option<&Identity>,
    pid_file: &PidFile,
) -> Result<(Signals, Relay, Control), StartError> {
    let signals = Signals::catch().map_err(StartError::os("catching signals"))?;
    let mut relay = Relay::new(Sender::this_process());
    let change = Change::prepare(&relay, config, identity, true)?;
    let listener = listen(config, identity);
    let settled = listener.and_then(|listener| {
        settle(config, identity, pid_file).inspect_err(|_| {
            // Only the first error is worth telling.
            let _ = listener.as_ref().map(Listener::unlink);
        })?;
        Ok(listener)
    });
    match settled {
        Ok(listener) => {
            change.commit(&mut relay, config);
            let mut control = Control::default();
            control.server.listener = listener;
            Ok((signals, relay, control))
        }
        Err(error) => {
            change.undo(&relay);
            Err(error)
        }
    }
}

/// Makes the control socket, if there is to be one.
pub(super) fn listen(
    config: &Config,
    identity: Option<&Identity>,
) -> Result<Option<Listener>, StartError> {
    let control = &config.control;
    if !control.enable {
        return Ok(None);
    }
    let group = control.group.as_deref().map(account::group).transpose()?;
    let owner = (identity.map(|id| id.uid), group.or(identity.map(|id| id.gid)));
    let listener = Listener::bind(&control.socket, control.mode.0, owner);
    let path = control.socket.clone();
    listener.map(Some).map_err(|cause| StartError::Socket { path, cause })
}

/// The steps after which nothing can fail any more. The last one gives up the privileges that
/// undoing the others may need.
fn settle(
    config: &Config,
    identity: Option<&Identity>,
    pid_file: &PidFile,
) -> Result<(), StartError> {
    pid_file.write()?;
    for advice in config.advice() {
        log::warn!("{advice}");
    }
    if let Some(identity) = identity {
        let name = identity.name.clone();
        identity.assume().map_err(|cause| StartError::Privileges { name, cause })?;
    } else if let Some(user) = &config.user {
        log::warn!("user = \"{user}\" has no effect: only root can become somebody else");
    }
    Ok(())
}
