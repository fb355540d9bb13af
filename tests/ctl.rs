//! bdaemonctl: what it sends, what it says, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Output, Stdio};
use std::thread;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use common::control::run;
use common::{Line, Site, described, text, wait_for};

const EX_USAGE: i32 = 64;
const EX_DATAERR: i32 = 65;
const EX_UNAVAILABLE: i32 = 69;
const EX_TEMPFAIL: i32 = 75;
const EX_NOPERM: i32 = 77;
const EX_CONFIG: i32 = 78;

/// Runs a command with this standard input.
fn send(site: &Site, args: &[&str], input: &[u8]) -> Output {
    run(&mut site.bdaemonctl(args), input)
}

/// Runs a command that fails: gives its exit code and the one line that it said.
fn fail(site: &Site, args: &[&str]) -> (i32, String) {
    let output = send(site, args, b"line\n");
    let stderr = text(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "one line: {stderr:?}");
    assert!(stderr.starts_with("bdaemonctl: "), "{stderr:?}");
    assert_eq!(text(&output.stdout), "");
    (output.status.code().expect("an exit code"), stderr)
}

#[test]
fn words_are_one_record_and_standard_input_is_a_record_a_line() {
    let site = Site::new();
    let daemon = site.start();
    for (args, input) in [
        (&["send", "several", "words"][..], ""),
        (&["send", "--", "-p", "is", "text"], ""),
        (&["send"], "first\nsecond\n\nthird without a newline"),
        (&["send", "-"], "dash\r\n"),
        (&["send", ""], ""),
        (&["send", "end"], ""),
    ] {
        let output = send(&site, args, input.as_bytes());
        assert!(output.status.success(), "{args:?}: {}", described(&output));
        assert_eq!(text(&output.stdout) + &text(&output.stderr), "", "silent when all is well");
    }
    let expected = [
        "several words",
        "-p is text",
        "first",
        "second",
        "third without a newline",
        "dash",
        "end",
    ];
    assert_eq!(site.wait_texts("in.log", expected.len()), expected);
    daemon.stop();
}

#[test]
fn a_priority_is_a_severity_with_or_without_facility_or_a_number() {
    let site = Site::new();
    let json = site.pipe_section("in", "") + "format = \"json\"\n";
    site.configure(&(site.head() + &json));
    let daemon = site.start();
    let cases = [
        ("err", "err", "daemon"),
        ("warn", "warning", "daemon"),
        ("local7.debug", "debug", "local7"),
        ("13", "notice", "user"),
        ("0", "emerg", "daemon"),
    ];
    for (priority, _, _) in cases {
        assert!(send(&site, &["send", "-p", priority, "x"], b"").status.success());
    }
    assert!(send(&site, &["send", "-p", "alert"], b"one\ntwo\n").status.success());
    site.wait_lines("in.log", cases.len() + 2);
    let log = site.read("in.log");
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (line, (priority, severity, facility)) in lines.iter().zip(cases) {
        assert_eq!(
            (line["severity"].as_str(), line["facility"].as_str()),
            (Some(severity), Some(facility)),
            "{priority}"
        );
    }
    assert!(
        lines[cases.len()..].iter().all(|line| line["severity"] == "alert"),
        "each line of a stream"
    );
    for wrong in ["loud", "192", "-1", "local9.err", "err.local1"] {
        let (code, stderr) = fail(&site, &["send", &format!("--priority={wrong}"), "x"]);
        assert_eq!(code, EX_USAGE, "{stderr}");
        assert!(stderr.contains("a number from 0 to 191"), "{stderr}");
    }
    daemon.stop();
}

#[test]
fn a_pipe_is_chosen_by_name_and_the_first_one_otherwise() {
    let site = Site::new();
    site.configure(&(site.plain() + &site.pipe_section("other", "")));
    let daemon = site.start();
    assert!(send(&site, &["send", "-n", "other", "to other"], b"").status.success());
    assert!(send(&site, &["send", "to the first"], b"").status.success());
    assert_eq!(site.wait_texts("other.log", 1), ["to other"]);
    assert_eq!(site.wait_texts("in.log", 1), ["to the first"]);
    let (code, stderr) = fail(&site, &["send", "-n", "third", "x"]);
    assert_eq!(code, EX_USAGE);
    assert!(stderr.contains("no pipe `third` is configured; there is in, other"), "{stderr}");
    daemon.stop();
}

#[test]
fn each_line_of_a_stream_goes_as_soon_as_it_is_there() {
    let site = Site::new();
    let daemon = site.start();
    let mut child = site.bdaemonctl(&["send"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for number in 1..=3 {
        stdin.write_all(format!("{number}\n").as_bytes()).unwrap();
        assert_eq!(site.wait_texts("in.log", number).last().unwrap(), &number.to_string());
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    daemon.stop();
}

#[test]
fn long_records_of_many_senders_do_not_mix() {
    let site = Site::new();
    site.configure(&(site.head() + &site.pipe_section("in", "max_record = \"1MiB\"")));
    let daemon = site.start();
    // Far over PIPE_BUF, over what a pipe holds, and over what the sender reads at a time.
    let lengths = [20_000, 70_000, 200_000];
    thread::scope(|scope| {
        for sender in ["a", "b", "c", "d"] {
            let site = &site;
            scope.spawn(move || {
                let lines: String = (0..12).map(|n| sender.repeat(lengths[n % 3]) + "\n").collect();
                let output = send(site, &["send", "-p", "notice"], lines.as_bytes());
                assert!(output.status.success(), "{}", described(&output));
            });
            scope.spawn(move || {
                for _ in 0..40 {
                    assert!(send(site, &["send", "short"], b"").status.success());
                }
            });
        }
    });
    daemon.stop();
    let log = site.read("in.log");
    let lines: Vec<_> = log.lines().map(Line::parse).collect();
    let short = lines.iter().filter(|line| line.text == "short" && line.origin == "in.info");
    assert_eq!(short.count(), 4 * 40);
    for sender in ["a", "b", "c", "d"] {
        let own: Vec<_> = lines.iter().filter(|line| line.text.starts_with(sender)).collect();
        assert!(
            own.iter().all(|line| line.text.bytes().all(|b| b == sender.as_bytes()[0])),
            "mixed"
        );
        assert!(own.iter().all(|line| line.origin == "in.notice"));
        let got: Vec<_> = own.iter().map(|line| line.text.len()).collect();
        let sent: Vec<_> = (0..12).map(|n| lengths[n % 3]).collect();
        assert_eq!(got, sent, "whole, and in order");
    }
    assert_eq!(lines.len(), 4 * 40 + 4 * 12);
}

#[test]
fn streams_of_short_and_of_long_records_do_not_mix() {
    const SHORT: usize = 20_000;
    const LONG: usize = 40;
    let site = Site::new();
    site.configure(&(site.head() + &site.pipe_section("in", "max_record = \"1MiB\"")));
    let daemon = site.start();
    let short =
        |sender: &str, number: usize| format!("{sender}{number} {}", sender.repeat(number % 300));
    thread::scope(|scope| {
        for sender in ["a", "b", "c"] {
            let site = &site;
            scope.spawn(move || {
                let lines: String = (0..SHORT).map(|n| short(sender, n) + "\n").collect();
                assert!(send(site, &["send"], lines.as_bytes()).status.success());
            });
        }
        scope.spawn(|| {
            let lines = ("L".repeat(70_000) + "\n").repeat(LONG);
            assert!(send(&site, &["send"], lines.as_bytes()).status.success());
        });
    });
    daemon.stop();
    let texts = site.texts("in.log");
    for sender in ["a", "b", "c"] {
        let own = texts.iter().filter(|text| text.starts_with(sender));
        assert!(
            own.eq((0..SHORT).map(|n| short(sender, n)).collect::<Vec<_>>().iter()),
            "{sender}"
        );
    }
    let long = texts.iter().filter(|text| **text == "L".repeat(70_000)).count();
    assert_eq!((long, texts.len()), (LONG, LONG + 3 * SHORT));
}

#[test]
fn a_timeout_ends_the_waiting_for_a_sender_that_holds_the_lock() {
    let site = Site::new();
    let daemon = site.start();
    let lock = fs::File::open(site.path("in.pipe.lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let mut command = site.bdaemonctl(&["send", "--timeout", "100ms", "x"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the sender to give up", || child.try_wait().unwrap());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(EX_TEMPFAIL));
    assert!(text(&output.stderr).contains("timed out after 0 records"), "{}", described(&output));
    drop(lock);
    assert!(site.bdaemonctl(&["send", "--timeout", "1h", "y"]).status().unwrap().success());
    assert_eq!(site.wait_texts("in.log", 1), ["y"]);
    daemon.stop();
}

#[test]
fn without_a_daemon_it_says_so_at_once() {
    let site = Site::new();
    for args in [&["send", "x"][..], &["send"], &["count"]] {
        let (code, stderr) = fail(&site, args);
        assert_eq!(code, EX_UNAVAILABLE, "{stderr}");
        assert!(stderr.contains("no such pipe: bdaemon is not running"), "{stderr}");
    }
    // A FIFO that nobody reads: opening it for writing would wait for ever.
    mkfifo(&site.pipe(), Mode::S_IRWXU).unwrap();
    for args in [&["send", "x"][..], &["count"]] {
        let (code, stderr) = fail(&site, args);
        assert_eq!(code, EX_UNAVAILABLE, "{stderr}");
        assert!(stderr.contains("nobody reads this pipe: bdaemon is not running"), "{stderr}");
    }
}

#[test]
fn what_is_not_a_pipe_is_not_written_to() {
    let site = Site::new();
    fs::write(site.pipe(), "precious").unwrap();
    let (code, stderr) = fail(&site, &["send", "x"]);
    assert_eq!(code, EX_UNAVAILABLE);
    assert!(stderr.contains("is a regular file, not a pipe of bdaemon"), "{stderr}");
    assert_eq!(site.read("in.pipe"), "precious");
    fs::remove_file(site.pipe()).unwrap();
    std::os::unix::fs::symlink("elsewhere", site.pipe()).unwrap();
    let (code, stderr) = fail(&site, &["send", "x"]);
    assert_eq!(code, EX_UNAVAILABLE);
    assert!(stderr.contains("is a symlink, not a pipe"), "{stderr}");
    assert!(!site.path("elsewhere").exists());
}

#[test]
fn a_reader_that_goes_away_midway_is_told_with_the_number_sent() {
    let site = Site::new();
    mkfifo(&site.pipe(), Mode::S_IRWXU).unwrap();
    let pipe = site.pipe();
    let reader = thread::spawn(move || {
        let mut buffer = [0; 8192];
        fs::File::open(pipe).unwrap().read_exact(&mut buffer).unwrap();
    });
    // The reader must be there, or else the sender says at once that nobody is. It stays for as
    // long as this write end does, and then for the sender's.
    let keeper = fs::File::options().write(true).open(site.pipe()).unwrap();
    let lines = "12345678901234567890\n".repeat(1_000_000);
    let output = send(&site, &["send"], lines.as_bytes());
    drop(keeper);
    reader.join().unwrap();
    assert_eq!(output.status.code(), Some(EX_UNAVAILABLE));
    let stderr = text(&output.stderr);
    let sent = stderr.split("went away after ").nth(1).and_then(|rest| rest.split(' ').next());
    let sent: usize = sent.unwrap_or_else(|| panic!("{stderr}")).parse().unwrap();
    assert!((8192 / 21..100_000).contains(&sent), "{stderr}");
}

#[test]
fn a_timeout_ends_the_waiting_for_a_stalled_daemon() {
    let site = Site::new();
    let daemon = site.start();
    daemon.signal(nix::sys::signal::Signal::SIGSTOP);
    let lines = "12345678901234567890\n".repeat(100_000);
    let output = send(&site, &["send", "--timeout", "200ms"], lines.as_bytes());
    assert_eq!(output.status.code(), Some(EX_TEMPFAIL));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("timed out after "), "{stderr}");
    let sent: usize =
        stderr.split("after ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGCONT);
    // What it says was sent is what arrives.
    assert_eq!(site.wait_texts("in.log", sent).len(), sent);
    daemon.stop();
    assert_eq!(site.texts("in.log").len(), sent);
}

#[test]
fn whoever_may_not_write_is_told() {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let site = Site::new();
    mkfifo(&site.pipe(), Mode::S_IRUSR).unwrap();
    let (code, stderr) = fail(&site, &["send", "x"]);
    assert_eq!(code, EX_NOPERM);
    assert!(stderr.contains("not permitted"), "{stderr}");
}

#[test]
fn check_prints_json_as_well() {
    let site = Site::new();
    let output = send(&site, &["check", "--json"], b"");
    let checked: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(checked["poll_interval"], "500ms");
    assert_eq!(checked["pipe"][0]["log"]["target"], "file");
}

#[test]
fn bad_input_has_its_exit_codes() {
    let site = Site::new();
    let (code, stderr) = fail(&site, &["send", "two\nlines"]);
    assert_eq!(code, EX_DATAERR, "{stderr}");
    assert!(stderr.contains("a record has no newline"), "{stderr}");
    assert_eq!(fail(&site, &["frobnicate"]).0, EX_USAGE);
    let (code, stderr) = fail(&site, &[]);
    assert_eq!(code, EX_USAGE);
    assert!(stderr.contains("requires a subcommand"), "{stderr}");
    assert_eq!(fail(&site, &["send", "--timeout", "soon", "x"]).0, EX_USAGE);
    assert_eq!(fail(&site, &["count", "--interval", "often"]).0, EX_USAGE);
    // Longer than there is time, and no reason to fall over.
    let (code, _) = fail(&site, &["send", "--timeout", "9223372036854775807", "x"]);
    assert_eq!(code, EX_UNAVAILABLE);
    site.configure("max_record = 5\n");
    let (code, stderr) = fail(&site, &["send", "x"]);
    assert_eq!(code, EX_CONFIG);
    assert!(
        stderr.contains("bdaemon.toml:1:1: max_record: unknown key; it belongs in [[pipe]]"),
        "{stderr}"
    );
    let (code, _) = fail(&site, &["check"]);
    assert_eq!(code, EX_CONFIG);
    let (code, stderr) = fail(&site, &["check", site.path("none.toml").to_str().unwrap()]);
    assert_eq!(code, EX_CONFIG);
    assert!(stderr.contains("none.toml: No such file or directory"), "{stderr}");
}

#[test]
fn words_need_not_be_utf8() {
    let site = Site::new();
    let daemon = site.start();
    let word = std::ffi::OsStr::from_bytes(b"caf\xe9");
    assert!(site.bdaemonctl(&["send"]).arg(word).status().unwrap().success());
    assert_eq!(site.wait_texts("in.log", 1), [r"caf\xe9"]);
    daemon.stop();
}

#[test]
fn help_and_version_go_to_standard_output() {
    for program in [common::BDAEMON, common::BDAEMONCTL] {
        for flag in ["--help", "-h", "--version", "-V"] {
            let output = std::process::Command::new(program).arg(flag).output().unwrap();
            assert!(output.status.success(), "{program} {flag}");
            assert!(output.stderr.is_empty());
            assert!(
                text(&output.stdout).to_lowercase().contains("bdaemon"),
                "{}",
                described(&output)
            );
        }
    }
}
