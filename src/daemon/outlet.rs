//! An outlet: a target with its backlog, and with what is known of its state.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use crate::batch::Batch;
use crate::config::Span;
use crate::sys::account::Identity;
use crate::target::{Delivery, Destination, Reopened, Target, TargetError, Wait};

/// How long a target may take nothing before that is worth a word.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);

/// How soon a target that is away is tried again at first; each time twice as long, up to the poll
/// interval.
const RETRY_FIRST: Duration = Duration::from_millis(50);

/// Why a target does not take messages, or did not until a moment ago.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    why: String,
    /// Whether the administrator has been told.
    told: bool,
    /// How long to wait after the next failure.
    delay: Duration,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    /// It takes nothing.
    Down {
        /// When to try again, whatever poll(2) says.
        retry: Instant,
        /// Whether poll(2) can tell earlier.
        watched: bool,
    },
    /// It takes messages again, and has to go on doing so before that is believed: a target that
    /// comes and goes is told of once.
    Up { since: Instant },
}

/// A target with its backlog.
pub(super) struct Outlet {
    pub(super) destination: Destination,
    pub(super) batch: Batch,
    pub(super) delivered: u64,
    pub(super) retries: u64,
    target: Box<dyn Target>,
    trouble: Option<Trouble>,
    /// The longest between two tries, and how long a target must be well to be believed.
    patience: Duration,
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
            patience: BUSY_PATIENCE,
        })
    }

    /// Takes other settings for the same place.
    pub(super) fn configure(&mut self, destination: Destination, patience: Duration) {
        self.target.configure(&destination);
        self.destination = destination;
        self.patience = patience;
    }

    /// How long it has to stay open for what was delivered to reach its receiver.
    pub(super) fn linger(&self) -> Duration {
        self.target.linger()
    }

    fn is_down(&self) -> bool {
        matches!(&self.trouble, Some(Trouble { standing: Standing::Down { .. }, .. }))
    }

    /// Whether more may be formatted for it.
    pub(super) fn has_room(&self) -> bool {
        !self.is_down() && self.batch.backlog() < self.target.portion()
    }

    /// Whether all is delivered, so that its pipes may be read.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_down() && self.batch.is_empty()
    }

    /// How often the target was opened again.
    pub(super) fn reconnects(&self) -> u64 {
        self.target.reconnects()
    }

    /// Since when it is stalled, and why, if it is.
    pub(super) fn stalled(&self) -> Option<(Instant, &str)> {
        let trouble = self.trouble.as_ref().filter(|trouble| trouble.told)?;
        self.is_down().then_some((trouble.since, trouble.why.as_str()))
    }

    /// Whether it is worth trying to deliver.
    pub(super) fn is_due(&self, now: Instant, ready: bool) -> bool {
        match self.trouble.as_ref().map(|trouble| &trouble.standing) {
            Some(Standing::Down { retry, watched }) => (*watched && ready) || now >= *retry,
            Some(Standing::Up { since }) if now >= *since + self.patience => true,
            Some(Standing::Up { .. }) | None => ready || !self.batch.is_empty(),
        }
    }

    /// When to look at it again though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.trouble.as_ref().map(|trouble| match trouble.standing {
            Standing::Down { retry, .. } => retry,
            Standing::Up { since } => since + self.patience,
        })
    }

    /// What to watch with poll(2).
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let standing = self.trouble.as_ref().map(|trouble| &trouble.standing);
        self.target.interest(matches!(standing, Some(Standing::Down { watched: true, .. })))
    }

    /// Delivers what can be delivered now.
    pub(super) fn deliver(&mut self, now: Instant) {
        let before = self.batch.backlog();
        self.retries += u64::from(self.stalled().is_some());
        let outcome = self.target.deliver(&mut self.batch);
        self.delivered += self.batch.take_delivered();
        if self.batch.backlog() < before {
            self.rise(now);
        }
        match outcome {
            Ok(Delivery::Done) => self.rise(now),
            Ok(Delivery::Later(wait)) => self.wait(now, wait),
            Err(error) => self.fail(now, &error),
        }
    }

    /// The target takes messages.
    fn rise(&mut self, now: Instant) {
        let Some(trouble) = &mut self.trouble else { return };
        match trouble.standing {
            _ if !trouble.told => self.trouble = None,
            Standing::Down { .. } => trouble.standing = Standing::Up { since: now },
            Standing::Up { since } if now >= since + self.patience => {
                let away = Duration::from_secs(since.duration_since(trouble.since).as_secs());
                log::info!("target {}: delivering again after {}", self.destination, Span(away));
                self.trouble = None;
            }
            Standing::Up { .. } => {}
        }
    }

    /// The target takes nothing until `retry`.
    fn sink(&mut self, now: Instant, retry: Instant, watched: bool) -> &mut Trouble {
        let standing = Standing::Down { retry, watched };
        let trouble = self.trouble.get_or_insert_with(|| Trouble {
            since: now,
            why: String::new(),
            told: false,
            delay: RETRY_FIRST,
            standing: Standing::Up { since: now },
        });
        trouble.standing = standing;
        trouble
    }

    /// The target is there, and takes nothing more just now.
    fn wait(&mut self, now: Instant, wait: Wait) {
        let trouble = match wait {
            Wait::Ready | Wait::Reached => self.sink(now, now + BUSY_PATIENCE, true),
            Wait::Time(time) => self.sink(now, now + time, false),
        };
        if now.duration_since(trouble.since) >= BUSY_PATIENCE {
            let why = match wait {
                Wait::Reached => "no answer to the connection",
                Wait::Ready | Wait::Time(_) => "it takes nothing more",
            };
            why.clone_into(&mut trouble.why);
            self.tell();
        }
    }

    /// The target is away.
    fn fail(&mut self, now: Instant, error: &TargetError) {
        let delay = self.trouble.as_ref().map_or(RETRY_FIRST, |trouble| trouble.delay);
        let longest = self.patience;
        let trouble = self.sink(now, now + delay, false);
        trouble.why = error.to_string();
        trouble.delay = (delay * 2).min(longest);
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
    pub(super) fn reopen(&mut self) -> Result<(), String> {
        match self.target.reopen() {
            Ok(Reopened::Same) => {}
            Ok(Reopened::Other) => self.batch.restart_message(),
            Err(error) => {
                let name = &self.destination;
                let text = format!("target {name}: reopening: {error}; the old one stays in use");
                log::error!("{text}");
                return Err(text);
            }
        }
        Ok(())
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
