//! An inlet: a pipe with its framer, and with the form that its records get.

use std::io;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Instant;

use super::outlet::Outlet;
use super::recent::Recent;
use crate::config;
use crate::line::{Line, Sender};
use crate::pipe::{Input, Pipe, Rights};
use crate::record::{Framer, Record, Tail};
use crate::sys::stamp::Stamp;

/// Tells outlets apart, for as long as the daemon lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OutletId(pub(super) u64);

/// What came through a pipe since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Records that were split.
    pub(super) splits: u64,
    /// Records, or parts, in which something was escaped.
    pub(super) escapes: u64,
}

impl Counts {
    fn of(record: &Record<'_>) -> Self {
        Self {
            records: u64::from(!record.continues),
            bytes: 0,
            splits: u64::from(record.continues && !record.continued),
            escapes: u64::from(record.escaped),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.records += more.records;
        self.bytes += more.bytes;
        self.splits += more.splits;
        self.escapes += more.escapes;
    }
}

/// A pipe on its way to an outlet.
pub(super) struct Inlet {
    pub(super) settings: config::Pipe,
    pub(super) rights: Rights,
    pub(super) pipe: Pipe,
    pub(super) outlet: OutletId,
    /// No longer among the configured pipes: read until its writers have gone.
    pub(super) retired: bool,
    /// Nothing more will come.
    pub(super) ended: bool,
    pub(super) counts: Counts,
    /// Records that came through the control socket are framed apart: they must not become the
    /// end of what a writer has begun.
    control: Option<Box<Framer>>,
    name: Arc<str>,
    framer: Framer,
    line: Line,
    /// All that was read has been framed, but for an unterminated tail.
    framed: bool,
    tail: Tail,
    last_read: Instant,
    stamp: Stamp,
    /// Whether something was read since this was last asked.
    active: bool,
    /// Whether the administrator knows that the pipe cannot be made again.
    pub(super) remake_failed: bool,
}

impl Inlet {
    pub(super) fn new(
        settings: config::Pipe,
        rights: Rights,
        pipe: Pipe,
        outlet: OutletId,
        sender: &Sender,
    ) -> Self {
        Self {
            framer: Framer::new(settings.max_record),
            line: Line::of_pipe(&settings.log, sender, &settings.name, settings.priority),
            rights,
            pipe,
            outlet,
            retired: false,
            ended: false,
            counts: Counts::default(),
            control: None,
            name: Arc::from(settings.name.as_str()),
            settings,
            framed: true,
            tail: Tail::Open,
            last_read: Instant::now(),
            stamp: Stamp::now(),
            active: false,
            remake_failed: false,
        }
    }

    /// Takes other settings for the same pipe.
    pub(super) fn configure(
        &mut self,
        settings: config::Pipe,
        rights: Rights,
        outlet: OutletId,
        sender: &Sender,
    ) {
        self.framer.set_max_record(settings.max_record);
        // What waits as a tail may be too long for one now.
        self.framed = false;
        self.line = Line::of_pipe(&settings.log, sender, &settings.name, settings.priority);
        self.line.stamp(&self.stamp);
        self.name = Arc::from(settings.name.as_str());
        self.control = None;
        self.settings = settings;
        self.rights = rights;
        self.outlet = outlet;
    }

    /// Makes an inlet out of the pipe that this one's has replaced, with what had been read
    /// from it.
    pub(super) fn split_off(&mut self, old: Pipe, sender: &Sender) -> Self {
        let mut retired =
            Self::new(self.settings.clone(), self.rights.clone(), old, self.outlet, sender);
        std::mem::swap(&mut retired.framer, &mut self.framer);
        std::mem::swap(&mut retired.framed, &mut self.framed);
        std::mem::swap(&mut retired.tail, &mut self.tail);
        retired.last_read = self.last_read;
        retired.stamp = self.stamp.clone();
        retired.line.stamp(&retired.stamp);
        retired.retired = true;
        retired
    }

    /// Whether it may be read: what was read before is on its way, and its outlet is free.
    pub(super) fn wants_input(&self, outlet: &Outlet) -> bool {
        !self.ended && self.framed && outlet.is_idle()
    }

    /// Whether nothing is left of a retired one.
    pub(super) fn is_finished(&self) -> bool {
        self.retired && self.ended && !self.has_backlog()
    }

    /// Whether something read still waits to be formatted.
    pub(super) fn has_backlog(&self) -> bool {
        !self.framed
    }

    /// When the unterminated tail becomes a record, if nothing comes before.
    pub(super) fn tail_deadline(&self) -> Option<Instant> {
        let waiting = self.framed && !self.framer.is_empty();
        waiting.then(|| self.last_read + self.settings.flush_after)
    }

    /// Reads once.
    pub(super) fn fill(&mut self, now: Instant, stamp: &Stamp) -> io::Result<Input> {
        let input = self.pipe.read(self.framer.space())?;
        match input {
            Input::Bytes(count) => {
                self.framer.filled(count);
                self.counts.bytes += count as u64;
                self.last_read = now;
                self.active = true;
                self.framed = false;
                self.stamp = stamp.clone();
                self.line.stamp(stamp);
            }
            Input::Empty => {}
            Input::End => self.end(),
        }
        Ok(input)
    }

    /// Nothing more will come: a tail that waits is a record.
    pub(super) fn end(&mut self) {
        self.ended = true;
        if !self.framer.is_empty() {
            self.end_tail();
        }
    }

    /// Makes a record of the unterminated tail.
    pub(super) fn end_tail(&mut self) {
        self.tail = Tail::Ended;
        self.framed = false;
    }

    /// Moves records into the outlet while it has room.
    pub(super) fn pump(&mut self, outlet: &mut Outlet, recent: &mut Recent) {
        while !self.framed && outlet.has_room() {
            match self.framer.next(self.tail) {
                Some(record) => {
                    self.counts += Counts::of(&record);
                    self.line.append_record(&record, &mut outlet.batch);
                    let severity = record.priority.map_or(self.settings.priority, |p| p.severity);
                    recent.push(self.stamp.text(), &self.name, severity, &record);
                }
                None => {
                    self.framed = true;
                    self.tail = Tail::Open;
                }
            }
        }
    }

    /// Whether a record from elsewhere than the pipe can go into the outlet now, in its order
    /// after all that was read.
    pub(super) fn accepts(&self, outlet: &Outlet) -> bool {
        self.framed && outlet.has_room()
    }

    /// Moves one record into the outlet that did not come through the pipe.
    pub(super) fn send(
        &mut self,
        mut record: &[u8],
        stamp: &Stamp,
        outlet: &mut Outlet,
        recent: &mut Recent,
    ) {
        if self.stamp != *stamp {
            self.stamp = stamp.clone();
            self.line.stamp(stamp);
        }
        let max_record = self.settings.max_record;
        let framer = self.control.get_or_insert_with(|| Box::new(Framer::new(max_record)));
        self.counts.bytes += record.len() as u64;
        loop {
            let space = framer.space();
            let count = space.len().min(record.len());
            space[..count].copy_from_slice(&record[..count]);
            record = &record[count..];
            framer.filled(count);
            let tail = if record.is_empty() { Tail::Ended } else { Tail::Open };
            while let Some(record) = framer.next(tail) {
                self.counts += Counts::of(&record);
                self.line.append_record(&record, &mut outlet.batch);
                let severity = record.priority.map_or(self.settings.priority, |p| p.severity);
                recent.push(stamp.text(), &self.name, severity, &record);
            }
            if record.is_empty() {
                return;
            }
        }
    }

    /// Frames what has been read without delivering it, and counts the records.
    pub(super) fn count_framed(&mut self, tail: Tail) -> u64 {
        let mut count = 0;
        while let Some(record) = self.framer.next(tail) {
            count += u64::from(!record.continues);
        }
        self.framed = true;
        count
    }

    /// When the last record was read, as RFC 3339 has it; none if there was none.
    pub(super) fn last_record(&self) -> Option<&str> {
        (self.counts.records > 0).then(|| &**self.stamp.text())
    }

    /// Whether something was read since this was last called.
    pub(super) fn was_active(&mut self) -> bool {
        std::mem::take(&mut self.active)
    }
}
