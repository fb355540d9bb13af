//! `bdaemonctl stop`: as SIGTERM, waits for the end, and says what came of it.

use clap::Args;

use super::{Context, CtlError, show, show_json};
use crate::config::Span;
use crate::control::protocol::{Reply, Request};

/// Deliver what is left, end the daemon, and wait for that
#[derive(Debug, Args)]
pub(super) struct Stop {
    /// The longest that the delivery may take, in place of the configured time
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
}

impl Stop {
    pub(super) fn run(self, context: &Context) -> Result<(), CtlError> {
        let mut client = context.connect()?;
        let timeout = self.timeout.map(|timeout| timeout.0.as_secs_f64());
        let reply = client.ask(&Request::Stop { timeout })?;
        let Reply::Stopped { drained, lost } = reply else {
            return Err(client.unexpected().into());
        };
        client.wait_for_end()?;
        let shown = if context.json {
            show_json(&serde_json::json!({ "drained": drained, "lost": lost }))
        } else {
            show(format_args!("stopped; {drained} more records were delivered first\n"))
        };
        if lost > 0 { Err(CtlError::Lost(lost)) } else { shown }
    }
}
