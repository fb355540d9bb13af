//! The administrator's hand on the daemon. See `bdaemonctl --help`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    bdaemon::ctl::main(std::env::args_os())
}
