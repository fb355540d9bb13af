//! The daemon. See `bdaemon --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bdaemon::daemon::main(std::env::args_os())
}
