//! Full load for a long time: neither memory nor descriptors grow.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{Daemon, Site, wait_for};
use crate::load::{Load, Plan, Tally};
use crate::scaled;
use crate::table::{Allowed, Row};

/// How much the daemon may grow after the first tenth of the time.
const GROWTH: u64 = 512 << 10;

/// How much of a log is let grow before it is rotated, counted and removed.
const ROTATED: u64 = 32 << 20;

/// How much of it there may be before the load waits for the counting: on a busy machine, that may
/// be slower than the daemon.
const BEHIND: u64 = 4 * ROTATED;

/// How many descriptors a process has.
fn descriptors_on_linux(daemon: &Daemon<'_>) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid)).unwrap().count()
}

/// Takes the log away, as newsyslog(8) does, and counts what it has.
fn rotate(site: &Site, daemon: &Daemon<'_>, load: &Load, tally: &mut Tally) {
    let (log, old) = (site.path("in.log"), site.path("old.log"));
    fs::rename(&log, &old).unwrap();
    daemon.signal(Signal::SIGUSR1);
    wait_for("a new file", || log.exists().then_some(()));
    // Whatever was being written is in the old one when the next turn has begun.
    site.ctl(&["log-level"]);
    load.hold_back(length(&old) > BEHIND);
    tally.take_file(&old);
    load.hold_back(false);
    fs::remove_file(&old).unwrap();
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[test]
fn under_full_load_memory_and_descriptors_stay_as_they_are() {
    let time =
        scaled(Duration::from_secs(1), Duration::from_secs(30), Duration::from_secs(15 * 60));
    let site = Site::new();
    let daemon = site.start();
    let before = descriptors_on_linux(&daemon);
    let load = Load::start(&[site.pipe()], Plan::default());
    let mut tally = Tally::default();
    // From, to: once it has warmed up.
    let mut resident: Option<(u64, u64, u64)> = None;
    while load.begun.elapsed() < time {
        let next = Instant::now() + Duration::from_secs(1);
        while Instant::now() < next && length(&site.path("in.log")) < ROTATED {
            thread::sleep(Duration::from_millis(20));
        }
        rotate(&site, &daemon, &load, &mut tally);
        if load.begun.elapsed() > time / 10 {
            let now = daemon.resident();
            let (first, least, most) = resident.unwrap_or((now, now, now));
            resident = Some((first, least.min(now), most.max(now)));
        }
    }
    // What a glance at a pipe opens is closed again.
    wait_for(format!("{before} descriptors"), || {
        (descriptors_on_linux(&daemon) == before).then_some(())
    });
    let written = load.end();
    daemon.stop();
    tally.take_file(&site.path("in.log"));
    let (first, least, most) = resident.expect("a sample");
    let kib = |bytes: u64| bytes >> 10;
    Row {
        key: "5-9".to_owned(),
        fault: format!(
            "full load for {} s (but for what the counting was behind), with rotations: {} to {} KiB resident, {before} descriptors before and after",
            time.as_secs(),
            kib(least),
            kib(most)
        ),
        promise: "memory and descriptors stay as they are; nothing lost".to_owned(),
        allowed: Allowed::NOTHING,
    }
    .judge(&written, &tally, 0);
    assert!(most <= first + GROWTH, "it has grown: {first}, then {least} to {most}");
}
