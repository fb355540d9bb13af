//! bdaemonctl: one file a subcommand.
//!
//! Results are on standard output, errors are one line on standard error, exit codes are those of
//! sysexits(3).

mod check;
mod count;
mod send;
mod writer;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::writer::WriterError;
use crate::cli::{complain, config_help, parse};
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
    /// The configuration, in which pipes are looked up
    #[arg(short, long, value_name = "FILE", global = true, help = config_help("The configuration, in which pipes are looked up"))]
    config: Option<PathBuf>,

    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: (),

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Send(send::Send),
    Count(count::Count),
    Check(check::Check),
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
            Self::Stdin(_) | Self::Stdout(_) => Sysexit::IoErr,
        }
    }
}

/// The program `bdaemonctl`.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli: Cli = match parse(PROGRAM, args) {
        Ok(cli) => cli,
        Err(code) => return code.into(),
    };
    let config = cli.config.as_deref();
    let done = match cli.command {
        Command::Send(send) => send.run(config),
        Command::Count(count) => count.run(config),
        Command::Check(check) => check.run(config),
    };
    match done {
        Ok(()) => Sysexit::Ok.into(),
        Err(error) => {
            complain(PROGRAM, &error);
            error.exit().into()
        }
    }
}

/// The pipe of this name; without a name the first one.
fn choose_pipe(config: &Config, name: Option<&str>) -> Result<Pipe, CtlError> {
    let mut pipes = config.pipes.iter();
    let chosen = match name {
        Some(name) => pipes.find(|pipe| pipe.name == name),
        None => pipes.next(),
    };
    chosen.cloned().ok_or_else(|| CtlError::UnknownPipe {
        name: name.unwrap_or_default().to_owned(),
        known: config.pipes.iter().map(|pipe| pipe.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}
