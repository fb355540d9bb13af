//! `bdaemonctl completions`: for the shells that have them.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell as Generator;

use super::{Cli, CtlError, PROGRAM, show};

/// Print completions for a shell
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// bash; the sh of FreeBSD completes only file names
    #[value(alias = "sh")]
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), CtlError> {
        let generator = match self.shell {
            Shell::Bash => Generator::Bash,
            Shell::Zsh => Generator::Zsh,
            Shell::Fish => Generator::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(generator, &mut Cli::command(), PROGRAM, &mut script);
        show(String::from_utf8_lossy(&script))
    }
}
