//! bdaemon against what one would take instead: the same lines through the same FIFO into each,
//! and what that costs. `make bench` runs it and writes `docs/benchmarks.md`.
//!
//! `BENCH_LINES` (2000000), `BENCH_RUNS` (5) and `BENCH_OUTPUT` (docs) make a shorter run, or one
//! that is not to be kept. Output of the programs goes to `BENCH_SCRATCH` (/var/tmp), which should
//! be an ordinary disk. `BENCH_BDAEMON` measures another build of bdaemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod chart;
#[path = "../common/mod.rs"]
mod common;
mod consumers;
mod latency;
mod least;
mod measure;
mod output;
mod report;
mod scaling;
mod stats;
mod system;

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use common::lines::Lines;
use consumers::Consumer;
use measure::{Sample, Writing, measure};

/// What was asked for.
struct Settings {
    lines: usize,
    runs: usize,
    output: PathBuf,
}

impl Settings {
    fn from_environment() -> Self {
        let output = std::env::var_os("BENCH_OUTPUT").map(PathBuf::from);
        Self {
            lines: number("BENCH_LINES", 2_000_000),
            runs: number("BENCH_RUNS", 5),
            // cargo runs a bench in the directory of its package.
            output: output.unwrap_or_else(|| PathBuf::from("docs")),
        }
    }
}

fn number<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).map_or(default, |value| {
        value.parse().unwrap_or_else(|_| panic!("{name}: not a number: {value}"))
    })
}

/// The same work for every consumer.
pub(crate) struct Work {
    pub(crate) lines: Arc<Lines>,
    pub(crate) writing: Writing,
    /// A row for each consumer that is installed, with a sample for each run.
    pub(crate) rows: Vec<(Consumer, Vec<Sample>)>,
}

fn main() {
    if let Some(socket) = least::is_asked_for() {
        return least::run(&socket);
    }
    let settings = Settings::from_environment();
    let system = system::System::look();
    let (here, absent): (Vec<_>, Vec<_>) =
        consumers::all().into_iter().partition(Consumer::is_installed);
    for consumer in &absent {
        eprintln!(
            "{}: not installed, left out (scripts/bench-peers.sh installs it)",
            consumer.name
        );
    }
    let mut works = works(&settings, &here);
    for run in 1..=settings.runs {
        for work in &mut works {
            for (consumer, samples) in &mut work.rows {
                eprint!(
                    "run {run}, {}, {}: {} … ",
                    work.lines.name,
                    work.writing.name(),
                    consumer.name
                );
                let sample = measure(consumer, &work.lines, work.writing);
                eprintln!("{:.2} s CPU, {:.2} s", sample.cpu(), sample.wall);
                samples.push(sample);
            }
        }
    }
    eprintln!("latency …");
    let latency = latency::measure(&settings);
    eprintln!("scaling …");
    let scaling = scaling::measure(&settings);
    let results = report::Results { settings, system, absent, works, latency, scaling };
    let page = results.settings.output.join("benchmarks.md");
    fs::write(&page, report::page(&results)).unwrap();
    let chart = results.settings.output.join("benchmarks.svg");
    fs::write(&chart, chart::draw(&results.works[0])).unwrap();
    eprintln!("wrote {} and {}", page.display(), chart.display());
}

fn works(settings: &Settings, consumers: &[Consumer]) -> Vec<Work> {
    let plain = Arc::new(Lines::plain(settings.lines));
    let log_like = Arc::new(Lines::log_like(settings.lines));
    [(&plain, Writing::Bulk), (&plain, Writing::LineByLine), (&log_like, Writing::Bulk)]
        .into_iter()
        .map(|(lines, writing)| Work {
            lines: Arc::clone(lines),
            writing,
            rows: consumers.iter().map(|consumer| (*consumer, Vec::new())).collect(),
        })
        .collect()
}
