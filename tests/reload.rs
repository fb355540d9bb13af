//! A reload is all or nothing, and disturbs nobody.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use common::{Daemon, Site, inode, is_fifo, mode, wait_for};

fn reload(site: &Site, daemon: &Daemon<'_>, configuration: &str, outcome: &str) {
    let before = site.read("own.log").matches(outcome).count();
    site.configure(configuration);
    daemon.signal(Signal::SIGHUP);
    wait_for(format!("{outcome:?} in own.log"), || {
        (site.read("own.log").matches(outcome).count() > before).then_some(())
    });
}

#[test]
fn pipes_come_go_and_change_under_load_and_nothing_is_lost() {
    const LINES: usize = 300_000;
    let site = Site::new();
    let steady = site.head() + &site.pipe_section("in", "");
    site.configure(&steady);
    let daemon = site.start();
    let written = AtomicUsize::new(0);
    let pipe_before = inode(&site.pipe());
    thread::scope(|scope| {
        let mut writer = site.open_pipe("in.pipe");
        let written = &written;
        scope.spawn(move || {
            for number in 0..LINES {
                writer.write_all(format!("{number}\n").as_bytes()).unwrap();
                written.store(number, Ordering::Relaxed);
            }
        });
        for round in 0..15 {
            let goal = LINES / 20 * (round + 1);
            wait_for("the load to go on", || {
                (written.load(Ordering::Relaxed) >= goal).then_some(())
            });
            // Another pipe beside it, then another target, format and size for the steady one.
            let with_extra = steady.clone() + &site.pipe_section("extra", "");
            reload(&site, &daemon, &with_extra, "configuration reloaded");
            site.open_pipe("extra.pipe").write_all(format!("{round}\n").as_bytes()).unwrap();
            let moved = site.head()
                + &site
                    .pipe_section("in", "max_record = \"1KiB\"\nmode = \"0622\"")
                    .replace("in.log", "moved.log");
            reload(&site, &daemon, &moved, "configuration reloaded");
            assert!(!site.path("extra.pipe").exists(), "its name went with the reload");
            assert_eq!(mode(&site.pipe()), 0o622);
            reload(&site, &daemon, &steady, "configuration reloaded");
        }
    });
    assert_eq!(inode(&site.pipe()), pipe_before, "the steady pipe was never touched");
    assert_eq!(mode(&site.pipe()), 0o620);
    daemon.stop();
    let mut numbers: Vec<usize> = Vec::new();
    for log in ["in.log", "moved.log"] {
        let own: Vec<usize> = site.texts(log).iter().map(|text| text.parse().unwrap()).collect();
        assert!(own.is_sorted(), "in order in {log}");
        numbers.extend(own);
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..LINES), "each once");
    let rounds: Vec<_> = (0..15).map(|round| round.to_string()).collect();
    assert_eq!(site.texts("extra.log"), rounds, "and those of the pipe that came and went");
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let site = Site::new();
    let daemon = site.start();
    let bad = [
        (
            site.plain().replace("500ms", "5 parsecs"),
            "poll_interval: \"5 parsecs\" is not a duration",
        ),
        // Right as far as it goes, but one of the new pipes cannot be made: the other is not made
        // either.
        (
            site.plain()
                + &site.pipe_section("good", "")
                + &site.pipe_section("bad", "").replace("bad.pipe", "no/bad.pipe"),
            "no/bad.pipe cannot be used: opening its directory: No such file or directory; make its directory",
        ),
        (
            site.plain().replace("in.log", "no/in.log")
                + &site.pipe_section("good", "mode = \"0666\""),
            "no/in.log: open: No such file or directory; make its directory",
        ),
        (site.plain().replace("/pid\"", "/pid2\""), "pid_file cannot change while the daemon runs"),
        (
            format!("user = \"nobody\"\n{}", site.plain()),
            "user cannot change while the daemon runs",
        ),
    ];
    for (configuration, why) in bad {
        reload(&site, &daemon, &configuration, "everything stays as it was");
        let own = site.read("own.log");
        assert!(own.contains(why), "{why:?} in:\n{own}");
        assert_eq!(site.leftovers(), ["in.pipe", "in.pipe.lock", "pid", "sock"]);
        assert!(!site.path("good.log").exists());
        assert_eq!(mode(&site.pipe()), 0o620);
    }
    fs::remove_file(site.config()).unwrap();
    daemon.signal(Signal::SIGHUP);
    site.wait_own("bdaemon.toml: No such file or directory");
    site.write("still here\n");
    assert_eq!(site.wait_texts("in.log", 1), ["still here"]);
    daemon.stop();
}

#[test]
fn a_change_that_fails_half_way_is_taken_back() {
    let site = Site::new();
    let daemon = site.start();
    // The pipe's mode is changed before the second pipe turns out to be impossible.
    let configuration = site.head()
        + &site.pipe_section("in", "mode = \"0666\"")
        + &site.pipe_section("bad", "").replace("bad.pipe", "no/bad.pipe");
    reload(&site, &daemon, &configuration, "everything stays as it was");
    assert_eq!(mode(&site.pipe()), 0o620);
    assert_eq!(mode(&site.path("in.pipe.lock")), 0o640);
    daemon.stop();
}

#[test]
fn a_pipe_that_is_removed_is_read_until_its_writers_have_gone() {
    let site = Site::new();
    let both = site.plain() + &site.pipe_section("extra", "");
    site.configure(&both);
    let daemon = site.start();
    let mut writer = site.open_pipe("extra.pipe");
    writer.write_all(b"before\n").unwrap();
    reload(&site, &daemon, &site.plain(), "configuration reloaded");
    assert!(!site.path("extra.pipe").exists());
    writer.write_all(b"after\n").unwrap();
    assert_eq!(site.wait_texts("extra.log", 2), ["before", "after"]);
    // The same name can come back meanwhile, as another pipe.
    reload(&site, &daemon, &both, "configuration reloaded");
    assert!(is_fifo(&site.path("extra.pipe")));
    writer.write_all(b"old\n").unwrap();
    site.wait_lines("extra.log", 3);
    site.open_pipe("extra.pipe").write_all(b"new\n").unwrap();
    assert_eq!(site.wait_texts("extra.log", 4), ["before", "after", "old", "new"]);
    drop(writer);
    site.wait_own("all writers of");
    daemon.stop();
}

#[test]
fn a_file_that_is_not_taken_does_not_change_what_is_said() {
    let site = Site::new();
    let daemon = site.start();
    let configuration = site.plain().replace("\"info\"", "\"debug\"")
        + &site.pipe_section("bad", "").replace("bad.pipe", "no/bad.pipe");
    reload(&site, &daemon, &configuration, "everything stays as it was");
    // Its pipe is looked after twice; that it is silent is worth a word at the level `debug`.
    for count in 1..=2 {
        fs::remove_file(site.pipe()).unwrap();
        wait_for("the pipe to be made again", || {
            (site.read("own.log").matches("made again").count() >= count).then_some(())
        });
    }
    let own = site.read("own.log");
    assert!(!own.contains("pipe not ready"), "{own}");
    let severity = |text: &str| {
        let line = own.lines().find(|line| line.contains(text)).unwrap();
        common::Line::parse(line).origin
    };
    assert_eq!(severity("everything stays as it was"), "err");
    assert_eq!(severity("made again"), "warning");
    assert_eq!(severity("targets reopened"), "info");
    daemon.stop();
}

#[test]
fn what_a_reload_leaves_unused_is_let_go_of() {
    let site = Site::new();
    site.configure(&(site.plain() + &site.pipe_section("extra", "")));
    let daemon = site.start();
    let writer = site.open_pipe("extra.pipe");
    let moved = site.plain().replace("in.log", "moved.log");
    reload(&site, &daemon, &moved, "configuration reloaded");
    let report = || {
        daemon.signal(Signal::SIGUSR2);
        let own = site.read("own.log");
        own.rsplit_once(": up ").map_or(String::new(), |(_, report)| report.to_owned())
    };
    wait_for("a report of the pipe that still has a writer", || {
        let report = report();
        let extra = report.contains("pipe extra (retired): ") && report.contains("/extra.log: ");
        (extra && !report.contains("/in.log: ") && report.contains("/moved.log: ")).then_some(())
    });
    drop(writer);
    wait_for("a report without it", || {
        let report = report();
        (!report.contains("extra") && report.contains("/moved.log: ")).then_some(())
    });
    daemon.stop();
}

#[test]
fn a_shorter_poll_interval_holds_at_once() {
    let site = Site::new();
    site.configure(&site.plain().replace("500ms", "1h"));
    let daemon = site.start();
    reload(&site, &daemon, &site.plain(), "configuration reloaded");
    fs::remove_file(site.pipe()).unwrap();
    wait_for("the pipe to be made again", || is_fifo(&site.pipe()).then_some(()));
    daemon.stop();
}

#[test]
fn a_log_file_that_a_reload_makes_has_the_new_mode() {
    let site = Site::new();
    let daemon = site.start();
    fs::rename(site.path("in.log"), site.path("old.log")).unwrap();
    reload(&site, &daemon, &(site.plain() + "mode = \"0644\"\n"), "configuration reloaded");
    wait_for("the log file with its mode", || {
        (site.path("in.log").exists() && mode(&site.path("in.log")) == 0o644).then_some(())
    });
    daemon.stop();
}

#[test]
fn own_messages_that_are_too_many_at_once_are_counted() {
    // A line for each pipe and one for each target, which is more than are kept.
    const PIPES: usize = 130;
    let site = Site::new();
    let pipes = (0..PIPES).map(|number| site.pipe_section(&format!("p{number}"), ""));
    site.configure(&(site.head() + &pipes.collect::<String>()));
    let daemon = site.start();
    daemon.signal(Signal::SIGUSR2);
    site.wait_own("messages of bdaemon's own are missing here: too many at once");
    let report = site.read("own.log");
    let lines = report.lines().filter(|line| line.contains(" bytes")).count();
    let missing = report.split(" messages of").next().unwrap().rsplit(' ').next().unwrap();
    assert_eq!(lines + missing.parse::<usize>().unwrap(), PIPES + PIPES + 1);
    daemon.stop();
}

#[test]
fn the_level_of_own_messages_changes_with_a_reload() {
    let site = Site::new();
    let daemon = site.start();
    assert!(!site.read("own.log").contains("pipe not ready"));
    reload(
        &site,
        &daemon,
        &site.plain().replace("\"info\"", "\"debug\""),
        "configuration reloaded",
    );
    site.wait_own("pipe not ready");
    daemon.stop();
}

#[test]
fn a_kept_pipe_takes_its_new_words_for_the_next_record() {
    let site = Site::new();
    let daemon = site.start();
    site.write("before\n");
    site.wait_lines("in.log", 1);
    let changed = site.pipe_section("in", "priority = \"crit\"") + "tag = \"other\"\n";
    reload(&site, &daemon, &(site.head() + &changed), "configuration reloaded");
    site.write("after\n");
    site.wait_lines("in.log", 2);
    let log = site.read("in.log");
    let lines: Vec<_> = log.lines().map(common::Line::parse).collect();
    assert_eq!(
        (&*lines[0].tag, &*lines[0].origin),
        (&*format!("bdaemon[{}]", daemon.pid), "in.info")
    );
    assert_eq!(
        (&*lines[1].tag, &*lines[1].origin),
        (&*format!("other[{}]", daemon.pid), "in.crit")
    );
    let json = changed + "format = \"json\"\n";
    reload(&site, &daemon, &(site.head() + &json), "configuration reloaded");
    site.write("in another form\n");
    site.wait_lines("in.log", 3);
    let log = site.read("in.log");
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["message"], "in another form");
    daemon.stop();
}

#[test]
fn usr2_logs_the_statistics_at_any_level() {
    let site = Site::new();
    site.configure(&site.plain().replace("\"info\"", "\"error\""));
    let daemon = site.start();
    site.write("one\ntwo\nthree");
    site.wait_lines("in.log", 3);
    daemon.signal(Signal::SIGUSR2);
    site.wait_own("pipe in: 3 records, 13 bytes");
    site.wait_own("in.log: 3 delivered, 0 bytes waiting, 0 retries, ok");
    daemon.stop();
}

#[test]
fn a_record_in_parts_is_counted_once() {
    let site = Site::new();
    site.configure(&(site.head() + &site.pipe_section("in", "max_record = \"1KiB\"")));
    let daemon = site.start();
    site.write("x".repeat(3000) + "\none\n");
    site.wait_lines("in.log", 4);
    daemon.signal(Signal::SIGUSR2);
    site.wait_own("pipe in: 2 records, 3005 bytes");
    site.wait_own("in.log: 2 delivered, 0 bytes waiting, 0 retries, ok");
    daemon.stop();
}
