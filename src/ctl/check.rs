//! `bdaemonctl check`: what `bdaemon -t` does.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{CtlError, PROGRAM};
use crate::cli::{complain, print};
use crate::config::Config;

/// Check a configuration and print it as understood
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration to check [default: the one in use]
    file: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self, config: Option<&Path>) -> Result<(), CtlError> {
        let config = Config::load(self.file.as_deref().or(config))?;
        for advice in config.advice() {
            complain(PROGRAM, format_args!("warning: {advice}"));
        }
        print(&config).map_err(CtlError::Stdout)
    }
}
