//! How the cost grows with the number of pipes and with the length of records.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::Settings;
use crate::common::daemon;
use crate::common::lines::Lines;
use crate::common::running::{End, Running};
use crate::common::site::{Site, make_fifo, open_writer};
use crate::measure::children;
use crate::stats::Sorted;

/// What one size cost: CPU microseconds a record, the median of the runs.
pub(crate) struct Cost {
    /// The number of pipes, or the bytes of a record.
    pub(crate) size: usize,
    pub(crate) records: usize,
    pub(crate) micros: f64,
}

pub(crate) struct Scaling {
    pub(crate) pipes: Vec<Cost>,
    pub(crate) records: Vec<Cost>,
}

/// Bytes that a writer gives to one of many pipes before it turns to the next: forty lines.
const PORTION: usize = 4000;

/// Bytes of a write where there is one pipe.
const BULK: usize = 64 << 10;

/// Runs of these measurements, at most; their medians count.
pub(crate) const GROWTH_RUNS: usize = 3;

pub(crate) fn measure(settings: &Settings) -> Scaling {
    let runs = settings.runs.min(GROWTH_RUNS);
    let powers = |from: u32, to: u32, step| (from..=to).step_by(step).map(|power| 1usize << power);
    let lines = Lines::plain(settings.lines / 2);
    let pipes = powers(0, 6, 1)
        .map(|count| cost(count, lines.count, runs, || feed(&lines, count, PORTION, "")));
    let records = powers(4, 16, 2).map(|size| {
        // About the same number of bytes, but no more records than of the others.
        let count = (settings.lines / 2).min(settings.lines * 64 / size).max(100);
        let lines = Lines::of_size("", count, size);
        cost(size, count, runs, || feed(&lines, 1, BULK, "max_record = \"64KiB\"\n"))
    });
    Scaling { pipes: pipes.collect(), records: records.collect() }
}

fn cost(size: usize, records: usize, runs: usize, once: impl Fn() -> f64) -> Cost {
    let seconds = Sorted::of((0..runs).map(|_| once())).median();
    eprintln!("{size}: {:.3} µs a record", seconds * 1e6 / records as f64);
    Cost { size, records, micros: seconds * 1e6 / records as f64 }
}

/// Gives the lines to so many pipes in turn, each with a file of its own, and says how many CPU
/// seconds that took.
fn feed(lines: &Lines, count: usize, portion: usize, keys: &str) -> f64 {
    let site = Site::new();
    let names: Vec<_> = (0..count).map(|number| format!("p{number}")).collect();
    let paths: Vec<_> = names.iter().map(|name| site.path(&format!("{name}.pipe"))).collect();
    for path in &paths {
        make_fifo(path);
    }
    let pipes: String = names
        .iter()
        .map(|name| daemon::pipe(&site, name, keys, &daemon::file(&site, name)))
        .collect();
    let before = children();
    let mut child = Running::start(&mut daemon::command(&site, &pipes));
    let mut fifos: Vec<_> = paths.iter().map(|path| child.wait_for(|| open_writer(path))).collect();
    for (number, bytes) in lines.bytes.chunks(portion).enumerate() {
        fifos[number % count].write_all(bytes).unwrap();
    }
    // A stop delivers what is still in the pipes.
    child.end(End::Term);
    let after = children();
    let arrived: usize = names.iter().map(|name| count_lines(&site.output().join(name))).sum();
    assert_eq!(arrived, lines.count, "every line arrives");
    (after.0 + after.1) - (before.0 + before.1)
}

fn count_lines(path: &Path) -> usize {
    memchr::memchr_iter(b'\n', &fs::read(path).unwrap()).count()
}
