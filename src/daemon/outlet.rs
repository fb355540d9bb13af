//! An outlet: a target with its backlog, and with what is known of its state.

use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use std::os::fd::BorrowedFd;

use crate::batch::Batch;
use crate::config::Span;
use crate::sys::account::Identity;
use crate::target::{Delivery, Destination, Target, TargetError, Wait};

/// How much waits for a target before no more is formatted for it. A message may exceed it by its
/// own length.
const BACKLOG_MAX: usize = 128 << 10;

/// How long a target may take nothing before that is worth a word.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);

/// How soon a target that is away is tried again at first; each time twice as long, up to the poll
/// interval.
const RETRY_FIRST: Duration = Duration::from_millis(50);

/// Why a target does not take messages, and what is done about it.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    why: String,
    /// Whether the administrator has been told.
    told: bool,
    /// When to try again, whatever poll(2) says.
    retry: Instant,
    /// Whether poll(2) can tell earlier.
    watched: bool,
    /// How long to wait before the next try.
    delay: Duration,
}

/// A target with its backlog.
pub(super) struct Outlet {
    pub(super) destination: Destination,
    pub(super) batch: Batch,
    pub(super) delivered: u64,
    pub(super) retries: u64,
    target: Box<dyn Target>,
    trouble: Option<Trouble>,
}

impl Outlet {
    pub(super) fn open(
        destination: Destination,
        owner: Option<&Identity>,
    ) -> Result<Self, TargetError> {
        let target = destination.open(owner)?;
        Ok(Self {
            destination,
            batch: Batch::default(),
            delivered: 0,
            retries: 0,
            target,
            trouble: None,
        })
    }

    /// Whether more may be formatted for it.
    pub(super) fn has_room(&self) -> bool {
        self.trouble.is_none() && self.batch.backlog() < BACKLOG_MAX
    }

    /// Whether all is delivered, so that its pipes may be read.
    pub(super) fn is_idle(&self) -> bool {
        self.trouble.is_none() && self.batch.is_empty()
    }

    /// Since when it is stalled, and why, if it is.
    pub(super) fn stalled(&self) -> Option<(Instant, &str)> {
        self.trouble.as_ref().filter(|trouble| trouble.told).map(|t| (t.since, t.why.as_str()))
    }

    /// Whether it is worth trying to deliver.
    pub(super) fn is_due(&self, now: Instant, ready: bool) -> bool {
        match &self.trouble {
            None => ready || !self.batch.is_empty(),
            Some(trouble) => (trouble.watched && ready) || now >= trouble.retry,
        }
    }

    /// When to look at it again though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.trouble.as_ref().map(|trouble| trouble.retry)
    }

    /// What to watch with poll(2).
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.target.interest(self.trouble.as_ref().is_some_and(|trouble| trouble.watched))
    }

    /// Delivers what can be delivered now. `patience` is the longest between two tries.
    pub(super) fn deliver(&mut self, now: Instant, patience: Duration) {
        let before = self.batch.backlog();
        self.retries += u64::from(self.trouble.as_ref().is_some_and(|trouble| trouble.told));
        let outcome = self.target.deliver(&mut self.batch);
        self.delivered += self.batch.take_delivered();
        if self.batch.backlog() < before {
            self.recover(now);
        }
        match outcome {
            Ok(Delivery::Done) => self.recover(now),
            Ok(Delivery::Later(wait)) => self.wait(now, wait),
            Err(error) => self.stall(now, patience, &error),
        }
    }

    fn recover(&mut self, now: Instant) {
        if let Some(trouble) = self.trouble.take().filter(|trouble| trouble.told) {
            let seconds = Duration::from_secs(now.duration_since(trouble.since).as_secs());
            log::info!("target {}: delivering again after {}", self.destination, Span(seconds));
        }
    }

    fn trouble(&mut self, now: Instant) -> &mut Trouble {
        self.trouble.get_or_insert_with(|| Trouble {
            since: now,
            why: String::new(),
            told: false,
            retry: now,
            watched: false,
            delay: RETRY_FIRST,
        })
    }

    /// The target is there and takes nothing more just now.
    fn wait(&mut self, now: Instant, wait: Wait) {
        let trouble = self.trouble(now);
        (trouble.watched, trouble.retry) = match wait {
            Wait::Ready => (true, now + BUSY_PATIENCE),
            Wait::Time(time) => (false, now + time),
        };
        if now.duration_since(trouble.since) >= BUSY_PATIENCE {
            "it takes nothing more".clone_into(&mut trouble.why);
            self.tell();
        }
    }

    /// The target is away.
    fn stall(&mut self, now: Instant, patience: Duration, error: &TargetError) {
        let trouble = self.trouble(now);
        trouble.why = error.to_string();
        trouble.watched = false;
        trouble.retry = now + trouble.delay;
        trouble.delay = (trouble.delay * 2).min(patience);
        self.tell();
    }

    fn tell(&mut self) {
        if let Some(trouble) = self.trouble.as_mut().filter(|trouble| !trouble.told) {
            trouble.told = true;
            log::warn!(
                "target {}: {}; its pipes wait until it is back",
                self.destination,
                trouble.why
            );
        }
    }

    /// Opens the target anew, and says so if that fails.
    pub(super) fn reopen(&mut self) {
        match self.target.reopen() {
            Ok(()) => self.batch.restart_message(),
            Err(error) => log::error!(
                "target {}: reopening: {error}; the old one stays in use",
                self.destination
            ),
        }
    }

    /// Looks whether the target is still what its name means.
    pub(super) fn look_after(&mut self) {
        if let Err(error) = self.target.look_after() {
            log::debug!("target {}: {error}", self.destination);
        }
    }

    /// Undoes what opening it made.
    pub(super) fn discard(&mut self) {
        self.target.discard();
    }
}
