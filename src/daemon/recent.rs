//! The last records that passed through, for `bdaemonctl tail`.
//!
//! A ring of bounded size: whoever looks at it too rarely misses the oldest, and can tell how many.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::control::protocol::Passed;
use crate::priority::Severity;
use crate::record::Record;

/// How many are kept, and how many bytes of text.
const RECORDS_MAX: usize = 1024;
const BYTES_MAX: usize = 256 << 10;

/// How many bytes of forgotten text may lie in front: taking off each for itself costs more.
const FORGOTTEN_MAX: usize = 16 << 10;

/// A record that passed through.
#[derive(Clone, Copy, Debug)]
struct Entry {
    severity: Severity,
    /// Where its text begins, in bytes since the start.
    begin: u64,
}

/// Whence and when some records came, one after the other.
#[derive(Debug)]
struct Source {
    time: Arc<str>,
    pipe: Arc<str>,
    /// The number of the first of them; the last is the one before the next source's.
    first: u64,
}

/// The ring. Its memory is used again and again: nothing is allocated for a record.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<Entry>,
    sources: VecDeque<Source>,
    /// The texts of all entries, one behind the other, after some that are forgotten.
    texts: VecDeque<u8>,
    /// The number of the oldest entry, counted since the start.
    first: u64,
    /// Where `texts` begins, in bytes since the start.
    origin: u64,
}

impl Recent {
    /// Adds a record, and forgets the oldest ones that there is no room for.
    pub(super) fn push(
        &mut self,
        time: &Arc<str>,
        pipe: &Arc<str>,
        severity: Severity,
        record: &Record<'_>,
    ) {
        let text = record.text.as_bytes();
        while self.entries.len() >= RECORDS_MAX
            || self.texts.len() - self.forgotten() + text.len() > BYTES_MAX
        {
            if self.entries.pop_front().is_none() {
                break;
            }
            self.first += 1;
            if self.sources.get(1).is_some_and(|next| next.first <= self.first) {
                self.sources.pop_front();
            }
        }
        let forgotten = self.forgotten();
        if forgotten > FORGOTTEN_MAX {
            self.texts.drain(..forgotten);
            self.origin += forgotten as u64;
        }
        let same = |last: &Source| Arc::ptr_eq(&last.time, time) && Arc::ptr_eq(&last.pipe, pipe);
        if !self.sources.back().is_some_and(same) {
            let (time, pipe, first) = (Arc::clone(time), Arc::clone(pipe), self.next());
            self.sources.push_back(Source { time, pipe, first });
        }
        self.entries.push_back(Entry { severity, begin: self.origin + self.texts.len() as u64 });
        self.texts.extend(text);
    }

    /// The bytes of texts that are forgotten.
    fn forgotten(&self) -> usize {
        self.entries.front().map_or(self.texts.len(), |oldest| self.place(oldest))
    }

    /// Where the text of an entry begins in `texts`.
    fn place(&self, entry: &Entry) -> usize {
        // What lies between the two is in memory.
        usize::try_from(entry.begin - self.origin).unwrap_or(usize::MAX)
    }

    /// The number that the next record will have.
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The number of the oldest record that is here.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The record with this number, if it is here and is of this pipe.
    pub(super) fn get(&self, number: u64, pipe: Option<&str>) -> Option<Passed> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let entry = self.entries.get(at)?;
        let source = self.source(number).filter(|source| source.is_pipe(pipe))?;
        let end = self.entries.get(at + 1).map_or(self.texts.len(), |next| self.place(next));
        let text: Vec<u8> = self.texts.range(self.place(entry)..end).copied().collect();
        Some(Passed {
            time: source.time.to_string(),
            pipe: source.pipe.to_string(),
            severity: entry.severity.name().to_owned(),
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }

    fn source(&self, number: u64) -> Option<&Source> {
        let after = self.sources.partition_point(|source| source.first <= number);
        self.sources.get(after.checked_sub(1)?)
    }

    /// The number from which on there are so many records of this pipe, or all that are here.
    pub(super) fn last(&self, count: usize, pipe: Option<&str>) -> u64 {
        let of_pipe =
            |number: &u64| self.source(*number).is_some_and(|source| source.is_pipe(pipe));
        let numbers = (self.first..self.next()).rev().filter(of_pipe);
        numbers.take(count).last().unwrap_or(self.next())
    }
}

impl Source {
    fn is_pipe(&self, pipe: Option<&str>) -> bool {
        pipe.is_none_or(|pipe| *self.pipe == *pipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Text;

    fn push(recent: &mut Recent, pipe: &str, text: &str) {
        let mut scratch = Vec::new();
        let text = Text::escape(text.as_bytes(), &mut scratch);
        let record =
            Record { priority: None, text, escaped: false, continued: false, continues: false };
        recent.push(&"now".into(), &pipe.into(), Severity::Info, &record);
    }

    #[test]
    fn the_oldest_go_and_the_numbers_stay() {
        let mut recent = Recent::default();
        for number in 0..RECORDS_MAX + 10 {
            push(&mut recent, if number % 2 == 0 { "even" } else { "odd" }, &number.to_string());
        }
        assert_eq!((recent.first(), recent.next()), (10, RECORDS_MAX as u64 + 10));
        assert_eq!(recent.get(9, None), None);
        assert_eq!(recent.get(10, None).unwrap().text, "10");
        assert_eq!(recent.get(10, Some("odd")), None);
        assert_eq!(recent.get(recent.next(), None), None);
        assert_eq!(recent.last(0, None), recent.next());
        assert_eq!(recent.last(3, None), recent.next() - 3);
        assert_eq!(recent.last(3, Some("odd")), recent.next() - 5);
        assert_eq!(recent.last(usize::MAX, None), recent.first());
        assert_eq!(recent.last(1, Some("none")), recent.next());
        push(&mut recent, "big", &"x".repeat(BYTES_MAX));
        assert_eq!(recent.first() + 1, recent.next(), "one that takes all the room is alone");
    }
}
