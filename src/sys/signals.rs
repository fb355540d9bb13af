//! Signals, as descriptors that poll(2) can watch.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// TERM and INT: deliver what there is and end.
    Stop(&'static str),
    /// HUP: read the configuration again, open the targets again.
    Reload,
    /// USR1: open the targets again.
    Reopen,
    /// USR2, and INFO where the system has it: log the statistics.
    Report,
}

/// The signals of this process from now on.
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

/// The signal that Ctrl-T sends; Linux has none.
const INFO: Option<i32> = {
    #[cfg(target_os = "freebsd")]
    let info = Some(signal_hook::consts::signal::SIGINFO);
    #[cfg(not(target_os = "freebsd"))]
    let info = None;
    info
};

impl Signals {
    /// Catches the signals that bdaemon acts on. XFSZ is caught and not acted on: its default is
    /// to kill, and write(2) says EFBIG as well.
    pub(crate) fn catch() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let caught = [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ];
        let caught = caught.into_iter().chain(INFO);
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, caught)?;
        Ok(Self { delivery })
    }

    /// What was asked for since the last call.
    pub(crate) fn pending(&mut self) -> impl Iterator<Item = Demand> {
        self.delivery.pending().filter_map(|signal| match signal {
            SIGTERM => Some(Demand::Stop("TERM")),
            SIGINT => Some(Demand::Stop("INT")),
            SIGHUP => Some(Demand::Reload),
            SIGUSR1 => Some(Demand::Reopen),
            SIGUSR2 => Some(Demand::Report),
            other => (Some(other) == INFO).then_some(Demand::Report),
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}
