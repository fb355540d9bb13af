//! What bdaemonctl shows of a running daemon, and what it changes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use common::control::{
    EX_CONFIG, EX_DATAERR, EX_TEMPFAIL, EX_UNAVAILABLE, EX_USAGE, Talk, run, succeeds,
};
use common::{BDAEMONCTL, Site, Syslogd, text, wait_for};

/// Every command that asks the daemon something.
const COMMANDS: [&[&str]; 8] = [
    &["status"],
    &["stats"],
    &["tail"],
    &["log-level"],
    &["reload"],
    &["reopen"],
    &["stop"],
    &["send", "--wait", "words"],
];

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn status_shows_people_each_pipe_and_target_in_aligned_columns() {
    let site = Site::new();
    let other = site.pipe_section("another-one", "");
    site.configure(&(site.plain() + &other));
    let daemon = site.start();
    site.write("one\n");
    site.wait_lines("in.log", 1);
    let status = site.ctl(&["status"]);
    let lines: Vec<_> = status.lines().collect();
    assert!(lines[0].contains(&format!("is running as pid {} of user ", daemon.pid)), "{status}");
    assert!(lines[1].contains(site.config().to_str().unwrap()), "{status}");
    let pipes = lines.iter().position(|line| line.starts_with("PIPE ")).unwrap();
    for (column, cells) in [
        ("PIPE", ["in", "another-one"]),
        ("STATE", ["reading", "reading"]),
        ("RECORDS", ["1", "0"]),
        ("BYTES", ["4", "0"]),
        ("LAST RECORD", ["2", "never"]),
        ("PATH", [site.pipe().to_str().unwrap(), site.path("another-one.pipe").to_str().unwrap()]),
        ("TARGET", ["", ""].map(|_| "")),
    ] {
        let at = lines[pipes].find(column).unwrap();
        for (line, cell) in lines[pipes + 1..].iter().zip(cells) {
            assert!(line[at..].starts_with(cell), "{column}: {cell:?} in\n{status}");
            assert!(at == 0 || line[..at].ends_with("  "), "{column} begins a column\n{status}");
        }
    }
    assert!(lines[pipes + 1].ends_with("in.log"), "{status}");
    let targets = lines.iter().position(|line| line.starts_with("TARGET ")).unwrap();
    let at = lines[targets].find("STATE").unwrap();
    let rows: Vec<_> = lines[targets + 1..].iter().map(|line| line.split_at(at)).collect();
    assert_eq!(rows.len(), 3, "own.log, in.log and another-one.log: {status}");
    assert!(rows.iter().all(|(_, rest)| rest.starts_with("ok  ")), "{status}");
    for name in ["own.log", "in.log", "another-one.log"] {
        assert!(rows.iter().any(|(row, _)| row.trim_end().ends_with(&format!("/{name}"))));
    }
    assert!(!status.contains('\x1b'), "no colour where there is no terminal");
    daemon.stop();
}

#[test]
fn status_as_json_has_all_fields_with_their_values() {
    let site = Site::new();
    let daemon = site.start();
    site.write("one\ntwo\n");
    site.wait_lines("in.log", 2);
    let status = site.status();
    assert_eq!(
        keys(&status),
        [
            "clients",
            "config",
            "failed_reloads",
            "last_reload_error",
            "log_level",
            "peak_resident_bytes",
            "pid",
            "pipes",
            "reloads",
            "started",
            "targets",
            "uptime_seconds",
            "user",
            "version"
        ]
    );
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pid"], daemon.pid);
    assert_eq!(status["config"], site.config().to_str().unwrap());
    assert_eq!((&status["log_level"], &status["clients"]), (&json!("info"), &json!(1)));
    assert_eq!((&status["reloads"], &status["failed_reloads"]), (&json!(0), &json!(0)));
    assert_eq!(status["last_reload_error"], Value::Null);
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    assert_eq!(status["user"], user);
    let started: jiff::Timestamp = status["started"].as_str().unwrap().parse().unwrap();
    let age = started.duration_until(jiff::Timestamp::now()).as_secs_f64();
    let uptime = status["uptime_seconds"].as_f64().unwrap();
    assert!((age - uptime).abs() < 60.0, "started {age} s ago, up {uptime} s");
    let peak = status["peak_resident_bytes"].as_u64().unwrap();
    assert!((1 << 20..256 << 20).contains(&peak), "{peak}");

    let pipe = &status["pipes"][0];
    let last = pipe["last_record"].as_str().unwrap();
    assert!(last.parse::<jiff::Timestamp>().is_ok(), "{last}");
    let target = pipe["target"].as_str().unwrap();
    assert!(target.ends_with("/in.log"), "{target}");
    assert_eq!(
        status["pipes"],
        json!([{
            "name": "in", "path": site.pipe().to_str().unwrap(), "target": target,
            "state": "reading", "records": 2, "bytes": 8, "splits": 0, "escapes": 0,
            "last_record": last,
        }])
    );
    let targets = status["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 2);
    assert_eq!(
        targets.iter().find(|of| of["name"] == target).unwrap(),
        &json!({
            "name": target, "state": "ok", "since": null, "why": null, "delivered": 2,
            "retries": 0, "reconnects": 0, "backlog_bytes": 0, "backlog_records": 0,
        })
    );
    daemon.stop();
}

#[test]
fn a_stalled_target_is_shown_with_since_when_and_why_until_it_is_back() {
    let site = Site::new();
    let syslogd = Syslogd::bind(&site.syslog_socket());
    site.configure(&(site.head() + &site.syslog_section("in")));
    let daemon = site.start();
    site.stall(syslogd, "in");
    let status = site.status();
    let stalled = |status: &Value| {
        status["targets"].as_array().unwrap().iter().position(|t| t["state"] == "stalled")
    };
    let target = &status["targets"][stalled(&status).expect("a stalled target")];
    let since: jiff::Timestamp = target["since"].as_str().unwrap().parse().unwrap();
    assert!(since <= jiff::Timestamp::now());
    assert!(since.duration_until(jiff::Timestamp::now()).as_secs() < 100);
    let why = target["why"].as_str().unwrap();
    assert!(!why.is_empty());
    assert_eq!((&target["backlog_records"], &target["delivered"]), (&json!(1), &json!(0)));
    assert_eq!(status["pipes"][0]["state"], "waiting");
    let human = site.ctl(&["status"]);
    let line = human.lines().find(|line| line.contains("stalled")).unwrap();
    assert!(line.ends_with(why), "{human}");
    assert!(human.lines().any(|line| line.starts_with("in  ") && line.contains("waiting")));
    wait_for("another try", || {
        (site.status()["targets"][stalled(&status).unwrap()]["retries"].as_u64() > Some(0))
            .then_some(())
    });

    let syslogd = Syslogd::bind(&site.syslog_socket());
    assert!(syslogd.next().ends_with("held"));
    wait_for("the recovery", || {
        let status = site.status();
        let target = status["targets"].as_array()?.iter().find(|t| t["reconnects"] == 1)?.clone();
        assert_eq!((&target["state"], &target["delivered"]), (&json!("ok"), &json!(1)));
        assert_eq!((&target["since"], &target["why"]), (&Value::Null, &Value::Null));
        assert_eq!(status["pipes"][0]["state"], "reading");
        Some(())
    });
    daemon.stop();
}

#[test]
fn without_a_daemon_every_command_says_so_within_a_second() {
    let site = Site::new();
    let check = || {
        for args in COMMANDS {
            // A busy machine may be slow once.
            let quick = (0..5).any(|_| {
                let begin = Instant::now();
                let (code, stderr) = site.ctl_fails(args);
                assert_eq!(code, EX_UNAVAILABLE, "{args:?}: {stderr}");
                assert!(stderr.contains("bdaemon is not running"), "{args:?}: {stderr}");
                begin.elapsed() < Duration::from_secs(1)
            });
            assert!(quick, "{args:?}");
        }
    };
    check();
    // What a crash leaves is a socket that nobody serves.
    let mut daemon = site.start();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    assert!(site.socket().exists());
    check();
}

#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for_without_end() {
    let site = Site::new();
    let daemon = site.start();
    daemon.signal(Signal::SIGSTOP);
    let begin = Instant::now();
    let (code, stderr) = site.ctl_fails(&["status"]);
    assert_eq!(code, EX_TEMPFAIL, "{stderr}");
    assert!(stderr.contains("no answer in time"), "{stderr}");
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(30), "{took:?}");
    daemon.signal(Signal::SIGCONT);
    assert_eq!(site.status()["pid"], daemon.pid);
    daemon.stop();
}

#[test]
fn without_a_control_socket_it_says_that_the_configuration_has_none() {
    let site = Site::new();
    site.configure(&site.plain().replace("[control]\n", "[control]\nenable = false\n"));
    let daemon = site.start();
    assert!(!site.socket().exists());
    for args in COMMANDS {
        let (code, stderr) = site.ctl_fails(args);
        assert_eq!(code, EX_UNAVAILABLE, "{args:?}: {stderr}");
        assert!(stderr.contains("control.enable is false"), "{args:?}: {stderr}");
    }
    daemon.stop();
}

#[test]
fn tail_shows_the_last_records_of_all_pipes_or_of_one() {
    let site = Site::new();
    site.configure(&(site.plain() + &site.pipe_section("other", "priority = \"warning\"")));
    let daemon = site.start();
    assert_eq!(site.ctl(&["tail"]), "");
    let mut other = site.open_pipe("other.pipe");
    for number in 0..20 {
        site.write(format!("{number}\n"));
        site.wait_lines("in.log", number + 1);
        other.write_all(format!("<3>other {number}\n").as_bytes()).unwrap();
        site.wait_lines("other.log", number + 1);
    }
    let texts = |args: &[&str]| -> Vec<String> {
        let tail = site.ctl(args);
        tail.lines().map(|line| line.split_once(": ").unwrap().1.to_owned()).collect()
    };
    assert_eq!(texts(&["tail", "-n", "3"]), ["other 18", "19", "other 19"]);
    assert_eq!(texts(&["tail", "-n", "2", "in"]), ["18", "19"]);
    assert_eq!(texts(&["tail"]).len(), 10, "without a number");
    assert_eq!(texts(&["tail", "-n", "1000"]).len(), 40, "all there are");
    assert_eq!(texts(&["tail", "-n", "0"]).len(), 0);
    let line = site.ctl(&["tail", "-n", "1"]);
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
    assert_eq!(rest, "other.err: other 19\n");
    let line = site.ctl(&["tail", "-n", "1", "--json", "in"]);
    let record: Value = serde_json::from_str(&line).unwrap();
    let time = record["time"].as_str().unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
    assert_eq!(record, json!({ "time": time, "pipe": "in", "severity": "info", "text": "19" }));
    let (code, stderr) = site.ctl_fails(&["tail", "third"]);
    assert_eq!(code, EX_USAGE);
    assert!(stderr.contains("no pipe `third`; there is in, other"), "{stderr}");
    daemon.stop();
}

#[test]
fn tail_goes_on_with_the_records_that_come() {
    let site = Site::new();
    let daemon = site.start();
    site.write("before\n");
    site.wait_lines("in.log", 1);
    let mut child = site.bdaemonctl(&["tail", "-f", "in"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().ends_with(" in.info: before"));
    for number in 0..100 {
        site.write(format!("{number}\n"));
        let line = lines.next().unwrap().unwrap();
        assert!(line.ends_with(&format!(" in.info: {number}")), "{line}");
    }
    // It ends when its reader has gone, and with the daemon.
    drop(lines);
    wait_for("the end of tail", || {
        site.write("more\n");
        child.try_wait().unwrap()
    });
    let mut tail = site.bdaemonctl(&["tail", "-f"]);
    let tail = tail.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("tail to be connected", || (site.status()["clients"] == 2).then_some(()));
    daemon.stop();
    let output = tail.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(EX_UNAVAILABLE));
    assert!(text(&output.stderr).contains("bdaemon went away"));
}

#[test]
fn a_follower_that_reads_too_slowly_is_told_how_many_records_it_missed() {
    const RECORDS: usize = 20_000;
    let site = Site::new();
    let daemon = site.start();
    let mut follower = Talk::connect(&site);
    follower.say("{\"command\":\"tail\",\"follow\":true,\"lines\":0}\n").unwrap();
    wait_for("the follower to be served", || (site.status()["clients"] == 2).then_some(()));
    let mut pipe = site.open_pipe("in.pipe");
    for number in 0..RECORDS {
        pipe.write_all(format!("{number} {:080}\n", 0).as_bytes()).unwrap();
    }
    let begin = Instant::now();
    Talk::connect(&site).confirm("last");
    assert!(begin.elapsed() < Duration::from_secs(5), "it waits for nobody");
    assert_eq!(site.texts("in.log").len(), RECORDS + 1);

    let (mut got, mut missed) = (0, 0);
    loop {
        let reply = follower.hear().expect("a record");
        if reply["reply"] == "missed" {
            missed += reply["records"].as_u64().unwrap();
            continue;
        }
        got += 1;
        let text = reply["text"].as_str().unwrap();
        if text == "last" {
            break;
        }
        let number: u64 = text.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(number + 1, got + missed, "what was missed is counted exactly");
    }
    assert!(missed > 0, "it read slowly");
    assert_eq!(got + missed, RECORDS as u64 + 1);
    daemon.stop();
}

#[test]
fn the_log_level_is_shown_and_set_until_the_next_reload() {
    let site = Site::new();
    let daemon = site.start();
    assert_eq!(site.ctl(&["log-level"]), "info\n");
    assert_eq!(site.ctl(&["log-level", "debug"]), "debug\n");
    site.wait_own("pipe not ready: in");
    assert_eq!(site.status()["log_level"], "debug");
    assert_eq!(site.ctl(&["log-level", "--json"]), "{\"log_level\":\"debug\"}\n");
    let (code, stderr) = site.ctl_fails(&["log-level", "loud"]);
    assert_eq!(code, EX_USAGE);
    assert!(stderr.contains("allowed: error, warn, info, debug, trace"), "{stderr}");
    assert_eq!(site.ctl(&["log-level"]), "debug\n", "a wrong one changes nothing");
    site.ctl(&["reload"]);
    assert_eq!(site.ctl(&["log-level"]), "info\n");
    daemon.stop();
}

#[test]
fn reload_takes_the_new_configuration_or_says_why_not() {
    let site = Site::new();
    let daemon = site.start();
    site.configure(&(site.plain() + &site.pipe_section("other", "")));
    assert_eq!(site.ctl(&["reload"]), "");
    assert!(common::is_fifo(&site.path("other.pipe")), "done when the command returns");
    assert_eq!(site.ctl(&["send", "--wait", "-n", "other", "there"]), "");
    assert_eq!(site.texts("other.log"), ["there"]);
    // The command must find the socket though the daemon cannot read the file.
    site.configure("max_record = 5\n");
    let socket = site.socket();
    let mut reload = Command::new(BDAEMONCTL);
    let output = run(reload.arg("-s").arg(&socket).arg("reload"), b"");
    let (code, stderr) = common::control::fails(&output);
    assert_eq!(code, EX_CONFIG);
    assert!(stderr.contains("bdaemon.toml:1:1: max_record: unknown key"), "{stderr}");
    let mut status = Command::new(BDAEMONCTL);
    let status = run(status.arg("-s").arg(&socket).args(["status", "--json"]), b"");
    let status: Value = serde_json::from_str(&succeeds(&status)).unwrap();
    assert_eq!((&status["reloads"], &status["failed_reloads"]), (&json!(1), &json!(1)));
    let error = status["last_reload_error"].as_str().unwrap();
    assert!(stderr.contains(error), "{error}");
    assert_eq!(status["pipes"].as_array().unwrap().len(), 2, "everything as it was");
    daemon.stop();
}

#[test]
fn reopen_has_the_new_file_in_use_when_it_returns() {
    let site = Site::new();
    let daemon = site.start();
    site.ctl(&["send", "--wait", "old"]);
    fs::rename(site.path("in.log"), site.path("old.log")).unwrap();
    assert_eq!(site.ctl(&["reopen"]), "");
    site.ctl(&["send", "--wait", "new"]);
    assert_eq!(
        (site.texts("old.log"), site.texts("in.log")),
        (vec!["old".into()], vec!["new".into()])
    );
    daemon.stop();
}

#[test]
fn completions_are_there_for_each_shell() {
    let site = Site::new();
    for shell in ["bash", "sh", "zsh", "fish"] {
        let script = site.ctl(&["completions", shell]);
        for command in ["log-level", "completions", "reopen", "status"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
        if shell == "bash" && Command::new("bash").arg("--version").output().is_ok() {
            let output = run(Command::new("bash").arg("-n"), script.as_bytes());
            assert_eq!(succeeds(&output), "");
        }
    }
    assert_eq!(site.ctl_fails(&["completions", "cmd"]).0, EX_USAGE);
}

#[test]
fn a_request_that_is_wrong_is_answered_and_the_connection_lives_on() {
    let site = Site::new();
    let daemon = site.start();
    let mut talk = Talk::connect(&site);
    assert_eq!(
        talk.greeting,
        json!({ "protocol": 1, "version": env!("CARGO_PKG_VERSION"), "pid": daemon.pid })
    );
    for (line, what) in [
        (&b"{\"command\":\"dance\"}\n"[..], "not a request: unknown variant `dance`"),
        (b"{\"command\":\"two\\nlines\"}\n", "unknown variant `two\\x0alines`"),
        (b"status\n", "not a request"),
        (b"\n", "not a request"),
        (b"{}\n", "missing field `command`"),
        (b"[]\n", "not a request"),
        (b"\"status\"\n", "not a request"),
        (b"\xff\xfe\0\n", "not a request"),
        (b"{\"command\":\"status\",\"colour\":1}\n", "unknown field `colour`"),
        (b"{\"command\":\"tail\",\"lines\":\"ten\"}\n", "not a request"),
        (b"{\"command\":\"tail\",\"lines\":-1}\n", "not a request"),
        (b"{\"command\":\"stop\",\"timeout\":-1}\n", "not a timeout"),
        (b"{\"command\":\"stop\",\"timeout\":1e300}\n", "not a timeout"),
        (b"{\"command\":\"send\",\"hex\":\"6\"}\n", "two hexadecimal digits"),
        (b"{\"command\":\"send\",\"hex\":\"+1\"}\n", "two hexadecimal digits"),
        (b"{\"command\":\"send\",\"hex\":\"610a\"}\n", "a record has no newline"),
        (b"{\"command\":\"send\",\"text\":\"a\\nb\"}\n", "a record has no newline"),
        (b"{\"command\":\"send\",\"text\":\"a\\u0000b\"}\n", "a record has no newline"),
    ] {
        talk.say(line).unwrap();
        talk.is_told(EX_DATAERR, what);
    }
    let deep = "[".repeat(60_000) + "\n";
    talk.say(deep).unwrap();
    talk.is_told(EX_DATAERR, "not a request");
    for request in [
        json!({ "command": "tail", "pipe": "none" }),
        json!({ "command": "send", "pipe": "none", "text": "x" }),
        json!({ "command": "log-level", "level": "loud" }),
    ] {
        talk.say(format!("{request}\n")).unwrap();
        talk.is_told(EX_USAGE, "");
    }
    assert_eq!(site.read("in.log"), "");
    daemon.stop();
}
