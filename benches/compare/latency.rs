//! From the write of a line to the line in the file.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Settings;
use crate::common::daemon;
use crate::common::lines::Lines;
use crate::common::running::{End, Running};
use crate::common::site::{Site, make_fifo, open_writer};
use crate::stats::Sorted;

/// What else the daemon does meanwhile, through another pipe into another file.
#[derive(Clone, Copy)]
enum Load {
    None,
    /// So many lines a second.
    Paced(usize),
    /// As fast as it takes them.
    Full,
}

/// Microseconds.
pub(crate) struct Latency {
    pub(crate) load: &'static str,
    pub(crate) samples: usize,
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
}

pub(crate) fn measure(settings: &Settings) -> Vec<Latency> {
    let samples = (settings.lines / 400).clamp(100, 5000);
    [
        ("none", Load::None),
        ("100,000 lines a second through another pipe", Load::Paced(100_000)),
        ("as many lines as another pipe takes", Load::Full),
    ]
    .into_iter()
    .map(|(name, load)| with_load(name, load, samples))
    .collect()
}

fn with_load(name: &'static str, load: Load, samples: usize) -> Latency {
    let site = Site::new();
    for name in ["in.pipe", "load.pipe"] {
        make_fifo(&site.path(name));
    }
    let pipes =
        ["in", "load"].map(|name| daemon::pipe(&site, name, "", &daemon::file(&site, name)));
    let mut child = Running::start(&mut daemon::command(&site, &pipes.concat()));
    let mut line_pipe = child.wait_for(|| open_writer(&site.path("in.pipe")));
    let mut load_pipe = child.wait_for(|| open_writer(&site.path("load.pipe")));
    line_pipe.write_all(b"begin\n").unwrap();
    let log = site.output().join("in");
    child.wait_until(|| std::fs::read(&log).is_ok_and(|bytes| bytes.ends_with(b"begin\n")));
    let mut log = File::open(log).unwrap();
    log.read_to_end(&mut Vec::new()).unwrap();
    let load_log = OpenOptions::new().write(true).open(site.output().join("load")).unwrap();
    let over = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        scope.spawn(|| press(load, &mut load_pipe, &load_log, &over));
        let taken = Sorted::of((0..samples).map(|number| {
            // Not in step with anything.
            thread::sleep(Duration::from_micros(500 + (number as u64 * 7919) % 1000));
            one(number, &mut line_pipe, &mut log)
        }));
        over.store(true, Ordering::Relaxed);
        taken
    });
    child.end(End::Term);
    Latency {
        load: name,
        samples,
        median: taken.median(),
        p99: taken.quantile(0.99),
        most: taken.most(),
    }
}

/// Writes a line and looks for it without a pause; gives the microseconds.
fn one(number: usize, pipe: &mut File, log: &mut File) -> f64 {
    let line = format!("line {number}\n");
    let mut seen = Vec::new();
    let begin = Instant::now();
    pipe.write_all(line.as_bytes()).unwrap();
    while !seen.ends_with(line.as_bytes()) {
        if log.read_to_end(&mut seen).unwrap() == 0 {
            thread::yield_now();
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "the line does not arrive");
    }
    begin.elapsed().as_secs_f64() * 1e6
}

/// Writes lines until it is over, and keeps their file small.
fn press(load: Load, pipe: &mut File, log: &File, over: &AtomicBool) {
    let (count, pause) = match load {
        Load::None => return,
        Load::Paced(rate) => (rate / 1000, Duration::from_millis(1)),
        Load::Full => (650, Duration::ZERO),
    };
    let lines = Lines::of_size("", count, 100);
    let mut next = Instant::now();
    for turn in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        pipe.write_all(&lines.bytes).unwrap();
        if turn % 1000 == 999 {
            log.set_len(0).unwrap();
        }
        next += pause;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
