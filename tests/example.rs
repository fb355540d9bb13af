//! The client of the example that bdaemon grew out of.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use common::{Line, Site, described, text};

#[test]
fn numbers_without_newlines_are_records_when_pauses_part_them() {
    let site = Site::new();
    let daemon = site.start();
    for number in 0..=20 {
        // As a shell does it: open, write, close.
        site.open_pipe("in.pipe").write_all(number.to_string().as_bytes()).unwrap();
        site.wait_lines("in.log", number + 1);
    }
    let expected: Vec<_> = (0..=20).map(|number| number.to_string()).collect();
    assert_eq!(site.texts("in.log"), expected);
    daemon.stop();
    assert_eq!(site.texts("in.log"), expected);
}

#[test]
fn a_tail_waits_for_its_rest_and_becomes_a_record_in_silence() {
    let site = Site::new();
    site.configure(&(site.head() + &site.pipe_section("in", "flush_after = \"700ms\"")));
    let daemon = site.start();
    let mut writer = site.open_pipe("in.pipe");
    // The pause is far shorter than `flush_after`, and the writer stays.
    writer.write_all(b"one rec").unwrap();
    thread::sleep(Duration::from_millis(20));
    writer.write_all(b"ord\nand a tail").unwrap();
    assert_eq!(site.wait_texts("in.log", 2), ["one record", "and a tail"]);
    daemon.stop();
}

#[test]
fn silence_is_counted_from_the_last_byte() {
    const SILENCE: Duration = Duration::from_secs(1);
    let site = Site::new();
    site.configure(&(site.head() + &site.pipe_section("in", "flush_after = \"1s\"")));
    let daemon = site.start();
    let mut lines = 0;
    loop {
        site.write("first");
        thread::sleep(SILENCE / 2);
        let begin = Instant::now();
        site.write(" second");
        let texts = site.wait_texts("in.log", lines + 1);
        lines = texts.len();
        if texts[lines - 1] == "first second" {
            assert!(begin.elapsed() >= SILENCE, "{:?}", begin.elapsed());
            break;
        }
        // This machine took too long between the two.
        lines = site.wait_texts("in.log", lines + usize::from(texts[lines - 1] == "first")).len();
    }
    daemon.stop();
}

#[test]
fn count_sends_the_numbers_and_prints_each() {
    let site = Site::new();
    let daemon = site.start();
    let output = site.bdaemonctl(&["count", "--interval", "1ms"]).output().unwrap();
    assert!(output.status.success(), "{}", described(&output));
    let expected: Vec<_> = (0..=20).map(|number| number.to_string()).collect();
    assert_eq!(text(&output.stdout).lines().collect::<Vec<_>>(), expected);
    assert_eq!(site.wait_texts("in.log", 21), expected);
    let output = site.bdaemonctl(&["count", "--from=7", "--to", "8", "--interval=0"]).output();
    assert_eq!(text(&output.unwrap().stdout), "7\n8\n");
    daemon.stop();
}

#[test]
fn a_line_has_the_time_the_host_the_tag_the_pid_the_pipe_and_the_severity() {
    let site = Site::new();
    let mut command = site.bdaemon(&[]);
    let daemon = site.start_with(command.env("TZ", "Asia/Kolkata"));
    site.write("plain\n<3>grave\n<13>with a facility\n<192>no priority\n");
    site.wait_lines("in.log", 4);
    let lines: Vec<_> = site.read("in.log").lines().map(Line::parse).collect();
    let origins: Vec<_> = lines.iter().map(|line| line.origin.as_str()).collect();
    assert_eq!(origins, ["in.info", "in.err", "in.notice", "in.info"]);
    assert_eq!(lines[3].text, "<192>no priority");
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    for line in &lines {
        assert_eq!(line.host, host);
        assert_eq!(line.tag, format!("bdaemon[{}]", daemon.pid));
        let time = line.time.strip_suffix("+05:30").expect("local time with its offset");
        assert_eq!(time.len(), "2026-11-22T06:46:12.123456".len());
    }
    let own = site.read("own.log");
    let own = Line::parse(own.lines().next().unwrap());
    assert_eq!(own.origin, "info", "own messages have no pipe");
    daemon.stop();
}

#[test]
fn own_messages_come_at_the_moments_of_the_example() {
    let site = Site::new();
    site.configure(&site.plain().replace("\"info\"", "\"debug\""));
    let daemon = site.start();
    site.wait_own("pipe not ready");
    daemon.stop();
    let own = site.read("own.log");
    let at = |text: &str| own.find(text).unwrap_or_else(|| panic!("{text:?} in:\n{own}"));
    let created = at(&format!("pipe created: {}", site.pipe().display()));
    assert!(created < at("started and ready"));
    assert!(at("started and ready") < at("caught TERM, cleaning up"));
    assert!(at("caught TERM, cleaning up") < at("all done"));
}
