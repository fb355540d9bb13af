//! The administrator's hand on the daemon. See `bdaemonctl --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bdaemon::ctl::main(std::env::args_os())
}
