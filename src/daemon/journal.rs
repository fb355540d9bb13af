//! bdaemon's own messages, on their way to the target of `[log]`.
//!
//! They are written through the `log` crate from anywhere, kept here, and taken by the event loop
//! into the same batches as records, so that they cost no system call of their own. While the
//! target is away they wait too, the first of them: what led to the trouble is worth more than
//! what followed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::priority::Severity;
use crate::record::escape_str;
use crate::sys::stamp::Stamp;

/// How many messages are kept.
const CAPACITY: usize = 256;

/// A message of bdaemon's own.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) stamp: Stamp,
    pub(super) severity: Severity,
    /// Safe to print.
    pub(super) text: Vec<u8>,
}

#[derive(Debug)]
struct Queue {
    entries: VecDeque<Entry>,
    left_out: usize,
}

struct Journal(Mutex<Queue>);

static JOURNAL: Journal = Journal(Mutex::new(Queue { entries: VecDeque::new(), left_out: 0 }));

impl Journal {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl log::Log for Journal {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            write(record.level(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Keeps a message, whatever the level is that messages are wanted from.
pub(super) fn write(level: log::Level, text: &str) {
    let mut queue = JOURNAL.queue();
    if queue.entries.len() == CAPACITY {
        queue.left_out += 1;
        return;
    }
    let (stamp, severity, text) = (Stamp::now(), level.into(), escape_str(text));
    queue.entries.push_back(Entry { stamp, severity, text });
}

/// Takes what is written through the `log` crate from here on.
pub(super) fn install(level: log::LevelFilter) {
    // A second start in one process keeps the one logger there is.
    let _ = log::set_logger(&JOURNAL);
    log::set_max_level(level);
}

/// The oldest message, which is then forgotten.
pub(super) fn take() -> Option<Entry> {
    let mut queue = JOURNAL.queue();
    let entry = queue.entries.pop_front();
    if entry.is_none() && queue.left_out > 0 {
        let text = format!(
            "{} messages of bdaemon's own are missing here: too many at once",
            queue.left_out
        );
        queue.left_out = 0;
        return Some(Entry {
            stamp: Stamp::now(),
            severity: Severity::Warning,
            text: text.into_bytes(),
        });
    }
    entry
}
