//! What pretends to be the daemon: bdaemonctl shows nothing that would reach the terminal, and
//! holds no more than an answer can have.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use common::control::{EX_UNAVAILABLE, fails, run};
use common::{Site, text};

/// Plays the daemon for clients of this site: greets each, hears one request, says this, and
/// closes.
fn pretender(site: &Site, says: Vec<u8>) -> JoinHandle<()> {
    let listener = UnixListener::bind(site.socket()).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"{\"protocol\":1,\"version\":\"\\u001b[31m\",\"pid\":1}\n").unwrap();
        let mut request = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut request).unwrap();
        let _ = stream.write_all(&says);
    })
}

#[test]
fn what_pretends_to_be_the_daemon_cannot_reach_the_terminal() {
    // Control characters of both kinds, and one that turns the direction of writing.
    let odd = r"\u001b]0;title\u0007\u0000\u009b2J\u202eend\r\n";
    let status = format!(
        r#"{{"reply":"status","version":"{odd}","pid":1,"user":"{odd}","config":"{odd}","started":"{odd}","uptime_seconds":1.5,"peak_resident_bytes":1,"log_level":"{odd}","reloads":0,"failed_reloads":1,"last_reload_error":"{odd}","clients":1,"pipes":[{{"name":"{odd}","path":"{odd}","target":"{odd}","state":"reading","records":1,"bytes":2,"splits":0,"escapes":0,"last_record":"{odd}"}}],"targets":[{{"name":"{odd}","state":"stalled","since":"{odd}","why":"{odd}","delivered":1,"retries":2,"reconnects":3,"backlog_bytes":4,"backlog_records":5}}]}}"#
    );
    let record = format!(
        r#"{{"reply":"record","time":"{odd}","pipe":"{odd}","severity":"{odd}","text":"{odd}"}}"#
    );
    let error = format!(r#"{{"reply":"error","code":77,"message":"{odd}"}}"#);
    let level = format!(r#"{{"reply":"log-level","level":"{odd}"}}"#);
    for (args, says) in [
        (&["status"][..], &status),
        (&["status", "--json"], &status),
        (&["stats"], &status),
        (&["stats", "--format", "prometheus"], &status),
        (&["tail"], &record),
        (&["tail", "--json"], &record),
        (&["log-level"], &level),
        (&["reload"], &error),
    ] {
        let site = Site::new();
        let pretender = pretender(&site, format!("{says}\n{{\"reply\":\"done\"}}\n").into());
        let output = run(&mut site.bdaemonctl(args), b"");
        pretender.join().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains("end"), "{args:?}: {said:?}");
        let odd = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!said.contains(odd), "{args:?}: {said:?}");
    }
}

#[test]
fn an_answer_without_an_end_is_not_waited_for_in_memory() {
    let site = Site::new();
    let listener = UnixListener::bind(site.socket()).unwrap();
    let pretender = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"{\"protocol\":1,\"version\":\"1\",\"pid\":1}\n").unwrap();
        let (piece, mut sent) = (vec![b'x'; 1 << 16], 0_u64);
        let begin = Instant::now();
        while stream.write_all(&piece).is_ok() && begin.elapsed() < common::DEADLINE {
            sent += 1 << 16;
        }
        sent
    });
    let (code, stderr) = fails(&run(&mut site.bdaemonctl(&["status"]), b""));
    assert_eq!(code, EX_UNAVAILABLE, "{stderr}");
    assert!(stderr.contains("this is not bdaemon's control socket"), "{stderr}");
    assert!(pretender.join().unwrap() < 256 << 20, "it was given up");
}
