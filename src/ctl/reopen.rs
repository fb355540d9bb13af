//! `bdaemonctl reopen`: as SIGUSR1, and says what came of it.

use clap::Args;

use super::{Context, CtlError};
use crate::control::protocol::{Reply, Request};

/// Open the targets again, after a rotation
#[derive(Debug, Args)]
pub(super) struct Reopen {}

impl Reopen {
    pub(super) fn run(context: &Context) -> Result<(), CtlError> {
        let mut client = context.connect()?;
        match client.ask(&Request::Reopen {})? {
            Reply::Done {} => Ok(()),
            _ => Err(client.unexpected().into()),
        }
    }
}
