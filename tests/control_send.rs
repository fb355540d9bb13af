//! `bdaemonctl send --wait`: it returns when the record was delivered, and only then.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fmt::Write as _;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use common::control::{
    EX_DATAERR, EX_TEMPFAIL, EX_UNAVAILABLE, EX_USAGE, Talk, fails, numbered, run, succeeds,
};
use common::{Site, Syslogd, syslog_text, wait_for};

/// One pipe `in` to a syslog target, which is there.
fn syslog_site() -> (Site, Syslogd) {
    let site = Site::new();
    let syslogd = Syslogd::bind(&site.syslog_socket());
    site.configure(&(site.head() + &site.syslog_section("in")));
    (site, syslogd)
}

#[test]
fn what_was_confirmed_is_in_the_log_once_and_in_its_order() {
    let site = Site::new();
    let daemon = site.start();
    let mut expected = Vec::new();
    for number in 0..20 {
        let (piped, sent) = (format!("piped {number}"), format!("sent {number}"));
        site.write(format!("{piped}\n"));
        site.wait_lines("in.log", expected.len() + 1);
        assert_eq!(site.ctl(&["send", "--wait", "sent", &number.to_string()]), "", "silent");
        expected.extend([piped, sent]);
        // Not waited for: it is there.
        assert_eq!(site.texts("in.log"), expected);
    }
    daemon.stop();
    assert_eq!(site.texts("in.log"), expected);
}

#[test]
fn priorities_and_pipes_are_those_of_a_plain_send() {
    let site = Site::new();
    let json = |name| site.pipe_section(name, "") + "format = \"json\"\n";
    site.configure(&(site.head() + &json("in") + &json("other")));
    let daemon = site.start();
    site.ctl(&["send", "--wait", "-p", "local7.err", "one"]);
    site.ctl(&["send", "--wait", "<4>two"]);
    site.ctl(&["send", "--wait", "-n", "other", "three"]);
    succeeds(&run(&mut site.bdaemonctl(&["send", "--wait", "-p", "alert"]), b"four\nfive"));
    let lines = |name| -> Vec<(String, String, String)> {
        let log = site.read(name);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .map(|line| (text(&line["facility"]), text(&line["severity"]), text(&line["message"])))
            .collect()
    };
    let line = |facility: &str, severity: &str, text: &str| {
        (facility.to_owned(), severity.to_owned(), text.to_owned())
    };
    assert_eq!(
        lines("in.log"),
        [
            line("local7", "err", "one"),
            line("daemon", "warning", "two"),
            line("daemon", "alert", "four"),
            line("daemon", "alert", "five"),
        ]
    );
    assert_eq!(lines("other.log"), [line("daemon", "info", "three")]);
    let (code, stderr) = site.ctl_fails(&["send", "--wait", "-n", "third", "x"]);
    assert_eq!(code, EX_USAGE);
    assert!(stderr.contains("no pipe `third`; there is in, other"), "{stderr}");
    daemon.stop();
}

#[test]
fn a_stream_for_a_pipe_that_is_not_there_says_so_too() {
    let site = Site::new();
    let daemon = site.start();
    let lines = numbered("line", 20_000);
    let output = run(&mut site.bdaemonctl(&["send", "--wait", "-n", "third"]), lines.as_bytes());
    let (code, stderr) = fails(&output);
    assert_eq!(code, EX_USAGE, "{stderr}");
    assert!(stderr.contains("no pipe `third`; there is in"), "{stderr}");
    daemon.stop();
}

#[test]
fn a_stream_of_lines_is_confirmed_whole_and_in_order() {
    const LINES: usize = 20_000;
    let site = Site::new();
    let daemon = site.start();
    let lines = numbered("line", LINES);
    let begin = Instant::now();
    let output = run(&mut site.bdaemonctl(&["send", "--wait"]), lines.as_bytes());
    assert_eq!(succeeds(&output), "");
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert!(site.texts("in.log").iter().eq(lines.lines()));
    // Empty lines, carriage returns and an end without a newline are as in a plain send.
    let output = run(&mut site.bdaemonctl(&["send", "--wait", "-"]), b"a\r\n\n\0b");
    assert_eq!(succeeds(&output), "");
    assert_eq!(site.texts("in.log")[LINES..], ["a", "b"]);
    daemon.stop();
}

#[test]
fn many_streams_at_once_never_wait_for_the_poll_interval() {
    const SENDERS: usize = 12;
    const LINES: usize = 4_000;
    let site = Site::new();
    site.configure(&site.plain().replace("\"500ms\"", "\"10m\""));
    let daemon = site.start();
    let begin = Instant::now();
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let site = &site;
            scope.spawn(move || {
                let lines = numbered(&format!("sender {sender}"), LINES);
                let mut send = site.bdaemonctl(&["send", "--wait", "--timeout", "60s"]);
                assert_eq!(succeeds(&run(&mut send, lines.as_bytes())), "");
            });
        }
    });
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    let texts = site.texts("in.log");
    assert_eq!(texts.len(), SENDERS * LINES);
    for sender in 0..SENDERS {
        let prefix = format!("sender {sender} ");
        let own = texts.iter().filter_map(|text| text.strip_prefix(&prefix)?.parse::<usize>().ok());
        assert!(own.eq(0..LINES), "in order");
    }
    daemon.stop();
}

#[test]
fn words_need_not_be_utf8_and_have_no_newline() {
    let site = Site::new();
    let daemon = site.start();
    let word = std::ffi::OsStr::from_bytes(b"caf\xe9");
    assert_eq!(succeeds(&run(site.bdaemonctl(&["send", "--wait"]).arg(word), b"")), "");
    let output = run(&mut site.bdaemonctl(&["send", "--wait"]), b"caf\xe9 too\nna\xc3\xafve\n");
    assert_eq!(succeeds(&output), "");
    let (code, stderr) = site.ctl_fails(&["send", "--wait", "two\nlines"]);
    assert_eq!(code, EX_DATAERR);
    assert!(stderr.contains("a record has no newline"), "{stderr}");
    assert_eq!(site.texts("in.log"), [r"caf\xe9", r"caf\xe9 too", "naïve"]);
    daemon.stop();
}

#[test]
fn a_long_record_is_split_and_one_over_64_kib_is_refused() {
    let site = Site::new();
    let daemon = site.start();
    let long = "x".repeat(60_000);
    assert_eq!(succeeds(&run(&mut site.bdaemonctl(&["send", "--wait"]), long.as_bytes())), "");
    let texts = site.texts("in.log");
    let parts =
        texts.iter().map(|text| text.trim_start_matches("[...] ").trim_end_matches(" [...]"));
    assert_eq!(parts.collect::<String>(), long);
    for length in [65_530, 70_000, 200_000] {
        let longer = "y".repeat(length);
        let output = run(&mut site.bdaemonctl(&["send", "--wait"]), longer.as_bytes());
        let (code, stderr) = fails(&output);
        assert_eq!(code, EX_DATAERR, "{stderr}");
        assert!(stderr.contains("send this one without --wait"), "{stderr}");
    }
    assert_eq!(site.texts("in.log").len(), texts.len());
    daemon.stop();
}

#[test]
fn half_a_line_of_a_pipe_writer_is_not_glued_to_it() {
    let site = Site::new();
    site.configure(&(site.head() + &site.pipe_section("in", "flush_after = \"1h\"")));
    let daemon = site.start();
    let mut writer = site.open_pipe("in.pipe");
    writer.write_all(b"half a ").unwrap();
    wait_for("the half line to be read", || {
        (site.status()["pipes"][0]["bytes"] == 7).then_some(())
    });
    site.ctl(&["send", "--wait", "a whole one"]);
    assert_eq!(site.texts("in.log"), ["a whole one"]);
    writer.write_all(b"line\n").unwrap();
    assert_eq!(site.wait_texts("in.log", 2), ["a whole one", "half a line"]);
    daemon.stop();
}

#[test]
fn with_a_stalled_target_it_times_out_and_the_record_may_come_later() {
    let (site, syslogd) = syslog_site();
    let daemon = site.start();
    let begin = Instant::now();
    assert_eq!(site.ctl(&["send", "--wait", "before"]), "");
    assert_eq!(syslog_text(&syslogd.next()), "before");
    site.stall(syslogd, "in");
    let (code, stderr) = site.ctl_fails(&["send", "--wait", "--timeout", "300ms", "too late"]);
    assert_eq!(code, EX_TEMPFAIL, "{stderr}");
    assert!(stderr.contains("0 of 1 records were confirmed"), "{stderr}");
    assert!(stderr.contains("may still be delivered"), "{stderr}");
    assert!(begin.elapsed() < Duration::from_secs(30));
    // One that waits on is confirmed when the target is back.
    let mut patient = site.bdaemonctl(&["send", "--wait", "patient"]).spawn().unwrap();
    wait_for("the sender to be connected", || (site.status()["clients"] == 2).then_some(()));
    assert_eq!(patient.try_wait().unwrap(), None, "it waits");
    let syslogd = Syslogd::bind(&site.syslog_socket());
    assert!(patient.wait().unwrap().success());
    assert_eq!(syslog_text(&syslogd.next()), "held");
    let next = syslogd.next();
    let last = if syslog_text(&next) == "too late" { syslogd.next() } else { next };
    assert_eq!(syslog_text(&last), "patient");
    daemon.stop();
    assert_eq!(syslogd.close(), [""; 0], "nothing twice");
}

#[test]
fn a_record_that_was_on_its_way_when_the_target_went_arrives_after_the_timeout() {
    let (site, syslogd) = syslog_site();
    let daemon = site.start();
    site.ctl(&["send", "--wait", "before"]);
    syslogd.next();
    syslogd.close();
    std::fs::remove_file(site.syslog_socket()).unwrap();
    // Nothing has told the daemon that its target is away.
    let (code, stderr) = site.ctl_fails(&["send", "--wait", "--timeout", "300ms", "later"]);
    assert_eq!(code, EX_TEMPFAIL, "{stderr}");
    let syslogd = Syslogd::bind(&site.syslog_socket());
    assert_eq!(syslog_text(&syslogd.next()), "later");
    daemon.stop();
    assert_eq!(syslogd.close(), [""; 0], "once");
}

#[test]
fn a_stream_that_waited_long_for_its_target_goes_on_where_it_was() {
    const LINES: usize = 5_000;
    let (site, syslogd) = syslog_site();
    let daemon = site.start();
    site.stall(syslogd, "in");
    let mut child = site
        .bdaemonctl(&["send", "--wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeder = thread::spawn(move || stdin.write_all(numbered("line", LINES).as_bytes()));
    wait_for("the sender to be connected", || (site.status()["clients"] == 2).then_some(()));
    // Longer than a request may take to arrive: another client's half of one says when.
    let mut half = Talk::connect(&site);
    half.say("{\"command\":").unwrap();
    half.is_told_last(EX_DATAERR, "within 5 seconds");
    assert_eq!(child.try_wait().unwrap(), None, "it waits");
    let syslogd = Syslogd::bind(&site.syslog_socket());
    let expected = numbered("line", LINES);
    assert_eq!(syslog_text(&syslogd.next()), "held");
    let mut got = String::new();
    for _ in 0..LINES {
        let Ok(message) = syslogd.received.recv_timeout(Duration::from_secs(30)) else { break };
        writeln!(got, "{}", syslog_text(&common::text(&message))).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(succeeds(&output), "");
    assert!(got == expected, "all, once and in order");
    feeder.join().unwrap().unwrap();
    daemon.stop();
    assert_eq!(syslogd.close(), [""; 0], "nothing twice");
}

#[test]
fn a_client_that_says_nothing_more_still_gets_its_confirmation() {
    let (site, syslogd) = syslog_site();
    let daemon = site.start();
    site.ctl(&["send", "--wait", "before"]);
    syslogd.next();
    syslogd.close();
    std::fs::remove_file(site.syslog_socket()).unwrap();
    let mut talk = Talk::connect(&site);
    talk.say(format!("{}\n", json!({ "command": "send", "text": "one" }))).unwrap();
    talk.say(format!("{}\n", json!({ "command": "send", "text": "two" }))).unwrap();
    talk.stream.shutdown(std::net::Shutdown::Write).unwrap();
    site.wait_own("its pipes wait until it is back");
    let syslogd = Syslogd::bind(&site.syslog_socket());
    let mut confirmed = 0;
    while let Some(reply) = talk.hear() {
        assert_eq!(reply["reply"], "delivered", "{reply}");
        confirmed += reply["records"].as_u64().unwrap();
    }
    assert_eq!(confirmed, 2);
    assert_eq!(["one", "two"].map(|_| syslog_text(&syslogd.next()).to_owned()), ["one", "two"]);
    daemon.stop();
}

#[test]
fn a_daemon_that_is_killed_midway_is_no_confirmation() {
    let (site, syslogd) = syslog_site();
    let daemon = site.start();
    site.stall(syslogd, "in");
    let mut child = site.bdaemonctl(&["send", "--wait", "lost"]);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the sender to be connected", || (site.status()["clients"] == 2).then_some(()));
    daemon.signal(Signal::SIGKILL);
    let (code, stderr) = fails(&child.wait_with_output().unwrap());
    assert_eq!(code, EX_UNAVAILABLE, "{stderr}");
    assert!(stderr.contains("bdaemon went away"), "{stderr}");
}

#[test]
fn a_request_may_have_64_kib_with_its_newline() {
    let site = Site::new();
    let daemon = site.start();
    let mut talk = Talk::connect(&site);
    let request = |length: usize| {
        let frame = json!({ "command": "send", "text": "" }).to_string().len() + 1;
        format!("{}\n", json!({ "command": "send", "text": "x".repeat(length - frame) }))
    };
    let longest = request(64 << 10);
    assert_eq!(longest.len(), 64 << 10);
    talk.say(longest).unwrap();
    assert_eq!(talk.hear().unwrap(), json!({ "reply": "delivered", "records": 1 }));
    let _ = talk.say(request((64 << 10) + 1));
    talk.is_told_last(EX_DATAERR, "a request has at most 64 KiB");
    assert_eq!(talk.hear(), None, "and is let go");
    daemon.stop();
}

#[test]
fn after_a_reload_the_first_pipe_is_the_first_of_the_configuration() {
    let site = Site::new();
    let sections = |names: &[&str]| -> String {
        site.head() + &names.iter().map(|name| site.pipe_section(name, "")).collect::<String>()
    };
    site.configure(&sections(&["a", "b"]));
    let daemon = site.start();
    for (names, number) in [(&["b", "a"][..], 1), (&["c", "b", "a"], 1), (&["a", "c"], 1)] {
        site.configure(&sections(names));
        site.ctl(&["reload"]);
        let log = format!("{}.log", names[0]);
        site.ctl(&["send", "confirmed"]);
        site.wait_lines(&log, number);
        site.ctl(&["send", "--wait", "confirmed"]);
        assert_eq!(site.texts(&log).len(), number + 1, "{names:?}");
        let status = site.status();
        let shown = status["pipes"].as_array().unwrap().iter().map(|pipe| &pipe["name"]);
        assert!(shown.eq(names), "{names:?}: {status}");
    }
    daemon.stop();
}
