//! The way from pipes to targets: one poll(2), then as much as can be moved without waiting.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::inlet::{Inlet, OutletId};
use super::journal;
use super::outlet::Outlet;
use super::recent::Recent;
use crate::line::{Line, Sender};
use crate::pipe::Input;
use crate::sys::stamp::Stamp;
use crate::sys::why;
use crate::target::Destination;

/// Pipes, targets, and what goes between them.
pub(super) struct Relay {
    pub(super) inlets: Vec<Inlet>,
    pub(super) outlets: Outlets,
    /// What passed through last.
    pub(super) recent: Recent,
    pub(super) sender: Sender,
    /// The form of bdaemon's own messages, and where they go; none until there is a configuration.
    pub(super) own: Option<(Line, OutletId)>,
}

/// The open targets. An id is never used again.
#[derive(Default)]
pub(super) struct Outlets {
    open: BTreeMap<OutletId, Outlet>,
    last_id: u64,
    /// Records that went to targets which are closed by now.
    delivered_by_closed: u64,
}

impl Outlets {
    pub(super) fn add(&mut self, outlet: Outlet) {
        self.last_id += 1;
        self.open.insert(OutletId(self.last_id), outlet);
    }

    pub(super) fn find(&self, destination: &Destination) -> Option<OutletId> {
        let found = self.open.iter().find(|(_, o)| o.destination.is_same_place(destination));
        found.map(|(id, _)| *id)
    }

    pub(super) fn get(&self, id: OutletId) -> Option<&Outlet> {
        self.open.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: OutletId) -> Option<&mut Outlet> {
        self.open.get_mut(&id)
    }

    /// Records delivered since the start.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered_by_closed + self.open.values().map(|outlet| outlet.delivered).sum::<u64>()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (OutletId, &Outlet)> {
        self.open.iter().map(|(id, outlet)| (*id, outlet))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Outlet> {
        self.open.values_mut()
    }
}

/// What poll(2) found.
struct Events {
    /// Those of the caller's descriptors at which something happened, in their order.
    others: Vec<bool>,
    /// By the inlet's place: readable, silent although watched, or not watched.
    inlets: Vec<Option<bool>>,
    /// The outlets for which something happened.
    outlets: Vec<OutletId>,
}

impl Relay {
    /// A relay with nothing to do yet.
    pub(super) fn new(sender: Sender) -> Self {
        let outlets = Outlets::default();
        Self { inlets: Vec::new(), outlets, recent: Recent::default(), sender, own: None }
    }

    /// Sleeps until something happens or `wake` has come, and moves what can be moved. Says at
    /// which of `others` something happened.
    pub(super) fn turn(
        &mut self,
        others: &[(BorrowedFd<'_>, PollFlags)],
        wake: Instant,
    ) -> io::Result<Vec<bool>> {
        let events = self.wait(others, wake)?;
        let now = Instant::now();
        self.read(&events, now);
        self.move_along(now, &events.outlets);
        self.forget_finished();
        Ok(events.others)
    }

    fn wait(&self, others: &[(BorrowedFd<'_>, PollFlags)], wake: Instant) -> io::Result<Events> {
        let most = others.len() + self.inlets.len() + self.outlets.open.len();
        let mut fds = Vec::with_capacity(most);
        fds.extend(others.iter().map(|(fd, flags)| PollFd::new(*fd, *flags)));
        let mut watched_inlets = Vec::new();
        for (place, inlet) in self.inlets.iter().enumerate() {
            if self.outlets.get(inlet.outlet).is_some_and(|outlet| inlet.wants_input(outlet)) {
                fds.push(PollFd::new(inlet.pipe.as_fd(), PollFlags::POLLIN));
                watched_inlets.push(place);
            }
        }
        let mut watched_outlets = Vec::new();
        for (id, outlet) in self.outlets.iter() {
            if let Some((fd, flags)) = outlet.interest() {
                fds.push(PollFd::new(fd, flags));
                watched_outlets.push(id);
            }
        }
        match poll(&mut fds, timeout(self.deadline(wake))) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut happened = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let others = happened.by_ref().take(others.len()).collect();
        let mut inlets = vec![None; self.inlets.len()];
        for place in watched_inlets {
            inlets[place] = happened.next();
        }
        let outlets = watched_outlets.into_iter().zip(happened);
        let outlets = outlets.filter_map(|(id, yes)| yes.then_some(id)).collect();
        Ok(Events { others, inlets, outlets })
    }

    /// The place of the inlet with this name; without a name, of the first one.
    pub(super) fn inlet_of(&self, name: Option<&str>) -> Option<usize> {
        let wanted = |inlet: &Inlet| name.is_none_or(|name| inlet.settings.name == name);
        self.inlets.iter().position(|inlet| !inlet.retired && wanted(inlet))
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
        // Most turns of a relay whose target is slow read nothing, and the time of day costs more
        // than such a turn.
        let stamp = LazyCell::new(Stamp::now);
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
    pub(super) fn move_along(&mut self, now: Instant, ready: &[OutletId]) {
        let mut ready = ready;
        loop {
            self.take_own_messages();
            for inlet in &mut self.inlets {
                if let Some(outlet) = self.outlets.get_mut(inlet.outlet) {
                    inlet.pump(outlet, &mut self.recent);
                }
            }
            let mut tried = false;
            for (id, outlet) in &mut self.outlets.open {
                if outlet.is_due(now, ready.contains(id)) {
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
    pub(super) fn forget_finished(&mut self) {
        while let Some(place) = self.inlets.iter().position(Inlet::is_finished) {
            let finished = self.inlets.remove(place);
            // What is counted under a name never becomes less.
            if let Some(place) = self.inlet_of(Some(&finished.settings.name)) {
                self.inlets[place].counts += finished.counts;
            }
        }
        let own = self.own.as_ref().map(|(_, id)| *id);
        let inlets = &self.inlets;
        let Outlets { open, delivered_by_closed, .. } = &mut self.outlets;
        open.retain(|id, outlet| {
            let used = own == Some(*id) || inlets.iter().any(|inlet| inlet.outlet == *id);
            let kept = used || !outlet.batch.is_empty();
            if !kept {
                *delivered_by_closed += outlet.delivered;
                std::thread::sleep(outlet.linger());
            }
            kept
        });
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
