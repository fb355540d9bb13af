//! What the command lines of both programs have in common.

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Parser;
use clap::error::ErrorKind;

use crate::config::{Config, DEFAULT_PATH};
use crate::exit::Sysexit;

/// Parses the arguments, or does what they ask for instead of a run (help, version), or says what
/// is wrong with them in one line; the latter two give the code to exit with.
pub(crate) fn parse<C: Parser>(
    program: &str,
    args: impl IntoIterator<Item = OsString>,
) -> Result<C, Sysexit> {
    C::try_parse_from(args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody left to tell if standard output is gone.
            let _ = error.print();
            Sysexit::Ok
        }
        _ => {
            complain(program, one_line(&error.to_string()));
            Sysexit::Usage
        }
    })
}

/// clap explains over several lines; this takes the error and the tip.
fn one_line(text: &str) -> String {
    let line = |text: &str| {
        text.trim().trim_start_matches("error: ").trim_start_matches("tip: ").to_owned()
    };
    let (error, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let error = error.lines().map(line).collect::<Vec<_>>().join(" ");
    let tip = rest.lines().find(|text| text.trim().starts_with("tip: ")).map(line);
    tip.map_or_else(|| format!("{error}; see --help"), |tip| format!("{error}; {tip}"))
}

/// Says on standard error what went wrong.
pub(crate) fn complain(program: &str, what: impl std::fmt::Display) {
    // Nobody left to tell if standard error is gone.
    let _ = writeln!(io::stderr(), "{program}: {what}");
}

/// Prints a result on standard output.
pub(crate) fn print(text: impl std::fmt::Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{text}")?;
    stdout.flush()
}

/// Prints a configuration as understood, and on standard error what this machine lacks for it.
pub(crate) fn show(program: &str, config: &Config) -> io::Result<()> {
    for advice in config.advice() {
        complain(program, format_args!("warning: {advice}"));
    }
    print(config)
}

/// The help text of `-c`, with the path that was compiled in.
pub(crate) fn config_help(what: &str) -> String {
    format!("{what} [default: {DEFAULT_PATH}, and built-in values where there is none]")
}
