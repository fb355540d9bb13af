//! bdaemonctl: one file a subcommand.
//!
//! Results are on standard output, errors are one line on standard error, exit codes are those of
//! sysexits(3).

mod check;
mod client;
mod completions;
mod confirmed;
mod count;
mod lines;
mod log_level;
mod rates;
mod reload;
mod reopen;
mod send;
mod stats;
mod status;
mod stop;
mod tail;
mod top;
mod writer;

use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::client::{Client, ClientError};
use self::writer::WriterError;
use crate::cli::{complain, config_help, parse, print};
use crate::config::{Config, ConfigError, Pipe};
use crate::exit::Sysexit;
use crate::sys::why;

const PROGRAM: &str = "bdaemonctl";

/// Writes to the pipes of bdaemon and looks after it.
#[derive(Debug, Parser)]
#[command(name = "bdaemonctl", version, disable_version_flag = true)]
#[command(
    after_help = "Exit codes are those of sysexits(3): 0 done, 64 usage, 65 bad data, 69 no daemon, 73 cannot \
                        create, 74 input or output, 75 timed out, 77 not permitted, 78 configuration."
)]
struct Cli {
    #[command(flatten)]
    context: Context,

    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: (),

    #[command(subcommand)]
    command: Command,
}

/// What all commands have in common.
#[derive(Debug, clap::Args)]
struct Context {
    /// The configuration, in which pipes are looked up
    #[arg(short, long, value_name = "FILE", global = true, help = config_help("The configuration, in which pipes and the socket are looked up"))]
    config: Option<PathBuf>,

    /// The control socket, in place of the configured one
    #[arg(short, long, value_name = "SOCKET", global = true)]
    socket: Option<PathBuf>,

    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Send(send::Send),
    Count(count::Count),
    Status(status::StatusCommand),
    Stats(stats::Stats),
    Tail(tail::Tail),
    Top(top::Top),
    LogLevel(log_level::LogLevel),
    Reload(reload::Reload),
    Reopen(reopen::Reopen),
    Stop(stop::Stop),
    Check(check::Check),
    Completions(completions::Completions),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CtlError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("no pipe `{name}` is configured; there is {known}")]
    UnknownPipe { name: String, known: String },
    #[error("{0}")]
    Data(&'static str),
    #[error(transparent)]
    Writer(#[from] WriterError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(
        "{cause}; {confirmed} of {sent} records were confirmed, and others may still be delivered"
    )]
    Unconfirmed { cause: ClientError, confirmed: u64, sent: u64 },
    #[error("{0} records could not be delivered in time and are lost")]
    Lost(u64),
    #[error("standard input: {}", why(.0))]
    Stdin(io::Error),
    #[error("standard output: {}", why(.0))]
    Stdout(io::Error),
}

impl CtlError {
    fn exit(&self) -> Sysexit {
        match self {
            Self::Config(error) => error.exit(),
            Self::UnknownPipe { .. } => Sysexit::Usage,
            Self::Data(_) => Sysexit::DataErr,
            Self::Writer(error) => error.exit(),
            Self::Client(error) | Self::Unconfirmed { cause: error, .. } => error.exit(),
            Self::Lost(_) | Self::Stdin(_) | Self::Stdout(_) => Sysexit::IoErr,
        }
    }
}

/// The program `bdaemonctl`.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli: Cli = match parse(PROGRAM, args) {
        Ok(cli) => cli,
        Err(code) => return code.into(),
    };
    let context = &cli.context;
    let done = match cli.command {
        Command::Send(send) => send.run(context),
        Command::Count(count) => count.run(context),
        Command::Status(_) => status::StatusCommand::run(context),
        Command::Stats(stats) => stats.run(context),
        Command::Tail(tail) => tail.run(context),
        Command::Top(top) => top.run(context),
        Command::LogLevel(log_level) => log_level.run(context),
        Command::Reload(_) => reload::Reload::run(context),
        Command::Reopen(_) => reopen::Reopen::run(context),
        Command::Stop(stop) => stop.run(context),
        Command::Check(check) => check.run(context),
        Command::Completions(completions) => completions.run(),
    };
    match done {
        Ok(()) => Sysexit::Ok.into(),
        // Whoever read the output has had enough.
        Err(CtlError::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Sysexit::Ok.into()
        }
        Err(error) => {
            complain(PROGRAM, &error);
            error.exit().into()
        }
    }
}

impl Context {
    fn config(&self) -> Result<Config, CtlError> {
        Ok(Config::load(self.config.as_deref())?)
    }

    /// Connects to the running daemon.
    fn connect(&self) -> Result<Client, CtlError> {
        let path = match &self.socket {
            Some(path) => path.clone(),
            None => {
                let control = self.config()?.control;
                if !control.enable {
                    return Err(ClientError::Disabled(control.socket).into());
                }
                control.socket
            }
        };
        Ok(Client::connect(&path)?)
    }

    /// The pipe of this name; without a name the first one.
    fn choose_pipe(&self, name: Option<&str>) -> Result<Pipe, CtlError> {
        let config = self.config()?;
        let mut pipes = config.pipes.iter();
        let chosen = match name {
            Some(name) => pipes.find(|pipe| pipe.name == name),
            None => pipes.next(),
        };
        chosen.cloned().ok_or_else(|| CtlError::UnknownPipe {
            name: name.unwrap_or_default().to_owned(),
            known: config.pipes.iter().map(|pipe| &*pipe.name).collect::<Vec<_>>().join(", "),
        })
    }
}

/// Prints data for machines, on one line.
fn show_json(value: &impl serde::Serialize) -> Result<(), CtlError> {
    let line = serde_json::to_string(value).map_err(|error| CtlError::Stdout(error.into()))?;
    show(format_args!("{line}\n"))
}

/// Prints a result on standard output.
fn show(text: impl Display) -> Result<(), CtlError> {
    print(text).map_err(CtlError::Stdout)
}
