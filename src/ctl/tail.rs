//! `bdaemonctl tail`: the last records that passed through, and those that come.

use clap::Args;

use super::{Context, CtlError, PROGRAM, show, show_json};
use crate::cli::complain;
use crate::control::protocol::{Passed, Reply, Request};

/// Show the last records that passed through, and with -f those that come
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// Go on with the records that come
    #[arg(short, long)]
    follow: bool,

    /// How many of the last records
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,

    /// Of this pipe only
    pipe: Option<String>,
}

impl Tail {
    pub(super) fn run(self, context: &Context) -> Result<(), CtlError> {
        let mut client = context.connect()?;
        let Self { follow, lines, pipe } = self;
        client.send(&Request::Tail { pipe, lines, follow })?;
        loop {
            match client.receive()? {
                Reply::Record(passed) if context.json => show_json(&passed)?,
                Reply::Record(Passed { time, pipe, severity, text }) => {
                    show(format_args!("{time} {pipe}.{severity}: {text}\n"))?;
                }
                Reply::Missed { records } => complain(
                    PROGRAM,
                    format_args!(
                        "{records} records are missing here: they came faster than they were read"
                    ),
                ),
                Reply::Done {} => return Ok(()),
                _ => return Err(client.unexpected().into()),
            }
        }
    }
}
