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

/// A record that passed through.
#[derive(Debug)]
struct Entry {
    time: Arc<str>,
    pipe: Arc<str>,
    severity: Severity,
    text: Vec<u8>,
}

/// The ring.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The number of the oldest entry, counted since the start.
    first: u64,
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
        let added = record.text.as_bytes();
        let mut text = Vec::new();
        while self.entries.len() >= RECORDS_MAX || self.bytes + added.len() > BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.first += 1;
            self.bytes -= oldest.text.len();
            // Its memory serves again.
            text = oldest.text;
        }
        text.clear();
        text.extend_from_slice(added);
        self.bytes += text.len();
        let (time, pipe) = (Arc::clone(time), Arc::clone(pipe));
        self.entries.push_back(Entry { time, pipe, severity, text });
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
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let entry = self.entries.get(place)?;
        let wanted = pipe.is_none_or(|pipe| *entry.pipe == *pipe);
        wanted.then(|| Passed {
            time: entry.time.to_string(),
            pipe: entry.pipe.to_string(),
            severity: entry.severity.name().to_owned(),
            text: String::from_utf8_lossy(&entry.text).into_owned(),
        })
    }

    /// The number from which on there are so many records of this pipe, or all that are here.
    pub(super) fn last(&self, count: usize, pipe: Option<&str>) -> u64 {
        let of_pipe = |entry: &Entry| pipe.is_none_or(|pipe| *entry.pipe == *pipe);
        let places = (0..self.entries.len()).rev().filter(|place| of_pipe(&self.entries[*place]));
        match count.checked_sub(1) {
            None => self.next(),
            Some(others) => {
                let place = places.take(others + 1).last();
                place.map_or(self.next(), |place| self.first + place as u64)
            }
        }
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
