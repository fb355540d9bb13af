//! `bdaemonctl reload`: as SIGHUP, and says what came of it.

use clap::Args;

use super::{Context, CtlError};
use crate::control::protocol::Request;

/// Read the configuration again, and open the targets again
#[derive(Debug, Args)]
pub(super) struct Reload {}

impl Reload {
    pub(super) fn run(context: &Context) -> Result<(), CtlError> {
        context.connect()?.have_done(&Request::Reload {})?;
        Ok(())
    }
}
