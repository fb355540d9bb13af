//! Log files that are renamed, removed or truncated under the daemon.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::io::Write;
use std::thread;

use nix::sys::signal::Signal;

use common::{Site, mode, wait_for};

#[test]
fn with_usr1_every_record_is_in_exactly_one_of_the_files() {
    const LINES: usize = 200_000;
    const ROTATIONS: usize = 20;
    let site = Site::new();
    let daemon = site.start();
    let mut writer = site.open_pipe("in.pipe");
    let thread = thread::spawn(move || {
        for number in 0..LINES {
            writer.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
    });
    for rotation in 0..ROTATIONS {
        wait_for("some lines", || {
            (site.read("in.log").lines().count() > 100 || thread.is_finished()).then_some(())
        });
        fs::rename(site.path("in.log"), site.path(&format!("in.{rotation}.log"))).unwrap();
        daemon.signal(Signal::SIGUSR1);
        // It has its mode a moment after it is there.
        let new = site.path("in.log");
        wait_for("the new file", || (new.exists() && mode(&new) == 0o640).then_some(()));
    }
    thread.join().unwrap();
    daemon.stop();
    let mut numbers: Vec<usize> = Vec::new();
    for rotation in 0..ROTATIONS {
        numbers.extend(
            site.texts(&format!("in.{rotation}.log")).iter().map(|t| t.parse::<usize>().unwrap()),
        );
    }
    numbers.extend(site.texts("in.log").iter().map(|text| text.parse::<usize>().unwrap()));
    assert!(numbers.iter().copied().eq(0..LINES), "each once, and in order");
}

#[test]
fn a_removed_log_file_is_made_again_for_the_next_record() {
    let site = Site::new();
    let daemon = site.start();
    site.write("one\n");
    site.wait_lines("in.log", 1);
    fs::remove_file(site.path("in.log")).unwrap();
    site.write("two\n");
    assert_eq!(site.wait_texts("in.log", 1), ["two"]);
    assert_eq!(mode(&site.path("in.log")), 0o640);
    daemon.stop();
}

#[test]
fn a_renamed_log_file_is_written_on_until_the_signal() {
    let site = Site::new();
    let daemon = site.start();
    fs::rename(site.path("in.log"), site.path("old.log")).unwrap();
    site.write("one\n");
    assert_eq!(site.wait_texts("old.log", 1), ["one"]);
    assert!(!site.path("in.log").exists(), "newsyslog(8) makes the new one");
    daemon.stop();
}

#[test]
fn a_truncated_log_file_is_appended_to_from_its_new_end() {
    let site = Site::new();
    let daemon = site.start();
    site.write("one\n");
    site.wait_lines("in.log", 1);
    fs::File::options().write(true).truncate(true).open(site.path("in.log")).unwrap();
    site.write("two\n");
    assert_eq!(site.wait_texts("in.log", 1), ["two"]);
    daemon.stop();
}

#[test]
fn a_file_that_cannot_be_reopened_stays_in_use() {
    let site = Site::new();
    let daemon = site.start();
    fs::rename(site.path("in.log"), site.path("old.log")).unwrap();
    fs::create_dir(site.path("in.log")).unwrap();
    daemon.signal(Signal::SIGUSR1);
    site.wait_own("is a directory, not a regular file; the old one stays in use");
    site.write("one\n");
    assert_eq!(site.wait_texts("old.log", 1), ["one"]);
    fs::remove_dir(site.path("in.log")).unwrap();
    daemon.stop();
}
