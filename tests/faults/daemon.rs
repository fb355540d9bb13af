//! Faults of the daemon itself: suspended, killed, ended and reconfigured at random moments.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::control::run;
use crate::common::{Site, described};
use crate::load::{Load, Plan, Tally, Written};
use crate::table::{Allowed, Row};
use crate::{drawn, scaled};

/// What one read may take in, and the longest record that may have been begun before it, with its
/// priority and end.
const READ_BUFFER: u64 = (64 << 10) + (8 << 10) + 7;

/// How long the daemon runs before each fault, at most.
const AT_MOST: u64 = 100;

fn wait_a_random_while() {
    thread::sleep(Duration::from_millis(drawn(AT_MOST)));
}

fn row(key: &str, fault: String, promise: &str, allowed: Allowed) -> Row {
    Row { key: format!("3-{key}"), fault, promise: promise.to_owned(), allowed }
}

/// Two pipes, each with a file of its own.
const PIPES: [&str; 2] = ["one", "two"];

fn site() -> Site {
    let site = Site::new();
    let sections = PIPES.map(|name| site.pipe_section(name, ""));
    site.configure(&(site.head() + &sections.concat()));
    site
}

fn paths(site: &Site) -> [PathBuf; 2] {
    PIPES.map(|name| site.path(&format!("{name}.pipe")))
}

/// Two writers to each of the pipes, as fast as they can.
fn load(site: &Site, opens_each_time: bool) -> Load {
    Load::start(&paths(site), Plan { writers: 2, opens_each_time, ..Plan::default() })
}

/// What the files of the pipes have that was not counted yet.
#[derive(Default)]
struct Progress {
    read: [u64; 2],
    tally: Tally,
}

impl Progress {
    fn take(&mut self, site: &Site) {
        for (name, read) in PIPES.iter().zip(&mut self.read) {
            *read = self.tally.take_lines(&site.path(&format!("{name}.log")), *read);
        }
    }

    /// Counts what is left, when the daemon has ended for good.
    fn finish(mut self, site: &Site) -> Tally {
        self.take(site);
        for (name, read) in PIPES.iter().zip(self.read) {
            let length = fs::metadata(site.path(&format!("{name}.log"))).unwrap().len();
            assert_eq!(read, length, "the last line has an end");
        }
        self.tally
    }
}

#[test]
fn a_daemon_that_is_killed_starts_again_without_help_and_loses_one_read_buffer_a_pipe() {
    let times = scaled(3, 20, 200);
    let site = site();
    let load = load(&site, false);
    let mut progress = Progress::default();
    for _ in 0..times {
        // Whatever the one before has left.
        let mut daemon = site.start();
        load.wait_more(100);
        wait_a_random_while();
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        progress.take(&site);
        progress.tally.note_fault();
    }
    let daemon = site.start();
    load.wait_more(100);
    let written = load.end();
    daemon.stop();
    let tally = progress.finish(&site);
    // By fault and pipe: a gap over more than one fault says nothing of a single one.
    let mut lost = BTreeMap::new();
    for gap in tally.gaps.iter().filter(|gap| gap.faults.0 + 1 == gap.faults.1) {
        *lost.entry((gap.faults.1, gap.writer / 2)).or_default() += gap.bytes(&written);
    }
    let most: u64 = lost.into_values().max().unwrap_or_default();
    for line in &tally.torn_lines {
        assert!(line.matches("bdaemon[").count() <= 1, "nothing follows half a line: {line}");
    }
    // The system may cut a write(2) short, and half a line is there.
    let allowed = Allowed { torn: times * 2, ..Allowed::to_lose_bytes(times * 2 * READ_BUFFER) };
    let row = row(
        "1",
        format!("SIGKILL and a start, {times} times; lost at most {most} bytes of a pipe at once"),
        "starts without help; lost at most a read buffer a pipe each time; half a line that a write was cut to stays, with an end of its own",
        allowed,
    );
    row.judge(&written, &tally, 0);
    assert!(most <= READ_BUFFER, "more than a read buffer was lost at once: {most}");
}

/// Ends the daemon and starts it again under load.
fn end_and_start(times: u64, opens_each_time: bool) -> (Written, Tally) {
    let site = site();
    let load = load(&site, opens_each_time);
    let mut progress = Progress::default();
    for _ in 0..times {
        let daemon = site.start();
        load.wait_more(100);
        wait_a_random_while();
        daemon.stop();
        progress.take(&site);
    }
    let daemon = site.start();
    load.wait_more(100);
    let written = load.end();
    daemon.stop();
    (written, progress.finish(&site))
}

#[test]
fn a_daemon_that_is_ended_loses_nothing_of_writers_that_open_the_pipe_each_time() {
    let times = scaled(3, 20, 200);
    let (written, tally) = end_and_start(times, true);
    let fault = format!("TERM and a start, {times} times");
    row("2", fault, "nothing lost", Allowed::NOTHING).judge(&written, &tally, 0);
}

#[test]
fn a_daemon_that_is_ended_loses_nothing_that_was_written_before_its_pipes_name_went() {
    let times = scaled(3, 20, 200);
    let (written, tally) = end_and_start(times, false);
    let after = tally.outcome(&written, 0).lost_nameless;
    // A write(2) between the last read(2) and the close(2) finds a reader, and nobody reads it. A
    // busy system may suspend the daemon between the two, and the pipe fills.
    let at_risk = times * 2 * (64 << 10);
    row(
        "3",
        format!("TERM and a start, {times} times; {after} lost of those written after the name went"),
        "nothing lost that was written before the pipe's name went; of those who write on, at most a pipe's content in the moment in which it is closed",
        Allowed { lost: 0, ..Allowed::to_lose_bytes(at_risk) },
    )
    .judge(&written, &tally, 0);
}

#[test]
fn a_daemon_that_is_suspended_and_continued_loses_nothing() {
    let times = scaled(2, 20, 100);
    let site = site();
    let daemon = site.start();
    let load = load(&site, false);
    for _ in 0..times {
        load.wait_more(1000);
        wait_a_random_while();
        daemon.signal(Signal::SIGSTOP);
        load.wait_blocked();
        daemon.signal(Signal::SIGCONT);
    }
    load.wait_more(1000);
    let written = load.end();
    daemon.stop();
    let row = row(
        "4",
        format!("SIGSTOP until the writers wait, SIGCONT, {times} times"),
        "nothing lost",
        Allowed::NOTHING,
    );
    row.judge(&written, &Progress::default().finish(&site), 0);
}

/// One of several configurations, and whether it is valid. The pipes stay; what else there is, and
/// where their records go, is drawn.
fn any_configuration(site: &Site) -> (String, bool) {
    const INVALID: [&str; 6] = [
        "[[pipe]]\nname = \"one\"\npath = \"/nowhere/twice.pipe\"\n",
        "[[pipe]]\nname = \"three\"\npath = \"/no/such/directory/pipe\"\n",
        "[[pipe]]\nname = \"three\"\nmode = \"0999\"\n",
        "[[pipe]]\nnaem = \"three\"\n",
        "[[pipe]\n",
        "[[pipe]]\nname = \"three\"\nmax_record = \"1B\"\n",
    ];
    let sync = ["", "sync = \"always\"\n"][usize::try_from(drawn(2)).unwrap()];
    let keys = |name: &str| {
        let priority = ["debug", "info", "crit"][usize::try_from(drawn(3)).unwrap()];
        let record = ["1KiB", "8KiB", "64KiB"][usize::try_from(drawn(3)).unwrap()];
        let keys = format!(
            "priority = \"{priority}\"\nmax_record = \"{record}\"\nflush_after = \"{}ms\"",
            50 + drawn(500)
        );
        let section = site.pipe_section(name, &keys);
        // The file of both, or another one of its own.
        let section = match drawn(3) {
            0 => section.replace(&format!("{name}.log"), "one.log"),
            1 => section.replace(&format!("{name}.log"), &format!("{name}.{}.log", drawn(3))),
            _ => section,
        };
        section + sync
    };
    let mut text = site.head() + &PIPES.map(keys).concat();
    if drawn(2) == 0 {
        text += &site.pipe_section("three", "");
    }
    let valid = drawn(2) == 0;
    if !valid {
        text += INVALID[usize::try_from(drawn(INVALID.len() as u64)).unwrap()];
    }
    (text, valid)
}

#[test]
fn a_reload_of_any_configuration_under_load_loses_nothing() {
    let times = scaled(6, 40, 400);
    let site = site();
    let daemon = site.start();
    let load = load(&site, false);
    let mut refused = 0;
    for _ in 0..times {
        load.wait_more(100);
        wait_a_random_while();
        let (text, valid) = any_configuration(&site);
        site.configure(&text);
        let output = run(&mut site.bdaemonctl(&["reload"]), b"");
        assert_eq!(output.status.success(), valid, "{}\n{text}", described(&output));
        refused += u64::from(!valid);
    }
    let written = load.end();
    daemon.stop();
    let mut tally = Tally::default();
    let mut files: Vec<_> =
        fs::read_dir(site.directory()).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "log") && !path.ends_with("own.log"));
    for file in &files {
        // Records of one pipe lie in several files.
        tally.forget_order();
        tally.take_file(file);
    }
    row(
        "5",
        format!("reload, {times} configurations, {refused} of them invalid"),
        "nothing lost; in order within each file",
        Allowed::NOTHING,
    )
    .judge(&written, &tally, 0);
}
