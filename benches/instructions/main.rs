//! How many instructions bdaemon executes for a record, counted by callgrind: a figure that is the
//! same on a busy machine and on a quiet one. `make bench-instructions` compares it with that of
//! `benches/instructions.toml` and fails where it has grown by more than 5 %;
//! `make bench-instructions-update` writes what is found there.
//!
//! The program is the one that is installed. It gets the same lines in the same portions, each when
//! the one before it has come out, so that every run reads, formats and writes the same. What the
//! kernel does is not counted, and neither are start and end: the figure is the difference between
//! a long and a short run, for each record more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

#[path = "../common/mod.rs"]
mod common;
mod figures;
mod outlets;

use std::fs;
use std::io::Write;
use std::process::{Command, ExitCode};

use common::daemon;
use common::lines::Lines;
use common::running::{End, Running};
use common::site::{Site, make_fifo, open_writer};
use figures::Figures;
use outlets::Outlet;

/// Portions of the short and of the long run.
const SHORT: usize = 20;
const LONG: usize = 220;

/// How much a figure may differ from the committed one, in percent.
const TOLERANCE: f64 = 5.0;

fn main() -> ExitCode {
    let found = Figures::of_this_machine(
        Outlet::ALL.into_iter().map(|outlet| (outlet.name(), per_record(outlet))).collect(),
    );
    if std::env::var("BENCH_INSTRUCTIONS").is_ok_and(|value| value == "update") {
        found.commit();
        println!("wrote {}", figures::PATH);
        return ExitCode::SUCCESS;
    }
    let committed = Figures::committed();
    let mut code = ExitCode::SUCCESS;
    for (outlet, now) in &found.per_record {
        let Some(before) = committed.per_record.get(outlet) else {
            println!("{outlet:>6}: {now:.0} instructions a record, and no committed figure");
            code = ExitCode::FAILURE;
            continue;
        };
        let growth = (now / before - 1.0) * 100.0;
        let verdict = match growth {
            growth if growth > TOLERANCE => {
                code = ExitCode::FAILURE;
                "grown too much"
            }
            growth if growth < -TOLERANCE => {
                "fallen: take it with `make bench-instructions-update`"
            }
            _ => "as before",
        };
        println!(
            "{outlet:>6}: {now:.0} instructions a record, {before:.0} committed, {growth:+.1} %: {verdict}"
        );
    }
    if code != ExitCode::SUCCESS {
        explain(&committed, &found);
    }
    code
}

/// What to do when a figure has grown.
fn explain(committed: &Figures, found: &Figures) {
    if committed.rustc == found.rustc && committed.machine == found.machine {
        eprintln!(
            "A change has made records dearer. Find where with callgrind_annotate(1), or, if it is \
             worth it, take the figures with `make bench-instructions-update` and say so in the commit."
        );
    } else {
        eprintln!(
            "The committed figures were taken with {} on {}, and these with {} on {}. If the last commit \
             that changed {} counts the same as now, the toolchain is the reason: take the figures there \
             with `make bench-instructions-update`, in a commit of its own.",
            committed.rustc,
            committed.machine,
            found.rustc,
            found.machine,
            figures::PATH
        );
    }
}

/// Instructions for a record more.
fn per_record(outlet: Outlet) -> f64 {
    let lines = Lines::log_like(outlet.portion() * LONG);
    let [short, long] = [SHORT, LONG].map(|portions| count(outlet, &lines, portions));
    (long - short) as f64 / ((LONG - SHORT) * outlet.portion()) as f64
}

/// Instructions of a whole run with so many portions of the lines.
fn count(outlet: Outlet, lines: &Lines, portions: usize) -> u64 {
    let site = Site::new();
    make_fifo(&site.fifo());
    let mut arrivals = outlet.open(&site);
    // Nothing is to happen at a time of its own.
    let keys = "poll_interval = \"1h\"\n";
    let bdaemon = daemon::command_with(&site, keys, &arrivals.pipe(&site));
    let counted = site.path("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", counted.display()))
        .arg(bdaemon.get_program())
        .args(bdaemon.get_args());
    let mut child = Running::start(&mut valgrind);
    let mut fifo = child.wait_for(|| open_writer(&site.fifo()));
    let all: Vec<_> = lines.bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for portion in all.chunks(outlet.portion()).take(portions) {
        fifo.write_all(&portion.concat()).unwrap();
        arrivals.take(portion.len(), &mut child);
    }
    drop(fifo);
    child.end(End::Term);
    let counted = fs::read_to_string(counted).unwrap();
    let summary = counted.lines().find_map(|line| line.strip_prefix("summary: "));
    summary.expect("a summary of callgrind's").trim().parse().unwrap()
}
