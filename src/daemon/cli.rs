//! The command line of bdaemon.

use std::path::PathBuf;

use clap::Parser;

use crate::cli::config_help;

/// Carries lines from named pipes to syslog or to log files without losing any.
#[derive(Debug, Parser)]
#[command(
    name = "bdaemon",
    version,
    after_help = "See bdaemon(8), bdaemon.toml(5) and bdaemonctl(8)."
)]
#[command(disable_version_flag = true)]
pub(super) struct Cli {
    /// The configuration
    #[arg(short, long, value_name = "FILE", help = config_help("The configuration"))]
    pub(super) config: Option<PathBuf>,

    /// Stay in the foreground
    #[arg(short, long)]
    pub(super) foreground: bool,

    /// Check the configuration, print it as understood, and exit
    #[arg(short = 't', long)]
    pub(super) check: bool,

    /// The pid file, in place of the configured one
    #[arg(short, long, value_name = "PIDFILE")]
    pub(super) pid_file: Option<PathBuf>,

    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: (),
}
