//! `docs/benchmarks.md`.

use std::fmt::Write;

use crate::consumers::{Consumer, LEAST_TO_SOCKET, Origin, Output};
use crate::latency::Latency;
use crate::measure::Sample;
use crate::scaling::{Cost, GROWTH_RUNS, Scaling};
use crate::stats::Sorted;
use crate::system::{self, System};
use crate::{Settings, Work};

pub(crate) struct Results {
    pub(crate) settings: Settings,
    pub(crate) system: System,
    /// What was not installed.
    pub(crate) absent: Vec<Consumer>,
    pub(crate) works: Vec<Work>,
    pub(crate) latency: Vec<Latency>,
    pub(crate) scaling: Scaling,
}

impl Work {
    /// The samples of this consumer.
    fn samples(&self, name: &str) -> Option<&[Sample]> {
        self.rows
            .iter()
            .find(|(consumer, _)| consumer.name == name)
            .map(|(_, samples)| &samples[..])
    }

    /// Median CPU seconds of this consumer.
    pub(crate) fn cpu(&self, name: &str) -> Option<f64> {
        self.samples(name).map(|samples| Sorted::of(samples.iter().map(Sample::cpu)).median())
    }
}

/// The bdaemon that does the same work.
fn counterpart(consumer: &Consumer) -> &'static str {
    match consumer.output {
        Output::Files => "bdaemon, text",
        Output::Socket => "bdaemon, syslog",
    }
}

pub(crate) fn page(results: &Results) -> String {
    let mut page = String::new();
    // A String takes all that is written to it.
    let _ = write_page(&mut page, results);
    page
}

fn write_page(w: &mut String, results: &Results) -> std::fmt::Result {
    let Results { settings, system, works, .. } = results;
    writeln!(
        w,
        "# Benchmarks\n\n\
         `make bench` has written this page. It feeds the same lines through the same FIFO into each of\n\
         the programs, checks that every line came out once and in order, and takes what the program\n\
         and its children used.\n\n\
         ![CPU time for the same lines](benchmarks.svg)\n\n\
         | | |\n|---|---|\n\
         | measured | {}, {} lines, {} runs, the programs in turn within each run; latency once, growth {} runs |\n\
         | system | {}, {} × {} |\n\
         | built with | {}, `make build` |",
        system.date,
        thousands(settings.lines),
        settings.runs,
        settings.runs.min(GROWTH_RUNS),
        system.system,
        system.processors,
        system.processor,
        system.rustc
    )?;
    writeln!(
        w,
        "\nCPU is that of user and system together, from start to end of the process; each column has\n\
         the median of the runs for itself, and the spread is the least and the most. Wall time is from\n\
         the first write to the last line in the output; memory is the most that was resident. The last\n\
         column says how much CPU a program takes for each second that bdaemon takes for the same work.\n\
         Socket is a local datagram socket, whose reader only counts."
    )?;
    for work in works {
        write_work(w, work)?;
    }
    writeln!(w, "\n## How each was called\n\n| | version | |\n|---|---|---|")?;
    for (consumer, _) in &works[0].rows {
        let version = match consumer.origin {
            Origin::Bdaemon => env!("CARGO_PKG_VERSION").to_owned(),
            Origin::Bench => String::new(),
            Origin::Package(package) => format!("{package} {}", system::version(package)),
        };
        writeln!(w, "| {} | {version} | {} |", consumer.name, consumer.usage)?;
    }
    if !results.absent.is_empty() {
        let names: Vec<_> = results.absent.iter().map(|consumer| consumer.name).collect();
        writeln!(w, "\nNot installed, and left out: {}.", names.join(", "))?;
    }
    write_latency(w, &results.latency)?;
    write_scaling(w, &results.scaling)?;
    write_goals(w, results)
}

fn write_work(w: &mut String, work: &Work) -> std::fmt::Result {
    let mean = work.lines.bytes.len() as f64 / work.lines.count as f64;
    writeln!(
        w,
        "\n## {} {}, {}\n\n{:.0} bytes a line on average.\n\n\
         | | CPU s | spread | user s | system s | µs a record | wall s | memory MiB | to bdaemon |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|",
        thousands(work.lines.count),
        work.lines.name,
        work.writing.name(),
        mean
    )?;
    for (consumer, samples) in &work.rows {
        let column = |value: fn(&Sample) -> f64| Sorted::of(samples.iter().map(value));
        let cpu = column(Sample::cpu);
        let own = work.cpu(counterpart(consumer)).unwrap_or(f64::NAN);
        writeln!(
            w,
            "| {} | {:.2} | {:.2}–{:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} × |",
            consumer.name,
            cpu.median(),
            cpu.least(),
            cpu.most(),
            column(|sample| sample.user).median(),
            column(|sample| sample.system).median(),
            cpu.median() * 1e6 / work.lines.count as f64,
            column(|sample| sample.wall).median(),
            column(|sample| sample.peak as f64).median() / f64::from(1 << 20),
            cpu.median() / own
        )?;
    }
    Ok(())
}

fn write_latency(w: &mut String, latency: &[Latency]) -> std::fmt::Result {
    writeln!(
        w,
        "\n## From the write of a line to the line in the file\n\n\
         One line at a time, looked for without a pause.\n\n\
         | load | lines | median µs | p99 µs | most µs |\n|---|--:|--:|--:|--:|"
    )?;
    for Latency { load, samples, median, p99, most } in latency {
        writeln!(w, "| {load} | {} | {median:.0} | {p99:.0} | {most:.0} |", thousands(*samples))?;
    }
    Ok(())
}

fn write_scaling(w: &mut String, scaling: &Scaling) -> std::fmt::Result {
    writeln!(
        w,
        "\n## How the cost grows\n\n\
         Lines of 100 bytes, in turn to so many pipes, forty a write, each pipe with a file of its own:\n\n\
         | pipes | records | CPU µs a record |\n|--:|--:|--:|"
    )?;
    for Cost { size, records, micros } in &scaling.pipes {
        writeln!(w, "| {size} | {} | {micros:.2} |", thousands(*records))?;
    }
    writeln!(
        w,
        "\nRecords of so many bytes, through one pipe, 64 KiB a write:\n\n\
         | bytes | records | CPU µs a record | CPU µs a KiB |\n|--:|--:|--:|--:|"
    )?;
    for Cost { size, records, micros } in &scaling.records {
        let kib = micros * 1024.0 / *size as f64;
        writeln!(w, "| {} | {} | {micros:.2} | {kib:.2} |", thousands(*size), thousands(*records))?;
    }
    Ok(())
}

/// What is to hold, and what came out.
fn write_goals(w: &mut String, results: &Results) -> std::fmt::Result {
    let work = &results.works[0];
    let ratio = |one: &str, other: &str, holds: fn(f64) -> bool| {
        let of = |work: &Work| Some(work.cpu(one)? / work.cpu(other)?);
        let first = of(work)?;
        let others: Vec<_> = results.works[1..].iter().filter_map(of).collect();
        let others: Vec<_> = others.iter().map(|ratio| format!("{ratio:.2} ×")).collect();
        Some((format!("{first:.2} × ({})", others.join(", ")), holds(first)))
    };
    let peaks = work.rows.iter().filter(|(consumer, _)| consumer.is_bdaemon());
    let peak = peaks.flat_map(|(_, samples)| samples.iter().map(|sample| sample.peak)).max();
    let goals = [
        (
            "to a file: at least 4 × less CPU than `multilog t`",
            ratio("multilog t", "bdaemon, text", |ratio| ratio >= 4.0),
        ),
        (
            "to a file: at most 4 × the CPU of `cat`",
            ratio("bdaemon, text", "cat", |ratio| ratio <= 4.0),
        ),
        (
            "to a local syslog socket: at most half of `logger`'s CPU",
            ratio("bdaemon, syslog", "logger", |ratio| ratio <= 0.5),
        ),
        (
            "write to line in the file, no load: p99 under 2 ms",
            Some(&results.latency[0]).map(|l| (format!("{:.2} ms", l.p99 / 1e3), l.p99 < 2e3)),
        ),
        (
            "resident memory under these loads: under 8 MiB",
            peak.map(|p| (format!("{:.1} MiB", p as f64 / f64::from(1 << 20)), p < 8 << 20)),
        ),
    ];
    writeln!(
        w,
        "\n## What is to hold\n\n\
         It is to hold for the first table of programs; in brackets stand the other two.\n\n\
         | | measured | |\n|---|--:|---|"
    )?;
    for (goal, measured) in goals {
        let (measured, holds) = measured.unwrap_or_else(|| ("not measured".to_owned(), false));
        writeln!(
            w,
            "| {goal} | {measured} | {} |",
            if holds { "holds" } else { "**does not hold**" }
        )?;
    }
    if let Some((least, _)) = ratio(LEAST_TO_SOCKET, "logger", |_| true) {
        writeln!(
            w,
            "\nTo the socket, {LEAST_TO_SOCKET} takes {least} of `logger`'s CPU: that is the system's\n\
             share, which nobody who hands each line over as a message can do without."
        )?;
    }
    Ok(())
}

pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    let groups: Vec<_> = groups.iter().map(|group| String::from_utf8_lossy(group)).collect();
    groups.join(",")
}
