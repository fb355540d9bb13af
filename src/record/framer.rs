//! From bytes to records.

use memchr::memchr2;

use super::text::boundary;
use super::{CONTINUED, CONTINUES, Record, Text};
use crate::priority::Priority;

/// What is read from a pipe at a time: as much as most systems let a pipe hold.
const READ_SIZE: usize = 64 << 10;

/// Whether more of an unterminated tail may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// More may come: a tail waits for it.
    Open,
    /// The pipe has been silent, or is closed: a tail is a record.
    Ended,
}

/// Cuts a stream of bytes into records.
///
/// A record ends at a newline or a NUL; a CR before a newline belongs to the end. Empty records
/// are skipped. One that is longer than `max_record` comes in parts, cut at characters: none is
/// longer than `max_record` with its markers, counted in bytes as read and without the priority.
///
/// Memory is what [`Framer::new`] takes, and four times `max_record` once a record had to be
/// escaped. Whatever comes, it does not grow.
#[derive(Debug)]
pub struct Framer {
    /// `buffer[start..end]` has been read and not framed yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// No terminator stands before this place.
    searched: usize,
    max_record: usize,
    place: Place,
    escaped: Vec<u8>,
}

/// What the bytes at the front are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The beginning of a record.
    Beginning,
    /// More of a record that had this priority.
    Within(Option<Priority>),
}

/// Where the bytes at the front end.
struct Line {
    /// Bytes of the record.
    length: usize,
    /// Bytes of the record with its terminator; none while that has not been seen.
    whole: Option<usize>,
}

impl Framer {
    /// A framer with nothing in it. `max_record` is at least 16.
    #[must_use]
    pub fn new(max_record: usize) -> Self {
        debug_assert!(max_record >= 16, "there is room for both markers and a character");
        Self {
            buffer: vec![0; READ_SIZE + Self::longest_open_tail(max_record)],
            start: 0,
            end: 0,
            searched: 0,
            max_record,
            place: Place::Beginning,
            escaped: Vec::new(),
        }
    }

    /// What an unterminated tail may have without being cut: a record, its priority, a CR.
    fn longest_open_tail(max_record: usize) -> usize {
        max_record + "<191>".len() + 2
    }

    /// Takes another `max_record` from here on; what has been read stays.
    pub fn set_max_record(&mut self, max_record: usize) {
        self.compact();
        let capacity = READ_SIZE + Self::longest_open_tail(max_record);
        self.buffer.resize(capacity.max(self.end), 0);
        self.max_record = max_record;
    }

    /// Where the next read may put its bytes: never empty once [`Framer::next`] gave none.
    pub fn space(&mut self) -> &mut [u8] {
        self.compact();
        &mut self.buffer[self.end..]
    }

    fn compact(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.searched = self.searched.saturating_sub(self.start);
        self.end -= self.start;
        self.start = 0;
    }

    /// Says that the first `count` bytes of [`Framer::space`] have been read.
    pub fn filled(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.buffer.len());
    }

    /// Whether nothing waits to become a record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end && self.place == Place::Beginning
    }

    /// The next record, or part of one; none when there is no whole one.
    pub fn next(&mut self, tail: Tail) -> Option<Record<'_>> {
        let (priority, from, length, continued, continues) = loop {
            let line = self.line(tail)?;
            let (prefix, priority, continued) = self.beginning(line.length);
            let text = line.length - prefix;
            let room = self.max_record - if continued { CONTINUED.len() } else { 0 };
            let from = self.start + prefix;
            if text > room {
                // As long as its end has not been seen, its last byte may turn out to be a CR
                // that does not count, so that this is not certain yet.
                if line.whole.is_none() && tail == Tail::Open && text < room + 2 {
                    return None;
                }
                let part = boundary(&self.buffer[from..from + text], room - CONTINUES.len());
                self.place = Place::Within(priority);
                self.start = from + part;
                break (priority, from, part, continued, true);
            }
            let whole = line.whole.or((tail == Tail::Ended).then_some(line.length))?;
            self.start += whole;
            self.place = Place::Beginning;
            if text > 0 {
                break (priority, from, text, continued, false);
            }
        };
        let raw = &self.buffer[from..from + length];
        let text = Text::escape(raw, &mut self.escaped);
        // Each escape makes it longer.
        let escaped = text.as_bytes().len() > raw.len();
        Some(Record { priority, text, escaped, continued, continues })
    }

    /// The bytes up to the first terminator, or all there are; none when there are none.
    fn line(&mut self, tail: Tail) -> Option<Line> {
        self.searched = self.searched.max(self.start);
        let unsearched = &self.buffer[self.searched..self.end];
        let found = memchr2(b'\n', 0, unsearched).map(|at| self.searched + at - self.start);
        let waiting = &self.buffer[self.start..self.end];
        let Some(length) = found else {
            self.searched = self.end;
            let nothing =
                waiting.is_empty() && (tail == Tail::Open || self.place == Place::Beginning);
            return (!nothing).then_some(Line { length: waiting.len(), whole: None });
        };
        // Found again for the next part, should this one be cut.
        self.searched = self.start + length;
        let whole = Some(length + 1);
        let line = &waiting[..length];
        let text =
            if waiting[length] == b'\n' { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        Some(Line { length: text.len(), whole })
    }

    /// What stands in front of the text: the bytes of the priority, the priority, and whether the
    /// text goes on with what was cut.
    fn beginning(&self, length: usize) -> (usize, Option<Priority>, bool) {
        if let Place::Within(priority) = self.place {
            return (0, priority, true);
        }
        let line = &self.buffer[self.start..self.start + length];
        match Priority::strip(line) {
            Some((priority, text)) => (line.len() - text.len(), Some(priority), false),
            None => (0, None, false),
        }
    }
}
