//! `bdaemonctl send`: words, or each line of standard input, into a pipe.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use memchr::memchr2;

use super::confirmed::ConfirmedSender;
use super::lines::{Piece, for_each_piece};
use super::writer::PipeWriter;
use super::{Context, CtlError};
use crate::config::Span;
use crate::priority::Severity;

/// Write a record, or each line of standard input as one
#[derive(Debug, Args)]
pub(super) struct Send {
    /// The priority: a severity, or FACILITY.SEVERITY, or a number from 0 to 191
    #[arg(short, long, value_parser = priority)]
    priority: Option<u8>,

    /// The pipe to write to [default: the first one]
    #[arg(short = 'n', long, value_name = "PIPE")]
    pipe: Option<String>,

    /// Return only when the daemon has delivered everything
    #[arg(long)]
    wait: bool,

    /// How long a record may wait for the pipe, or with --wait for delivery [default: for ever]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,

    /// The words of one record; none, or `-`, for standard input
    #[arg(trailing_var_arg = true)]
    message: Vec<OsString>,
}

/// Reads a priority as logger(1) does, and as the number that `<N>` has.
fn priority(text: &str) -> Result<u8, String> {
    let wrong = || {
        let names = Severity::ALL.map(Severity::name).join(", ");
        format!("write a severity ({names}), FACILITY.SEVERITY, or a number from 0 to 191")
    };
    if let Ok(number) = text.parse::<u8>() {
        return if number <= 191 { Ok(number) } else { Err(wrong()) };
    }
    let (facility, severity) = match text.split_once('.') {
        Some((facility, severity)) => {
            let facility: crate::priority::Facility = facility.parse().map_err(|_| wrong())?;
            (facility.code(), severity)
        }
        None => (0, text),
    };
    severity.parse::<Severity>().map(|severity| facility | severity as u8).map_err(|_| wrong())
}

impl Send {
    pub(super) fn run(self, context: &Context) -> Result<(), CtlError> {
        let prefix = self.priority.map_or(String::new(), |number| format!("<{number}>"));
        let record = one_record(&prefix, &self.message)?;
        let patience = self.timeout.map(|timeout| timeout.0);
        if self.wait {
            let mut sender = ConfirmedSender::connect(context, self.pipe, patience)?;
            match record {
                Some(record) => sender.write_lines(b"", &record)?,
                None => sender.write_all_of(&mut io::stdin().lock(), prefix.as_bytes())?,
            }
            return sender.finish();
        }
        let pipe = context.choose_pipe(self.pipe.as_deref())?;
        let mut writer = PipeWriter::open(&pipe.path, patience)?;
        match record {
            Some(record) => writer.write_record(&record)?,
            None => send_lines(&mut io::stdin().lock(), &prefix, &mut writer)?,
        }
        Ok(())
    }
}

/// The words as one record, with its newline; none when standard input is to be read.
fn one_record(prefix: &str, words: &[OsString]) -> Result<Option<Vec<u8>>, CtlError> {
    if words.is_empty() || words == ["-"] {
        return Ok(None);
    }
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let text = words.join(&b' ');
    if memchr2(b'\n', 0, &text).is_some() {
        return Err(CtlError::Data(
            "a record has no newline; send several lines through standard input: command | bdaemonctl send",
        ));
    }
    Ok(Some([prefix.as_bytes(), &text, b"\n"].concat()))
}

/// Sends each line as soon as it is there. A line of any length goes through.
fn send_lines(
    input: &mut impl Read,
    prefix: &str,
    writer: &mut PipeWriter,
) -> Result<(), CtlError> {
    let prefix = prefix.as_bytes();
    for_each_piece(input, |piece| {
        match piece {
            Piece::Lines(lines) => writer.write_lines(prefix, lines)?,
            Piece::Part(part) => writer.write_unfinished(prefix, part, false)?,
            Piece::Rest(rest) => writer.write_unfinished(prefix, rest, true)?,
        }
        Ok(())
    })
}
