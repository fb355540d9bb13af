//! The way from pipes to targets: one poll(2), then as much as can be moved without waiting.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::inlet::{Inlet, OutletId};
use super::journal;
use super::outlet::Outlet;
use crate::line::{Line, Sender};
use crate::pipe::Input;
use crate::sys::stamp::Stamp;
use crate::sys::why;
use crate::target::Destination;

/// Pipes, targets, and what goes between them.
pub(super) struct Relay {
    pub(super) inlets: Vec<Inlet>,
    pub(super) outlets: Outlets,
    pub(super) sender: Sender,
    /// The form of bdaemon's own messages, and where they go; none until there is a configuration.
    pub(super) own: Option<(Line, OutletId)>,
}

/// The open targets. A place keeps its number for as long as it is used.
#[derive(Default)]
pub(super) struct Outlets(Vec<Option<Outlet>>);

impl Outlets {
    pub(super) fn add(&mut self, outlet: Outlet) -> OutletId {
        let free = self.0.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.0.push(None);
            self.0.len() - 1
        });
        self.0[place] = Some(outlet);
        OutletId(place)
    }

    pub(super) fn find(&self, destination: &Destination) -> Option<OutletId> {
        let there = |outlet: &Option<Outlet>| {
            outlet.as_ref().is_some_and(|outlet| outlet.destination.is_same_place(destination))
        };
        self.0.iter().position(there).map(OutletId)
    }

    pub(super) fn get(&self, id: OutletId) -> Option<&Outlet> {
        self.0.get(id.0)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: OutletId) -> Option<&mut Outlet> {
        self.0.get_mut(id.0)?.as_mut()
    }

    pub(super) fn remove(&mut self, id: OutletId) -> Option<Outlet> {
        self.0.get_mut(id.0)?.take()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (OutletId, &Outlet)> {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(place, outlet)| Some((OutletId(place), outlet.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Outlet> {
        self.0.iter_mut().flatten()
    }
}

/// What poll(2) found.
struct Events {
    /// The descriptor that the caller added.
    other: bool,
    /// By the inlet's place: readable, silent although watched, or not watched.
    inlets: Vec<Option<bool>>,
    /// The places of the outlets for which something happened.
    outlets: Vec<usize>,
}

impl Relay {
    /// A relay with nothing to do yet.
    pub(super) fn new(sender: Sender) -> Self {
        let outlets = Outlets::default();
        Self { inlets: Vec::new(), outlets, sender, own: None }
    }

    /// Sleeps until something happens or `wake` has come, and moves what can be moved. Says
    /// whether something happened at `other`.
    pub(super) fn turn(&mut self, other: BorrowedFd<'_>, wake: Instant) -> io::Result<bool> {
        let events = self.wait(other, wake)?;
        let now = Instant::now();
        self.read(&events, now);
        self.move_along(now, &events.outlets);
        self.forget_finished();
        Ok(events.other)
    }

    fn wait(&self, other: BorrowedFd<'_>, wake: Instant) -> io::Result<Events> {
        let mut fds = vec![PollFd::new(other, PollFlags::POLLIN)];
        let mut watched_inlets = Vec::new();
        for (place, inlet) in self.inlets.iter().enumerate() {
            if self.outlets.get(inlet.outlet).is_some_and(|outlet| inlet.wants_input(outlet)) {
                fds.push(PollFd::new(inlet.pipe.as_fd(), PollFlags::POLLIN));
                watched_inlets.push(place);
            }
        }
        let mut watched_outlets = Vec::new();
        for (OutletId(place), outlet) in self.outlets.iter() {
            if let Some((fd, flags)) = outlet.interest() {
                fds.push(PollFd::new(fd, flags));
                watched_outlets.push(place);
            }
        }
        match poll(&mut fds, timeout(self.deadline(wake))) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut happened = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let other = happened.next().unwrap_or(false);
        let mut inlets = vec![None; self.inlets.len()];
        for place in watched_inlets {
            inlets[place] = happened.next();
        }
        let outlets = watched_outlets
            .into_iter()
            .zip(happened)
            .filter_map(|(place, yes)| yes.then_some(place));
        Ok(Events { other, inlets, outlets: outlets.collect() })
    }

    /// The earliest moment at which something is to be done though nothing happens.
    fn deadline(&self, wake: Instant) -> Instant {
        let tails = self.inlets.iter().filter(|inlet| {
            self.outlets.get(inlet.outlet).is_some_and(|outlet| inlet.wants_input(outlet))
        });
        let tails = tails.filter_map(Inlet::tail_deadline);
        let retries = self.outlets.iter().filter_map(|(_, outlet)| outlet.deadline());
        tails.chain(retries).fold(wake, Instant::min)
    }

    /// Reads each pipe that has something, once, so that none waits for another; ends the tails of
    /// those that have been silent for long enough.
    fn read(&mut self, events: &Events, now: Instant) {
        let stamp = Stamp::now();
        for (inlet, event) in self.inlets.iter_mut().zip(&events.inlets) {
            match event {
                Some(true) => read_once(inlet, now, &stamp),
                Some(false) if inlet.tail_deadline().is_some_and(|deadline| now >= deadline) => {
                    inlet.end_tail();
                }
                Some(false) | None => {}
            }
        }
    }

    /// Formats and delivers until all is delivered or every target that has something is busy.
    pub(super) fn move_along(&mut self, now: Instant, ready: &[usize]) {
        let mut ready = ready;
        loop {
            self.take_own_messages();
            for inlet in &mut self.inlets {
                if let Some(outlet) = self.outlets.get_mut(inlet.outlet) {
                    inlet.pump(outlet);
                }
            }
            let mut tried = false;
            for (place, outlet) in self.outlets.0.iter_mut().enumerate() {
                let Some(outlet) = outlet else { continue };
                if outlet.is_due(now, ready.contains(&place)) {
                    outlet.deliver(now);
                    tried = true;
                }
            }
            ready = &[];
            if !tried {
                return;
            }
        }
    }

    fn take_own_messages(&mut self) {
        let Some((line, id)) = &mut self.own else { return };
        let Some(outlet) = self.outlets.get_mut(*id) else { return };
        while outlet.has_room() {
            let Some(entry) = journal::take() else { return };
            line.stamp(&entry.stamp);
            line.append_own(entry.severity, &entry.text, &mut outlet.batch);
        }
    }

    /// Lets go of retired pipes that have ended, and of targets that nothing uses any more.
    fn forget_finished(&mut self) {
        self.inlets.retain(|inlet| !(inlet.retired && inlet.ended && !inlet.has_backlog()));
        let own = self.own.as_ref().map(|(_, id)| *id);
        let unused = self.outlets.iter().find(|(id, outlet)| {
            let used = own == Some(*id) || self.inlets.iter().any(|inlet| inlet.outlet == *id);
            !used && outlet.batch.is_empty()
        });
        if let Some(id) = unused.map(|(id, _)| id) {
            self.outlets.remove(id);
        }
    }
}

/// Reads, and says what went wrong if something did.
pub(super) fn read_once(inlet: &mut Inlet, now: Instant, stamp: &Stamp) {
    match inlet.fill(now, stamp) {
        Ok(Input::Bytes(_) | Input::Empty) => {}
        Ok(Input::End) => log::info!(
            "pipe {}: all writers of {} have gone",
            inlet.settings.name,
            inlet.pipe.path().display()
        ),
        Err(error) => {
            log::error!(
                "pipe {}: reading {}: {}",
                inlet.settings.name,
                inlet.pipe.path().display(),
                why(&error)
            );
        }
    }
}

/// What poll(2) takes: milliseconds, rounded up so as not to wake too early and spin.
fn timeout(until: Instant) -> PollTimeout {
    let left = until.saturating_duration_since(Instant::now());
    let millis = left.as_micros().div_ceil(1000);
    i32::try_from(millis)
        .ok()
        .and_then(|millis| PollTimeout::try_from(millis).ok())
        .unwrap_or(PollTimeout::MAX)
}
