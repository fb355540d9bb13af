//! One consumer, one FIFO, one set of lines.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::consumers::{Consumer, End};
use crate::daemon::terminate;
use crate::lines::Lines;
use crate::output::Arrivals;
use crate::site::{Site, make_fifo, open_writer};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(300);

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
    let before = children();
    let mut child = Running::start(&mut command);
    // This process must not keep what the consumer reads from.
    drop(command);
    let mut fifo = child.wait_for(|| open_writer(&site.fifo()));
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

/// A program that runs, and does not outlive this.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        // What a program says while it is measured is only of use when something goes wrong.
        Self(command.stderr(Stdio::inherit()).spawn().unwrap())
    }

    /// Looks every millisecond, as the time is taken to that.
    pub(crate) fn wait_for<T>(&mut self, condition: impl Fn() -> Option<T>) -> T {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = condition() {
                return value;
            }
            assert_eq!(self.0.try_wait().unwrap(), None, "it ended early");
            assert!(Instant::now() < give_up, "lines do not arrive");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn wait_until(&mut self, condition: impl Fn() -> bool) {
        self.wait_for(|| condition().then_some(()));
    }

    /// The most memory that was ever resident. Linux has it in proc(5); elsewhere it is what is
    /// resident now, which ps(1) knows.
    pub(crate) fn peak_resident(&self) -> u64 {
        let pid = self.0.id();
        let kib = if cfg!(target_os = "linux") {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        } else {
            let output = Command::new("ps").args(["-o", "rss=", "-p", &pid.to_string()]).output();
            String::from_utf8_lossy(&output.unwrap().stdout).trim().parse().unwrap()
        };
        kib << 10
    }

    /// Waits for its end, having asked for it if that is needed.
    pub(crate) fn end(mut self, end: End) {
        if end == End::Term {
            terminate(&self.0);
        }
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
