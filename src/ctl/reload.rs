//! `bdaemonctl reload`: as SIGHUP, and says what came of it.

use clap::Args;

use super::{Context, CtlError};
use crate::control::protocol::{Reply, Request};

/// Read the configuration again, and open the targets again
#[derive(Debug, Args)]
pub(super) struct Reload {}

impl Reload {
    pub(super) fn run(context: &Context) -> Result<(), CtlError> {
        let mut client = context.connect()?;
        match client.ask(&Request::Reload {})? {
            Reply::Done {} => Ok(()),
            _ => Err(client.unexpected().into()),
        }
    }
}
