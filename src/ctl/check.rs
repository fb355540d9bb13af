//! `bdaemonctl check`: what `bdaemon -t` does.

use std::io;
use std::path::PathBuf;

use clap::Args;

use super::{Context, CtlError, PROGRAM, show_json};
use crate::cli::show;
use crate::config::Config;

/// Check a configuration and print it as understood
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration to check [default: that of -c, or the default path]
    file: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> Result<(), CtlError> {
        let config = Config::load(self.file.as_deref().or(context.config.as_deref()))?;
        if context.json {
            // What is printed for people is TOML, and a parser of that knows the rest.
            let printed = toml::from_str::<toml::Table>(&config.to_string());
            return show_json(&printed.map_err(|error| CtlError::Stdout(io::Error::other(error)))?);
        }
        show(PROGRAM, &config).map_err(CtlError::Stdout)
    }
}
