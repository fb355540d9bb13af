//! `bdaemonctl check`: what `bdaemon -t` does.

use std::path::PathBuf;

use clap::Args;

use super::{Context, CtlError, PROGRAM};
use crate::cli::show;
use crate::config::Config;

/// Check a configuration and print it as understood
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration to check [default: the one in use]
    file: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> Result<(), CtlError> {
        let config = Config::load(self.file.as_deref().or(context.config.as_deref()))?;
        show(PROGRAM, &config).map_err(CtlError::Stdout)
    }
}
