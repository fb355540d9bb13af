//! One consumer, one FIFO, one set of lines.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::common::lines::Lines;
use crate::common::running::Running;
use crate::common::site::{Site, make_fifo, open_writer};
use crate::consumers::Consumer;
use crate::output::Arrivals;

/// What is written at a time in bulk: what cat(1) and most programs with a buffer write at most.
const BULK: usize = 64 << 10;

/// How a writer writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    Bulk,
    LineByLine,
}

impl Writing {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bulk => "64 KiB a write",
            Self::LineByLine => "one line a write",
        }
    }

    fn write(self, bytes: &[u8], to: &mut impl Write) {
        match self {
            Self::Bulk => bytes.chunks(BULK).try_for_each(|chunk| to.write_all(chunk)).unwrap(),
            Self::LineByLine => bytes
                .split_inclusive(|byte| *byte == b'\n')
                .try_for_each(|line| to.write_all(line))
                .unwrap(),
        }
    }
}

/// What it took, in seconds and bytes.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) user: f64,
    pub(crate) system: f64,
    /// From the first write to the last line in the output.
    pub(crate) wall: f64,
    /// Resident memory, at most.
    pub(crate) peak: u64,
}

impl Sample {
    pub(crate) fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// CPU seconds, user and system, of all children that have ended, and of theirs.
pub(crate) fn children() -> (f64, f64) {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64 / 1e6;
    (seconds(usage.user_time()), seconds(usage.system_time()))
}

/// Feeds the lines to the consumer, and checks that each came out.
pub(crate) fn measure(consumer: &Consumer, lines: &Arc<Lines>, writing: Writing) -> Sample {
    let site = Site::new();
    make_fifo(&site.fifo());
    let arrivals = Arrivals::of(consumer, &site, lines);
    let mut command = (consumer.command)(&site);
    // A program that reads standard input would take a FIFO without a writer for one that has
    // ended; one that opens the FIFO itself has to have done so before it can be written to.
    let opened = open_writer(&site.fifo());
    let before = children();
    let mut child = Running::start(&mut command);
    // This process must not keep what the consumer reads from.
    drop(command);
    let mut fifo = opened.unwrap_or_else(|| child.wait_for(|| open_writer(&site.fifo())));
    // It has started when it has taken the first line.
    let first = lines.first_length();
    fifo.write_all(&lines.bytes[..first]).unwrap();
    child.wait_until(|| arrivals.has(1, &lines.bytes[..first - 1]));
    let begin = Instant::now();
    writing.write(&lines.bytes[first..], &mut fifo);
    child.wait_until(|| arrivals.has(lines.count, lines.last()));
    let wall = begin.elapsed().as_secs_f64();
    let peak = child.peak_resident();
    drop(fifo);
    child.end(consumer.end);
    let after = children();
    arrivals.check(lines);
    Sample { user: after.0 - before.0, system: after.1 - before.1, wall, peak }
}
