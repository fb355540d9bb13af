//! An inlet: a pipe with its framer, and with the form that its records get.

use std::io;
use std::time::Instant;

use super::outlet::Outlet;
use crate::config;
use crate::line::{Line, Sender};
use crate::pipe::{Input, Pipe, Rights};
use crate::record::{Framer, Tail};
use crate::sys::stamp::Stamp;

/// The place of an outlet among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutletId(pub(super) usize);

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
    pub(super) records: u64,
    pub(super) bytes: u64,
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
            settings,
            rights,
            pipe,
            outlet,
            retired: false,
            ended: false,
            records: 0,
            bytes: 0,
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
                self.bytes += count as u64;
                self.last_read = now;
                self.active = true;
                self.framed = false;
                self.stamp = stamp.clone();
                self.line.stamp(stamp);
            }
            Input::Empty => {}
            Input::End => {
                self.ended = true;
                self.end_tail();
            }
        }
        Ok(input)
    }

    /// Makes a record of the unterminated tail.
    pub(super) fn end_tail(&mut self) {
        self.tail = Tail::Ended;
        self.framed = false;
    }

    /// Moves records into the outlet while it has room.
    pub(super) fn pump(&mut self, outlet: &mut Outlet) {
        while !self.framed && outlet.has_room() {
            match self.framer.next(self.tail) {
                Some(record) => {
                    self.records += u64::from(!record.continues);
                    self.line.append_record(&record, &mut outlet.batch);
                }
                None => {
                    self.framed = true;
                    self.tail = Tail::Open;
                }
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

    /// Whether something was read since this was last called.
    pub(super) fn was_active(&mut self) -> bool {
        std::mem::take(&mut self.active)
    }
}
