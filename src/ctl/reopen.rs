//! `bdaemonctl reopen`: as SIGUSR1, and says what came of it.

use clap::Args;

use super::{Context, CtlError};
use crate::control::protocol::Request;

/// Open the targets again, after a rotation
#[derive(Debug, Args)]
pub(super) struct Reopen {}

impl Reopen {
    pub(super) fn run(context: &Context) -> Result<(), CtlError> {
        context.connect()?.have_done(&Request::Reopen {})?;
        Ok(())
    }
}
