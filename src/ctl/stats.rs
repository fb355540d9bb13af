//! `bdaemonctl stats`: counters, for people and for machines.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::{Args, ValueEnum};

use super::status::{aligned, ask};
use super::{Context, CtlError, show, show_json};
use crate::control::protocol::{PipeStatus, Status, TargetState, TargetStatus};

/// Print the counters
#[derive(Debug, Args)]
pub(super) struct Stats {
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A counter a line
    Text,
    /// One JSON object
    Json,
    /// The Prometheus text exposition format, for the textfile collector of its node exporter
    Prometheus,
}

impl Stats {
    pub(super) fn run(self, context: &Context) -> Result<(), CtlError> {
        let status = ask(context)?;
        match self.format {
            Format::Json => show_json(&status),
            Format::Text if context.json => show_json(&status),
            Format::Text => show(aligned(&rows(&status))),
            Format::Prometheus => show(prometheus(&status)),
        }
    }
}

/// A number with its name and meaning, and how to get it.
struct Metric<T> {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    value: fn(&T) -> f64,
}

const fn counter<T>(name: &'static str, help: &'static str, value: fn(&T) -> f64) -> Metric<T> {
    Metric { name, help, kind: "counter", value }
}

const fn gauge<T>(name: &'static str, help: &'static str, value: fn(&T) -> f64) -> Metric<T> {
    Metric { name, help, kind: "gauge", value }
}

/// A counter fits an f64 exactly up to 2^53, as it has to for Prometheus.
#[expect(clippy::cast_precision_loss, reason = "counters are far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}

const PROCESS: [Metric<Status>; 5] = [
    gauge("uptime_seconds", "Seconds since the start.", |s| s.uptime_seconds),
    gauge("peak_resident_bytes", "The most memory the daemon has had.", |s| {
        number(s.peak_resident_bytes)
    }),
    counter("reloads_total", "Reloads that were taken.", |s| number(s.reloads)),
    counter("failed_reloads_total", "Reloads that were refused.", |s| number(s.failed_reloads)),
    gauge("control_clients", "Clients of the control socket.", |s| number(s.clients as u64)),
];

const PIPES: [Metric<PipeStatus>; 4] = [
    counter("pipe_records_total", "Records read.", |p| number(p.records)),
    counter("pipe_bytes_total", "Bytes read.", |p| number(p.bytes)),
    counter("pipe_splits_total", "Records that were split.", |p| number(p.splits)),
    counter("pipe_escapes_total", "Records in which something was escaped.", |p| number(p.escapes)),
];

const TARGETS: [Metric<TargetStatus>; 6] = [
    counter("target_delivered_total", "Records delivered.", |t| number(t.delivered)),
    counter("target_retries_total", "Tries while the target was stalled.", |t| number(t.retries)),
    counter("target_reconnects_total", "Times that the target was opened again.", |t| {
        number(t.reconnects)
    }),
    gauge("target_stalled", "Whether the target takes nothing.", |t| {
        number(u64::from(t.state == TargetState::Stalled))
    }),
    gauge("target_backlog_bytes", "Bytes that wait for the target.", |t| number(t.backlog_bytes)),
    gauge("target_backlog_records", "Records that wait for the target.", |t| {
        number(t.backlog_records)
    }),
];

fn rows(status: &Status) -> Vec<[String; 3]> {
    let row =
        |name: &str, of: &str, value: f64| [name.to_owned(), of.to_owned(), value.to_string()];
    let mut rows: Vec<_> = PROCESS.iter().map(|m| row(m.name, "", (m.value)(status))).collect();
    for pipe in &status.pipes {
        rows.extend(PIPES.iter().map(|m| row(m.name, &pipe.name, (m.value)(pipe))));
    }
    for target in &status.targets {
        rows.extend(TARGETS.iter().map(|m| row(m.name, &target.name, (m.value)(target))));
    }
    rows
}

fn prometheus(status: &Status) -> String {
    let mut text = String::new();
    family(&mut text, "info", "The daemon's version.", "gauge");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "bdaemon_info{{version=\"{}\"}} 1", escaped(&status.version));
    for metric in PROCESS {
        family(&mut text, metric.name, metric.help, metric.kind);
        let _ = writeln!(text, "bdaemon_{} {}", metric.name, (metric.value)(status));
    }
    labelled(&mut text, &PIPES, "pipe", &status.pipes, |pipe| &pipe.name);
    labelled(&mut text, &TARGETS, "target", &status.targets, |target| &target.name);
    text
}

fn labelled<T>(
    text: &mut String,
    metrics: &[Metric<T>],
    label: &str,
    items: &[T],
    name: fn(&T) -> &str,
) {
    for metric in metrics {
        family(text, metric.name, metric.help, metric.kind);
        // A pipe that was replaced and is still read has the name of its successor: a series
        // stands once, with the sum.
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for item in items {
            *sums.entry(name(item)).or_default() += (metric.value)(item);
        }
        for (name, sum) in sums {
            let name = escaped(name);
            let _ = writeln!(text, "bdaemon_{}{{{label}=\"{name}\"}} {sum}", metric.name);
        }
    }
}

fn family(text: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP bdaemon_{name} {help}\n# TYPE bdaemon_{name} {kind}");
}

/// The value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
