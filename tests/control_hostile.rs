//! Clients of the control socket that do what they should not: nothing is lost, and nobody waits
//! for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use common::control::{
    EX_DATAERR, EX_TEMPFAIL, EX_USAGE, Talk, connect_in_turn, fails, numbered, run,
};
use common::{DEADLINE, Daemon, Site, Syslogd, text, wait_for};

const CLIENTS_MAX: usize = 32;

/// Runs `abuse` while a counted load goes through the pipe and another client has its sends
/// confirmed; checks that nothing is lost or late, and that memory stays bounded.
fn survives(site: &Site, daemon: &Daemon<'_>, abuse: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let before = daemon.resident();
    let mut steady = Talk::connect(site);
    steady.confirm("confirmed 0");
    let (piped, confirmed, longest) = thread::scope(|scope| {
        let mut pipe = site.open_pipe("in.pipe");
        let over = &over;
        let load = scope.spawn(move || {
            let mut number = 0;
            while !over.load(Ordering::Relaxed) || number == 0 {
                for _ in 0..20 {
                    pipe.write_all(format!("piped {number}\n").as_bytes()).unwrap();
                    number += 1;
                }
                thread::sleep(Duration::from_millis(1));
            }
            number
        });
        let sends = scope.spawn(move || {
            let (mut number, mut longest) = (1, Duration::ZERO);
            while !over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                steady.confirm(&format!("confirmed {number}"));
                longest = longest.max(begin.elapsed());
                number += 1;
            }
            (number, longest)
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(abuse));
        over.store(true, Ordering::Relaxed);
        let (confirmed, longest) = sends.join().unwrap();
        let piped = load.join().unwrap();
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
        (piped, confirmed, longest)
    });
    eprintln!("{piped} piped, {confirmed} confirmed, the longest send took {longest:?}");
    assert!(longest < Duration::from_secs(5), "the longest send took {longest:?}");
    site.wait_lines("in.log", piped + confirmed);
    let texts = site.texts("in.log");
    for (prefix, count) in [("piped ", piped), ("confirmed ", confirmed)] {
        let numbers =
            texts.iter().filter_map(|text| text.strip_prefix(prefix)?.parse::<usize>().ok());
        assert!(numbers.eq(0..count), "all of {prefix}, in order");
    }
    assert_eq!(texts.len(), piped + confirmed);
    let grown = daemon.resident().saturating_sub(before);
    assert!(grown < 32 << 20, "it has grown by {grown} bytes");
}

#[test]
fn garbage_harms_nobody() {
    let site = Site::new();
    let daemon = site.start();
    survives(&site, &daemon, || {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for round in 0..200 {
            let garbage: Vec<u8> = (0..=round * 97 % 9000)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()[3]
                })
                .collect();
            let mut talk = Talk::connect(&site);
            let _ = talk.say(garbage);
            let _ = talk.stream.shutdown(Shutdown::Write);
            while let Some(reply) = talk.hear() {
                assert_eq!(
                    (&reply["reply"], &reply["code"]),
                    (&json!("error"), &json!(EX_DATAERR))
                );
            }
        }
        // A megabyte without a newline.
        let mut talk = Talk::connect(&site);
        let _ = talk.say(vec![b'x'; 1 << 20]);
        talk.is_told_last(EX_DATAERR, "a request has at most 64 KiB");
        assert_eq!(talk.hear(), None, "and is let go");
    });
    daemon.stop();
}

#[test]
fn half_a_request_is_not_waited_for() {
    let site = Site::new();
    let daemon = site.start();
    survives(&site, &daemon, || {
        let mut idle = Talk::connect(&site);
        assert_eq!(idle.ask(&json!({ "command": "status" }))["reply"], "status");
        let mut silent = Talk::connect(&site);
        let mut half = Talk::connect(&site);
        let mut slow = Talk::connect(&site);
        half.say("{\"command\":").unwrap();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(4) {
            slow.say(" ").unwrap();
            thread::sleep(Duration::from_millis(100));
        }
        for talk in [&mut half, &mut silent, &mut slow] {
            talk.is_told_last(EX_DATAERR, "a request must arrive within 5 seconds");
            assert_eq!(talk.hear(), None);
        }
        let took = begin.elapsed();
        assert!(took > Duration::from_secs(4) && took < Duration::from_secs(30), "{took:?}");
        // One that has been answered may think for as long as it likes.
        assert_eq!(idle.ask(&json!({ "command": "status" }))["reply"], "status");
    });
    // One that will send no more is not waited for at all.
    let mut half = Talk::connect(&site);
    half.say("{\"command\":\"status\"}").unwrap();
    half.stream.shutdown(Shutdown::Write).unwrap();
    let begin = Instant::now();
    half.is_told_last(EX_DATAERR, "a request ends in a newline");
    assert_eq!(half.hear(), None);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    daemon.stop();
}

#[test]
fn a_request_that_the_daemon_let_wait_is_not_late() {
    let site = Site::new();
    let syslogd = Syslogd::bind(&site.syslog_socket());
    site.configure(&(site.head() + &site.syslog_section("in")));
    let daemon = site.start();
    site.stall(syslogd, "in");
    let mut talk = Talk::connect(&site);
    // The second one is longer than what is read at a time.
    let one = json!({ "command": "send", "text": "one" });
    let two = json!({ "command": "send", "text": "x".repeat(40_000) });
    talk.say(format!("{one}\n{two}\n")).unwrap();
    let mut half = Talk::connect(&site);
    half.say("{").unwrap();
    half.is_told_last(EX_DATAERR, "within 5 seconds");
    let syslogd = Syslogd::bind(&site.syslog_socket());
    let mut confirmed = 0;
    while confirmed < 2 {
        let reply = talk.hear().expect("a confirmation");
        assert_eq!(reply["reply"], "delivered", "{reply}");
        confirmed += reply["records"].as_u64().unwrap();
    }
    daemon.stop();
    drop(syslogd);
}

#[test]
fn requests_that_had_to_wait_go_on_though_nothing_else_happens() {
    const REQUESTS: u64 = 400;
    let site = Site::new();
    let config = site.plain().replace("\"500ms\"", "\"10m\"") + "format = \"json\"\n";
    site.configure(&config);
    let daemon = site.start();
    let mut clients: Vec<_> = (0..12).map(|_| Talk::connect(&site)).collect();
    daemon.signal(Signal::SIGSTOP);
    let requests = format!("{}\n", json!({ "command": "send", "text": "x" }));
    for talk in &mut clients {
        talk.say(requests.repeat(REQUESTS.try_into().unwrap())).unwrap();
    }
    daemon.signal(Signal::SIGCONT);
    let begin = Instant::now();
    for talk in &mut clients {
        let mut confirmed = 0;
        while confirmed < REQUESTS {
            confirmed += talk.hear().expect("a confirmation")["records"].as_u64().unwrap();
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    daemon.stop();
}

#[test]
fn a_record_that_waits_for_a_pipe_that_a_reload_takes_away_is_refused() {
    let site = Site::new();
    let syslogd = Syslogd::bind(&site.syslog_socket());
    site.configure(&(site.plain() + &site.syslog_section("going")));
    let daemon = site.start();
    site.stall(syslogd, "going");
    let mut talk = Talk::connect(&site);
    let request = json!({ "command": "send", "pipe": "going", "text": "x" });
    talk.say(format!("{request}\n{}\n", json!({ "command": "send", "text": "then" }))).unwrap();
    site.configure(&site.plain());
    // It is taken, though a target that is away cannot be opened again.
    daemon.signal(Signal::SIGHUP);
    talk.is_told_last(EX_USAGE, "no pipe `going`");
    assert_eq!(talk.hear().unwrap(), json!({ "reply": "delivered", "records": 1 }));
    assert_eq!(site.texts("in.log"), ["then"]);
    drop(daemon);
}

#[test]
fn the_33rd_client_is_told_so_and_service_resumes_when_one_leaves() {
    let site = Site::new();
    let daemon = site.start();
    let mut clients: Vec<_> = (0..CLIENTS_MAX)
        .map(|_| {
            let mut talk = Talk::connect(&site);
            assert_eq!(talk.ask(&json!({ "command": "log-level" }))["reply"], "log-level");
            talk
        })
        .collect();
    let mut one_more = Talk::connect(&site);
    one_more.is_told_last(EX_TEMPFAIL, "32 clients are connected");
    assert_eq!(one_more.hear(), None);
    for args in [&["status"][..], &["tail", "-f"], &["send", "--wait", "x"], &["send", "--wait"]] {
        let (code, stderr) = site.ctl_fails(args);
        assert_eq!(code, EX_TEMPFAIL, "{args:?}: {stderr}");
        assert!(stderr.contains("32 clients are connected"), "{args:?}: {stderr}");
    }
    let lines = numbered("line", 50_000);
    let output = run(&mut site.bdaemonctl(&["send", "--wait"]), lines.as_bytes());
    let (code, stderr) = fails(&output);
    assert_eq!(code, EX_TEMPFAIL, "{stderr}");
    // Those who are there are served.
    assert_eq!(clients[7].ask(&json!({ "command": "status" }))["clients"], CLIENTS_MAX);
    clients.pop();
    wait_for("a place", || {
        run(&mut site.bdaemonctl(&["status"]), b"").status.success().then_some(())
    });
    assert_eq!(site.read("in.log"), "");
    daemon.stop();
}

#[test]
fn a_client_that_asks_and_never_reads_harms_nobody_and_goes() {
    let site = Site::new();
    let daemon = site.start();
    survives(&site, &daemon, || {
        let mut deaf: Vec<_> = (0..20).map(|_| Talk::connect(&site)).collect();
        let requests = [
            "{\"command\":\"status\"}\n",
            "{\"command\":\"tail\",\"lines\":1000000}\n",
            "\n",
            "{\"command\":\"tail\",\"follow\":true}\n",
        ];
        thread::scope(|scope| {
            for (number, talk) in deaf.iter_mut().enumerate() {
                let many = requests[number % requests.len()].repeat(1000);
                scope.spawn(move || {
                    talk.stream.set_write_timeout(Some(DEADLINE)).unwrap();
                    // A follower has no answers that it should read: it is sent what it takes.
                    let rounds = if number % requests.len() == 3 { 20 } else { usize::MAX };
                    for _ in 0..rounds {
                        match talk.say(&many) {
                            Ok(()) => {}
                            Err(error) => {
                                use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
                                return assert!(
                                    [BrokenPipe, ConnectionReset].contains(&error.kind())
                                );
                            }
                        }
                    }
                });
            }
        });
    });
    daemon.stop();
}

#[test]
fn a_client_that_asks_for_much_and_reads_gets_every_answer() {
    const REQUESTS: usize = 3_000;
    let site = Site::new();
    let daemon = site.start();
    let mut talk = Talk::connect(&site);
    talk.say("{\"command\":\"status\"}\n".repeat(REQUESTS)).unwrap();
    for _ in 0..REQUESTS {
        assert_eq!(talk.hear().expect("an answer")["reply"], "status");
    }
    daemon.stop();
}

#[test]
fn a_client_that_follows_again_and_again_is_one_follower() {
    let site = Site::new();
    let daemon = site.start();
    let mut talk = Talk::connect(&site);
    let follow = json!({ "command": "tail", "follow": true, "lines": 0 });
    talk.say(format!("{follow}\n").repeat(1000)).unwrap();
    assert_eq!(talk.ask(&json!({ "command": "log-level" }))["reply"], "log-level");
    for text in ["one", "two"] {
        site.write(format!("{text}\n"));
        assert_eq!(talk.hear().unwrap()["text"], text);
    }
    assert_eq!(talk.ask(&json!({ "command": "log-level" }))["reply"], "log-level", "once each");
    daemon.stop();
}

#[test]
fn a_thousand_connections_one_after_the_other_are_served() {
    let site = Site::new();
    let daemon = site.start();
    survives(&site, &daemon, || {
        for number in 0..1000 {
            if number % 2 == 0 {
                // Gone before it has been greeted.
                drop(UnixStream::connect(site.socket()).unwrap());
            } else {
                connect_in_turn(&site);
            }
        }
    });
    wait_for("all to be forgotten", || (site.status()["clients"] == 1).then_some(()));
    daemon.stop();
}

#[test]
fn hundreds_of_connections_at_once_are_served_or_told_to_come_again() {
    let site = Site::new();
    let daemon = site.start();
    survives(&site, &daemon, || {
        thread::scope(|scope| {
            for _ in 0..200 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let mut talk = connect_in_turn(&site);
                        let reply = talk.ask(&json!({ "command": "status" }));
                        assert_eq!(reply["reply"], "status");
                        assert!(reply["clients"].as_u64().unwrap() <= CLIENTS_MAX as u64);
                    }
                });
            }
        });
    });
    daemon.stop();
}

#[test]
fn clients_that_are_killed_midway_leave_nothing() {
    let site = Site::new();
    let daemon = site.start();
    survives(&site, &daemon, || {
        let spawn = |args: &[&str]| -> Child {
            let mut command = site.bdaemonctl(args);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            command.spawn().unwrap()
        };
        for _ in 0..10 {
            let mut tail = spawn(&["tail", "-f"]);
            let mut stdout = tail.stdout.take().unwrap();
            let mut some = [0; 1000];
            stdout.read_exact(&mut some).unwrap();
            assert!(text(&some).contains(" in.info: "));
            let mut send = spawn(&["send", "--wait", "-"]);
            for mut child in [tail, {
                send.stdin.take();
                send
            }] {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
    });
    wait_for("all to be forgotten", || (site.status()["clients"] == 1).then_some(()));
    daemon.stop();
}
