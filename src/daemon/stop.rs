//! The end: no new writers, then what they wrote, then the targets, then the files.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::change::retire;
use super::commands::StopRequest;
use super::inlet::Inlet;
use super::relay::Relay;
use super::{Daemon, PROGRAM};
use crate::cli::complain;
use crate::control::protocol::Reply;
use crate::exit::Sysexit;
use crate::pipe::Input;
use crate::record::Tail;
use crate::sys::signals::{Demand, Signals};
use crate::sys::stamp::Stamp;
use crate::sys::why;

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
            complain(PROGRAM, text);
        }
        let socket = control.server.listener.take();
        if let Some(Err(error)) = socket.map(|socket| socket.unlink()) {
            log::warn!("removing {}: {}", config.control.socket.display(), why(&error));
        }
        if let Err(error) = pid_file.remove() {
            log::warn!("removing {}: {}", pid_file.path().display(), why(&error));
        }
        log::info!("all done");
        relay.say_last_words(&mut signals);
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

/// How long a target may need for bdaemon's last words, when nothing else is left.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn asked_to_stop(signals: &mut Signals) -> bool {
    signals.pending().any(|request| matches!(request, Demand::Stop(_)))
}

impl Relay {
    /// Reads every pipe to its end and delivers it all; says whether that was done before
    /// `give_up`, and before another signal asked to stop.
    fn drain(&mut self, signals: &mut Signals, give_up: Instant) -> bool {
        loop {
            let now = Instant::now();
            self.read_to_the_end(now);
            self.move_along(now, &[]);
            if self.is_drained() {
                return true;
            }
            if now >= give_up || asked_to_stop(signals) {
                return false;
            }
            // A pipe that can be read is; otherwise only targets are waited for.
            if !self.inlets.iter().any(|inlet| self.may_read(inlet))
                && self.turn(&[(signals.as_fd(), PollFlags::POLLIN)], give_up).is_err()
            {
                return false;
            }
        }
    }

    /// Gives bdaemon's own last messages a moment.
    fn say_last_words(&mut self, signals: &mut Signals) {
        let give_up = Instant::now() + LAST_WORDS;
        loop {
            self.move_along(Instant::now(), &[]);
            let said = self.outlets.iter().all(|(_, outlet)| outlet.batch.is_empty());
            if said
                || Instant::now() >= give_up
                || self.turn(&[(signals.as_fd(), PollFlags::POLLIN)], give_up).is_err()
            {
                return;
            }
        }
    }

    fn may_read(&self, inlet: &Inlet) -> bool {
        self.outlets.get(inlet.outlet).is_some_and(|outlet| inlet.wants_input(outlet))
    }

    /// Reads each pipe whose target is free, once; one that has nothing is at its end.
    fn read_to_the_end(&mut self, now: Instant) {
        let stamp = Stamp::now();
        for inlet in &mut self.inlets {
            let free = self.outlets.get(inlet.outlet).is_some_and(|o| inlet.wants_input(o));
            if free && !matches!(inlet.fill(now, &stamp), Ok(Input::Bytes(_))) {
                inlet.ended = true;
                inlet.end_tail();
            }
        }
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
