//! The daemon. See `bdaemon --help`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    bdaemon::daemon::main(std::env::args_os())
}
