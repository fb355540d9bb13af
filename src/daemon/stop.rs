//! The end: no new writers, then what they wrote, then the targets, then the files.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::change::retire;
use super::commands::StopRequest;
use super::relay::Relay;
use super::{Daemon, PROGRAM};
use crate::cli::complain;
use crate::control::protocol::Reply;
use crate::exit::Sysexit;
use crate::pipe::Input;
use crate::record::Tail;
use crate::sys::signals::{Demand, Signals};
use crate::sys::stamp::Stamp;
use crate::sys::{takes_now, why};

impl Daemon {
    /// Delivers what is left, within `stop_timeout`, and removes what the start made; answers the
    /// client that asked for it.
    pub(super) fn stop(self, cause: &str, request: Option<&StopRequest>) -> Sysexit {
        let Self { config, pid_file, mut signals, mut relay, mut control, .. } = self;
        log::info!("caught {cause}, cleaning up");
        let timeout = request.and_then(|request| request.timeout);
        let timeout = timeout.unwrap_or(config.stop_timeout).min(STOP_MAX);
        let give_up = Instant::now() + timeout;
        let delivered_before = relay.outlets.delivered();
        for inlet in relay.inlets.iter_mut().filter(|inlet| !inlet.retired) {
            retire(inlet);
        }
        let lost = if relay.drain(&mut signals, give_up) { 0 } else { relay.count_undelivered() };
        if lost > 0 {
            let text = format!("{lost} records could not be delivered in time and are lost");
            log::error!("{text}");
            // Whoever does not read it must not keep the daemon from its end.
            if takes_now(io::stderr()) == Ok(true) {
                complain(PROGRAM, text);
            }
        }
        let socket = control.server.listener.take();
        if let Some(Err(error)) = socket.map(|socket| socket.unlink()) {
            log::warn!("removing {}: {}", config.control.socket.display(), why(&error));
        }
        if let Err(error) = pid_file.remove() {
            log::warn!("removing {}: {}", pid_file.path().display(), why(&error));
        }
        log::info!("all done");
        relay.say_last_words();
        let linger = relay.outlets.iter().map(|(_, outlet)| outlet.linger()).max();
        std::thread::sleep(linger.unwrap_or_default());
        if let Some(StopRequest { client, .. }) = request {
            let drained = relay.outlets.delivered() - delivered_before;
            if let Some(client) = control.server.client(*client) {
                client.answer(&Reply::Stopped { drained, lost });
            }
        }
        control.tell(&relay);
        if lost == 0 { Sysexit::Ok } else { Sysexit::IoErr }
    }
}

/// The longest that a stop may take, whatever it was asked for.
const STOP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a writer has to write that opened a pipe just before its name went. One that keeps it
/// open for longer is told by its next write.
const LAST_OPEN: Duration = Duration::from_millis(100);

/// How long a target may need for bdaemon's last words, when nothing else is left.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn asked_to_stop(signals: &mut Signals) -> bool {
    signals.pending().any(|request| matches!(request, Demand::Stop(_)))
}

impl Relay {
    /// Reads every pipe to its end and delivers it all; says whether that was done before
    /// `give_up`, and before another signal asked to stop.
    fn drain(&mut self, signals: &mut Signals, give_up: Instant) -> bool {
        let last_open = (Instant::now() + LAST_OPEN).min(give_up);
        loop {
            let now = Instant::now();
            let read = self.read_to_the_end(now, now >= last_open);
            self.move_along(now, &[]);
            self.forget_finished();
            if self.is_drained() {
                return true;
            }
            if now >= give_up || asked_to_stop(signals) {
                return false;
            }
            let wake = if now < last_open { last_open } else { give_up };
            if !read && self.turn(&[(signals.as_fd(), PollFlags::POLLIN)], wake).is_err() {
                return false;
            }
        }
    }

    /// Gives bdaemon's own last messages a moment.
    fn say_last_words(&mut self) {
        let give_up = Instant::now() + LAST_WORDS;
        loop {
            self.move_along(Instant::now(), &[]);
            let said = self.outlets.iter().all(|(_, outlet)| outlet.batch.is_empty());
            if said || Instant::now() >= give_up || self.turn(&[], give_up).is_err() {
                return;
            }
        }
    }

    /// Reads each pipe whose target is free, once, and says whether there was something. One that
    /// has nothing is at its end when no writer has it open, or when `empty_is_end`: it is closed
    /// at once, so that whoever still writes to it is told that nobody reads it.
    fn read_to_the_end(&mut self, now: Instant, empty_is_end: bool) -> bool {
        let stamp = Stamp::now();
        let mut read = false;
        let outlets = &self.outlets;
        self.inlets.retain_mut(|inlet| {
            if !outlets.get(inlet.outlet).is_some_and(|outlet| inlet.wants_input(outlet)) {
                return true;
            }
            match inlet.fill(now, &stamp) {
                Ok(Input::Bytes(_)) => read = true,
                Ok(Input::Empty) if !empty_is_end => {}
                Ok(Input::Empty | Input::End) | Err(_) => inlet.end(),
            }
            !inlet.ended || inlet.has_backlog()
        });
        read
    }

    fn is_drained(&self) -> bool {
        let read = self.inlets.iter().all(|inlet| inlet.ended && !inlet.has_backlog());
        // Words of bdaemon's own are no reason to wait for a target that is away.
        read && self.outlets.iter().all(|(_, outlet)| outlet.batch.records() == 0)
    }

    /// Counts the records that were read or wait in a pipe, and were not delivered.
    fn count_undelivered(&mut self) -> u64 {
        /// More reads than this find what is written while they read.
        const READS: usize = 16;
        let (now, stamp) = (Instant::now(), Stamp::now());
        let held: u64 = self.outlets.iter().map(|(_, outlet)| outlet.batch.records()).sum();
        let mut unread = 0;
        for inlet in &mut self.inlets {
            unread += inlet.count_framed(Tail::Open);
            for _ in 0..READS {
                if !matches!(inlet.fill(now, &stamp), Ok(Input::Bytes(_))) {
                    break;
                }
                unread += inlet.count_framed(Tail::Open);
            }
            unread += inlet.count_framed(Tail::Ended);
            inlet.ended = true;
        }
        held + unread
    }
}
