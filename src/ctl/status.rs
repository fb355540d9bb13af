//! `bdaemonctl status`: is it alive, is it keeping up, is anything stuck, since when, and why.

use std::fmt::Write;
use std::time::Duration;

use clap::Args;

use super::client::Client;
use super::{Context, CtlError, show, show_json};
use crate::config::Span;
use crate::control::protocol::{Reply, Request, Status, TargetState};

/// Show how the daemon, its pipes and its targets are
#[derive(Debug, Args)]
pub(super) struct StatusCommand {}

/// Asks for the status; `stats` and `top` do so as well.
pub(super) fn ask(context: &Context) -> Result<Status, CtlError> {
    let mut client = context.connect()?;
    client.send(&Request::Status {})?;
    answer(&mut client)
}

/// The status that was asked for.
pub(super) fn answer(client: &mut Client) -> Result<Status, CtlError> {
    match client.receive()? {
        Reply::Status(status) => Ok(*status),
        _ => Err(client.unexpected().into()),
    }
}

impl StatusCommand {
    pub(super) fn run(context: &Context) -> Result<(), CtlError> {
        let status = ask(context)?;
        if context.json {
            return show_json(&status);
        }
        show(human(&status))
    }
}

fn human(status: &Status) -> String {
    let Status { pid, version, user, .. } = status;
    let uptime = Span(Duration::from_secs(
        Duration::try_from_secs_f64(status.uptime_seconds).unwrap_or_default().as_secs(),
    ));
    let config = status.config.as_deref().unwrap_or("none, built-in values");
    let mut text = format!(
        "bdaemon {version} is running as pid {pid} of user {user}, up {uptime} since {}\n\
         configuration {config}, reloaded {} times\n",
        status.started, status.reloads,
    );
    if let Some(error) = &status.last_reload_error {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} reloads were refused, the last: {error}", status.failed_reloads);
    }
    let peak = readable(status.peak_resident_bytes);
    let _ = writeln!(text, "log level {}, at most {peak} of memory", status.log_level);

    let mut pipes = vec![
        ["PIPE", "STATE", "RECORDS", "BYTES", "LAST RECORD", "PATH", "TARGET"].map(str::to_owned),
    ];
    pipes.extend(status.pipes.iter().map(|pipe| {
        let last = pipe.last_record.clone().unwrap_or_else(|| "never".to_owned());
        [
            pipe.name.clone(),
            pipe.state.word().to_owned(),
            pipe.records.to_string(),
            readable(pipe.bytes),
            last,
            pipe.path.clone(),
            pipe.target.clone(),
        ]
    }));
    let mut targets =
        vec![["TARGET", "STATE", "DELIVERED", "BACKLOG", "RETRIES", "SINCE"].map(str::to_owned)];
    targets.extend(status.targets.iter().map(|target| {
        let (state, since) = match target.state {
            TargetState::Ok => ("ok", String::new()),
            TargetState::Stalled => {
                let since = target.since.as_deref().unwrap_or("?");
                ("stalled", format!("{since}: {}", target.why.as_deref().unwrap_or("?")))
            }
        };
        [
            target.name.clone(),
            state.to_owned(),
            target.delivered.to_string(),
            readable(target.backlog_bytes),
            target.retries.to_string(),
            since,
        ]
    }));
    format!("{text}\n{}\n{}", aligned(&pipes), aligned(&targets))
}

/// Bytes in the largest unit of which there is one, with one digit behind the point.
fn readable(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

/// Rows in columns as wide as what is in them.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|n| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_readable() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (488_917, "477.4 KiB"),
            (3 << 20, "3.0 MiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(readable(bytes), text);
        }
    }
}
