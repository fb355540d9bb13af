//! Two daemons that are started at the same instant: exactly one lives.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use crate::common::{BDAEMON, Daemon, Site, described, read_pid, text};
use crate::load::{Load, Outcome, Plan, Tally};
use crate::scaled;
use crate::table::{Allowed, Row};

/// Starts both as nearly at once as can be.
fn start_both(configurations: [PathBuf; 2]) -> [Output; 2] {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let start = |configuration: PathBuf| {
            let barrier = &barrier;
            scope.spawn(move || {
                let mut command = Command::new(BDAEMON);
                command.arg("-c").arg(configuration);
                barrier.wait();
                command.output().unwrap()
            })
        };
        configurations.map(start).map(|thread| thread.join().unwrap())
    })
}

/// What the two have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Common {
    /// The whole configuration.
    Everything,
    /// The pipe; each has its own pid file and control socket.
    Pipe,
}

/// Starts two once, with a load that waits for the pipe; checks that exactly one lives, and that it
/// gets everything.
fn once(common: Common) -> (Outcome, String, Vec<String>) {
    let site = Site::new();
    let second = match common {
        Common::Everything => site.config(),
        Common::Pipe => {
            let other = site.plain().replace("/pid\"", "/second.pid\"");
            fs::write(site.path("second.toml"), other.replace("/sock\"", "/second.sock\""))
                .unwrap();
            site.path("second.toml")
        }
    };
    let load = Load::start(&[site.pipe()], Plan::default());
    let outputs = start_both([site.config(), second]);
    let lives = outputs.each_ref().map(|output| output.status.success());
    assert!(
        lives[0] != lives[1],
        "exactly one lives: {}",
        outputs.each_ref().map(described).concat()
    );
    let [winner, loser] = if lives[0] { [0, 1] } else { [1, 0] };
    let pid_file = if common == Common::Pipe && winner == 1 { "second.pid" } else { "pid" };
    let pid = read_pid(&site.path(pid_file)).expect("the pid of the one that lives");
    let daemon = Daemon { site: &site, pid, child: None };
    assert!(daemon.is_running());
    let said = text(&outputs[loser].stderr);
    assert_eq!(said.lines().count(), 1, "one line: {said:?}");
    assert_eq!(outputs[loser].status.code(), Some(73), "{said}");
    let expected = match common {
        Common::Everything => format!("already running as pid {pid}:"),
        Common::Pipe => format!("is served by the daemon with pid {pid};"),
    };
    assert!(said.contains(&expected), "{said:?} names the one that lives: {expected:?}");
    load.wait_more(500);
    let written = load.end();
    daemon.stop();
    let mut tally = Tally::default();
    tally.take_file(&site.path("in.log"));
    (tally.outcome(&written, 0), written.described(), tally.torn_lines)
}

fn many_times(common: Common, key: &str, fault: &str) {
    let times = scaled(3, 25, 100);
    let begun = Instant::now();
    let (mut all, mut load, mut torn_lines) = (Outcome::default(), String::new(), Vec::new());
    for _ in 0..times {
        let (outcome, described, torn) = once(common);
        all += outcome;
        load = described;
        torn_lines.extend(torn);
    }
    let row = Row {
        key: format!("7-{key}"),
        fault: format!("{fault}, {times} times"),
        promise: "exactly one lives, and gets everything; the other names it".to_owned(),
        allowed: Allowed::NOTHING,
    };
    row.judge_outcome(&load, begun, &all, &torn_lines);
}

#[test]
fn of_two_daemons_that_start_at_once_with_the_same_pid_file_exactly_one_lives() {
    let fault = "two daemons started at the same instant with the same configuration";
    many_times(Common::Everything, "1", fault);
}

#[test]
fn of_two_daemons_that_start_at_once_with_the_same_pipe_exactly_one_lives() {
    let fault = "two daemons started at the same instant with the same pipe";
    many_times(Common::Pipe, "2", fault);
}
