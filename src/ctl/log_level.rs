//! `bdaemonctl log-level`: the level of bdaemon's own messages.

use clap::Args;

use super::{Context, CtlError, show, show_json};
use crate::control::protocol::{Reply, Request};

/// Show or set the level of bdaemon's own messages, until the next reload
#[derive(Debug, Args)]
pub(super) struct LogLevel {
    /// error, warn, info, debug or trace
    level: Option<String>,
}

impl LogLevel {
    pub(super) fn run(self, context: &Context) -> Result<(), CtlError> {
        let mut client = context.connect()?;
        match client.ask(&Request::LogLevel { level: self.level })? {
            Reply::LogLevel { level } if context.json => {
                show_json(&serde_json::json!({ "log_level": level }))
            }
            Reply::LogLevel { level } => show(format_args!("{level}\n")),
            _ => Err(client.unexpected().into()),
        }
    }
}
