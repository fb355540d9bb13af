//! `bdaemonctl count`: the client of the example that bdaemon grew out of.

use clap::Args;

use super::writer::PipeWriter;
use super::{Context, CtlError, show};
use crate::config::Span;

/// Send numbers, one every few seconds, and print each
#[derive(Debug, Args)]
pub(super) struct Count {
    /// The first number
    #[arg(long, default_value_t = 0)]
    from: u64,

    /// The last number
    #[arg(long, default_value_t = 20)]
    to: u64,

    /// The time between two numbers
    #[arg(long, value_name = "DURATION", default_value = "3s")]
    interval: Span,

    /// The pipe to write to [default: the first one]
    #[arg(short = 'n', long, value_name = "PIPE")]
    pipe: Option<String>,
}

impl Count {
    pub(super) fn run(self, context: &Context) -> Result<(), CtlError> {
        let pipe = context.choose_pipe(self.pipe.as_deref())?;
        let mut writer = PipeWriter::open(&pipe.path, None)?;
        for number in self.from..=self.to {
            if number > self.from {
                std::thread::sleep(self.interval.0);
            }
            writer.write_record(format!("{number}\n").as_bytes())?;
            show(format_args!("{number}\n"))?;
        }
        Ok(())
    }
}
