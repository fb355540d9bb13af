//! An idle daemon sleeps. Alone in its file: it counts what the children of this process did.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;

use common::Site;

/// Times that a child which has ended had given up the processor to wait for something.
fn waits_of_children() -> i64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().voluntary_context_switches()
}

/// Runs a daemon for so long and says how often it waited, its start and end included.
fn waits(idle: Duration) -> (i64, Duration) {
    let site = Site::new();
    site.configure(&site.plain().replace("500ms", "100ms"));
    let before = waits_of_children();
    let begin = Instant::now();
    let mut daemon = site.start_foreground();
    // A writer that has been and gone must not make a difference.
    site.write("one\n");
    site.wait_lines("in.log", 1);
    thread::sleep(idle);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().unwrap().success());
    (waits_of_children() - before, begin.elapsed())
}

#[test]
fn an_idle_daemon_wakes_once_a_poll_interval() {
    let (start_and_end, short) = waits(Duration::ZERO);
    let (all, long) = waits(Duration::from_secs(5));
    let intervals = i64::try_from(long.saturating_sub(short).as_millis() / 100).unwrap();
    let idle = all - start_and_end;
    // What starts and ends it may wait a few times more or less.
    assert!(idle <= intervals + 10, "{idle} wake-ups in {intervals} poll intervals");
    assert!(idle >= intervals / 2, "it looks after its pipes: {idle} wake-ups in {intervals}");
}
