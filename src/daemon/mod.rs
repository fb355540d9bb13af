//! The daemon: one process, one thread, one poll(2) loop.
//!
//! [`main`] is the program. `start` opens everything that can fail before anybody is told that it
//! runs; `relay` moves records from inlets (a pipe each) to outlets (a target each); `commands`
//! answers the clients of the control socket; `change` puts a new configuration under it, all or
//! nothing; `stop` delivers what is left.

mod change;
mod cli;
mod commands;
mod detach;
mod inlet;
mod journal;
mod outlet;
mod pid_file;
mod recent;
mod relay;
mod start;
mod status;
mod stop;

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use self::cli::Cli;
use self::commands::Control;
use self::detach::{Side, Starter, detach};
use self::pid_file::PidFile;
use self::relay::Relay;
use self::start::StartError;
use crate::cli::{complain, parse, show};
use crate::config::{Config, Span, Target};
use crate::exit::Sysexit;
use crate::sys::account::Identity;
use crate::sys::signals::{Demand, Signals};
use crate::sys::socket::Listener;
use crate::sys::stamp::Stamp;
use crate::sys::{lacks_descriptors, why};

const PROGRAM: &str = "bdaemon";

/// The program `bdaemon`.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    run(args).unwrap_or_else(|code| code).into()
}

fn run(args: impl IntoIterator<Item = OsString>) -> Result<Sysexit, Sysexit> {
    let cli: Cli = parse(PROGRAM, args)?;
    let mut config = Config::load(cli.config.as_deref()).map_err(|error| {
        complain(PROGRAM, &error);
        error.exit()
    })?;
    if cli.check {
        if let Some(path) = cli.pid_file.and_then(|path| std::path::absolute(path).ok()) {
            config.set_pid_file(&path).map_err(|why| {
                complain(PROGRAM, format_args!("pid file: {why}"));
                Sysexit::Usage
            })?;
        }
        return check(&config);
    }
    let prepared = Prepared::new(cli, config).map_err(|error| {
        complain(PROGRAM, &error);
        error.exit()
    })?;
    let starter = leave_terminal(&prepared)?;
    match Daemon::start(prepared) {
        Ok(daemon) => {
            starter.ready();
            Ok(daemon.run())
        }
        Err(error) => {
            starter.failed(&error);
            Err(error.exit())
        }
    }
}

/// Becomes the process that is to be the daemon. The one that was started waits here for the
/// other's word, and ends with it.
fn leave_terminal(prepared: &Prepared) -> Result<Starter, Sysexit> {
    if prepared.foreground {
        return Ok(Starter::Foreground);
    }
    let (starter, error) = match detach(prepared.uses_stderr()) {
        Side::Daemon(starter) => return Ok(starter),
        // The lock of the pid file is the daemon's now: this ends without unlocking it.
        Side::Parent(code) => std::process::exit(code as i32),
        Side::Failed(starter, error) => (starter, error),
    };
    // Only the first error is worth telling.
    let _ = prepared.pid_file.remove();
    starter.failed(&error);
    Err(error.exit())
}

/// Prints the configuration as understood, and what this machine lacks for it.
fn check(config: &Config) -> Result<Sysexit, Sysexit> {
    show(PROGRAM, config).map(|()| Sysexit::Ok).map_err(|error| {
        complain(PROGRAM, format_args!("standard output: {}", why(&error)));
        Sysexit::IoErr
    })
}

/// What is known and held before the daemon leaves the terminal.
struct Prepared {
    config: Config,
    /// The file that a reload reads; none means the default path.
    config_path: Option<PathBuf>,
    pid_file_option: Option<PathBuf>,
    /// Whom to become, when started as root.
    identity: Option<Identity>,
    pid_file: PidFile,
    foreground: bool,
}

impl Prepared {
    fn uses_stderr(&self) -> bool {
        self.config.logs().any(|log| log.target == Target::Stderr)
    }
}

/// The running daemon.
struct Daemon {
    config: Config,
    config_path: Option<PathBuf>,
    pid_file_option: Option<PathBuf>,
    identity: Option<Identity>,
    pid_file: PidFile,
    /// Whether standard error leads anywhere.
    has_stderr: bool,
    signals: Signals,
    relay: Relay,
    control: Control,
    /// The user that it runs as.
    user: String,
    /// When it was started, by both clocks.
    started: (Instant, Stamp),
    reloads: u64,
    failed_reloads: u64,
    last_reload_error: Option<String>,
    /// When pipes and targets are looked after next.
    next_look: Instant,
}

impl Daemon {
    /// Moves records until a signal or a client ends it.
    fn run(mut self) -> Sysexit {
        log::info!("started and ready");
        self.relay.move_along(Instant::now(), &[]);
        loop {
            let (signalled, happened) = match self.wait() {
                Ok(happened) => happened,
                Err(error) => {
                    log::error!("poll: {}", why(&error));
                    return self.stop("a failing poll(2)", None);
                }
            };
            let demands: Vec<_> =
                if signalled { self.signals.pending().collect() } else { Vec::new() };
            for demand in demands {
                match demand {
                    Demand::Stop(signal) => return self.stop(signal, None),
                    // What comes of these is logged.
                    Demand::Reload => drop(self.reload()),
                    Demand::Reopen => drop(self.reopen()),
                    Demand::Report => self.report(),
                }
            }
            let now = Instant::now();
            self.control.server.serve(&happened, now);
            if let Some(request) = self.answer_requests() {
                return self.stop("a request to stop", Some(&request));
            }
            if now >= self.next_look {
                self.look_after();
            }
            self.relay.move_along(Instant::now(), &[]);
            self.control.tell(&self.relay);
        }
    }

    /// Sleeps until something happens, moves records, and says whether there was a signal, and at
    /// which of the descriptors of the control socket something happened.
    fn wait(&mut self) -> io::Result<(bool, Vec<bool>)> {
        let wake = self.wake();
        let signals = (self.signals.as_fd(), PollFlags::POLLIN);
        let others: Vec<_> = [signals].into_iter().chain(self.control.server.interests()).collect();
        let mut happened = self.relay.turn(&others, wake)?;
        let signalled = happened.remove(0);
        Ok((signalled, happened))
    }

    /// Looks, once a poll interval, whether pipes and targets are as they should be.
    fn look_after(&mut self) {
        self.next_look = Instant::now() + self.config.poll_interval;
        let mut replaced = Vec::new();
        for inlet in self.relay.inlets.iter_mut().filter(|inlet| !inlet.retired) {
            let name = inlet.settings.name.clone();
            let path = inlet.pipe.path().display().to_string();
            if !inlet.was_active() {
                log::debug!("pipe not ready: {name}");
            }
            match inlet.pipe.is_in_place() {
                Ok(true) => {
                    inlet.remake_failed = false;
                    continue;
                }
                // Nobody has touched it, as far as can be told.
                Err(error) if lacks_descriptors(&error) => {
                    log::debug!("pipe {name}: looking at {path}: {}", why(&error));
                    continue;
                }
                Ok(false) | Err(_) => {}
            }
            match inlet.pipe.remake(&inlet.rights) {
                Ok(None) => log::warn!("pipe {name}: the lock of {path} was gone; made again"),
                Ok(Some(old)) => {
                    log::warn!("pipe {name}: {path} was removed or replaced; made again");
                    replaced.push(inlet.split_off(old, &self.relay.sender));
                }
                Err(error) if !inlet.remake_failed => {
                    inlet.remake_failed = true;
                    log::error!(
                        "pipe {name}: {path} was removed or replaced, and making it again failed: {error}; will keep trying"
                    );
                }
                Err(_) => {}
            }
        }
        self.relay.inlets.extend(replaced);
        self.relay.outlets.iter_mut().for_each(outlet::Outlet::look_after);
        self.look_after_socket();
    }

    /// Makes the control socket again if its name is gone.
    fn look_after_socket(&mut self) {
        self.control.server.wake();
        match self.control.server.listener.as_ref().map(Listener::is_in_place) {
            None | Some(Ok(true)) => return,
            // Nobody has touched it, as far as can be told.
            Some(Err(error)) if lacks_descriptors(&error) => return,
            Some(_) => {}
        }
        let path = self.config.control.socket.display();
        match start::listen(&self.config, self.identity.as_ref()) {
            Ok(listener) => {
                log::warn!("control socket {path} was removed or replaced; made again");
                self.control.server.listener = listener;
                self.control.socket_missed = false;
            }
            Err(error) if !self.control.socket_missed => {
                self.control.socket_missed = true;
                log::error!("{error}; will keep trying");
            }
            Err(_) => {}
        }
    }

    /// Opens the targets anew, for a rotation; gives the first of the errors, which are logged.
    fn reopen(&mut self) -> Result<(), String> {
        let outcomes: Vec<_> = self.relay.outlets.iter_mut().map(outlet::Outlet::reopen).collect();
        log::info!("targets reopened");
        outcomes.into_iter().collect()
    }

    /// Logs the statistics, which were asked for, whatever the level.
    fn report(&self) {
        let say = |text: String| journal::write(log::Level::Info, &text);
        let whole_seconds = |since: Instant| Span(Duration::from_secs(since.elapsed().as_secs()));
        say(format!("up {}, {} pipes", whole_seconds(self.started.0), self.config.pipes.len()));
        for inlet in &self.relay.inlets {
            let state = if inlet.retired { " (retired)" } else { "" };
            say(format!(
                "pipe {}{state}: {} records, {} bytes",
                inlet.settings.name, inlet.counts.records, inlet.counts.bytes
            ));
        }
        for (_, outlet) in self.relay.outlets.iter() {
            let state = outlet.stalled().map_or("ok".to_owned(), |(since, why)| {
                format!("stalled for {}: {why}", whole_seconds(since))
            });
            say(format!(
                "target {}: {} delivered, {} bytes waiting, {} retries, {state}",
                outlet.destination,
                outlet.delivered,
                outlet.batch.backlog(),
                outlet.retries
            ));
        }
    }
}
