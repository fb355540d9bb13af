//! What a syslog daemon receives, and what happens when it is away.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

use nix::sys::signal::Signal;

use common::{DEADLINE, Site, Syslogd, mode, syslog_text, wait_for};
use syslog_loose::{Protocol, SyslogFacility, SyslogSeverity, Variant};

/// A pipe `in` with a syslog target, and more keys for the latter.
fn syslog_section(site: &Site, address: &str, keys: &str) -> String {
    format!(
        "[[pipe]]\nname = \"in\"\npath = \"{}\"\n[pipe.log]\ntarget = \"syslog\"\naddress = \"{address}\"\n{keys}\n",
        site.pipe().display()
    )
}

fn local(site: &Site) -> String {
    format!("unix:{}", site.path("syslog.log").display())
}

/// Starts a daemon in a zone that is not UTC; gives what an independent parser makes of one
/// message, and the moment before it was sent.
fn one_message(keys: &str, record: &str) -> (String, jiff::Zoned) {
    let site = Site::new();
    let syslogd = Syslogd::bind(&site.path("syslog.log"));
    site.configure(&(site.head() + &syslog_section(&site, &local(&site), keys)));
    let mut command = site.bdaemon(&[]);
    let daemon = site.start_with(command.env("TZ", "America/St_Johns"));
    let zone = jiff::tz::TimeZone::get("America/St_Johns").unwrap();
    let before = jiff::Timestamp::now().to_zoned(zone);
    site.write(record);
    let message = syslogd.next();
    daemon.stop();
    (message, before)
}

#[test]
fn rfc5424_is_read_back_by_another_parser_with_local_time_and_offset() {
    let (message, before) =
        one_message("format = \"rfc5424\"\ntag = \"jail-7\"", "<165>caf\u{e9} <b>\n");
    let parsed = syslog_loose::parse_message(&message, Variant::RFC5424);
    assert_eq!(parsed.protocol, Protocol::RFC5424(1));
    assert_eq!(parsed.facility, Some(SyslogFacility::LOG_LOCAL4));
    assert_eq!(parsed.severity, Some(SyslogSeverity::SEV_NOTICE));
    assert_eq!(parsed.hostname, nix::unistd::gethostname().unwrap().to_str());
    assert_eq!(parsed.appname, Some("jail-7"));
    assert_eq!(parsed.msgid, Some("in"), "the pipe's name");
    assert_eq!(parsed.msg, "caf\u{e9} <b>");
    let time = parsed.timestamp.expect("a time");
    let seconds = time.timestamp() - before.timestamp().as_second();
    assert!((0..60).contains(&seconds), "{seconds} s from the moment of the write");
    assert_eq!(time.offset().local_minus_utc(), before.offset().seconds(), "its offset");
}

#[test]
fn rfc3164_is_read_back_by_another_parser_with_local_time() {
    let (message, before) = one_message("format = \"rfc3164\"\nfacility = \"local1\"", "plain\n");
    let parsed = syslog_loose::parse_message(&message, Variant::RFC3164);
    assert_eq!(parsed.protocol, Protocol::RFC3164);
    assert_eq!(parsed.facility, Some(SyslogFacility::LOG_LOCAL1));
    assert_eq!(parsed.severity, Some(SyslogSeverity::SEV_INFO));
    assert_eq!(parsed.appname, Some("bdaemon"));
    assert_eq!(parsed.msg, "plain");
    // The day is padded with a space, and the time is what a clock on the wall there says.
    let (_, stamp) = message.split_once('>').unwrap();
    let stamps = (0..60).map(|later| {
        let moment = before.checked_add(jiff::SignedDuration::from_secs(later)).unwrap();
        // No host: a local syslogd would take it for the tag.
        moment.strftime("%b %e %H:%M:%S bdaemon[").to_string()
    });
    assert!(stamps.into_iter().any(|local| stamp.starts_with(&local)), "{message}");
}

#[test]
fn records_survive_a_syslogd_restart() {
    let site = Site::new();
    let socket = site.path("syslog.log");
    let syslogd = Syslogd::bind(&socket);
    site.configure(&(site.head() + &syslog_section(&site, &local(&site), "")));
    let daemon = site.start();
    site.write("before\n");
    let mut received = vec![syslogd.next()];
    received.extend(syslogd.close());
    for round in 0..5 {
        fs::remove_file(&socket).unwrap();
        for number in 0..20 {
            site.write(format!("{round} {number}\n"));
        }
        wait_for("the daemon to notice", || {
            (site.read("own.log").matches("wait until it is back").count() > round).then_some(())
        });
        let back = Syslogd::bind(&socket);
        received.extend((0..20).map(|_| back.next()));
        wait_for("the daemon to say so", || {
            (site.read("own.log").matches("delivering again").count() > round).then_some(())
        });
        received.extend(back.close());
    }
    daemon.stop();
    let texts: Vec<_> = received.iter().map(|message| syslog_text(message).to_owned()).collect();
    let numbers = (0..5).flat_map(|round| (0..20).map(move |number| format!("{round} {number}")));
    let expected: Vec<_> = std::iter::once("before".to_owned()).chain(numbers).collect();
    assert_eq!(texts, expected, "each once, and in order");
}

#[test]
fn a_restart_between_two_records_is_not_worth_a_word() {
    let site = Site::new();
    let socket = site.path("syslog.log");
    let syslogd = Syslogd::bind(&socket);
    // It does not look after its targets meanwhile.
    let head = site.head().replace("500ms", "1h");
    site.configure(&(head + &syslog_section(&site, &local(&site), "")));
    let daemon = site.start();
    site.write("before\n");
    assert_eq!(syslog_text(&syslogd.next()), "before");
    syslogd.close();
    fs::remove_file(&socket).unwrap();
    let syslogd = Syslogd::bind(&socket);
    site.write("after\n");
    assert_eq!(syslog_text(&syslogd.next()), "after");
    daemon.stop();
    assert!(!site.read("own.log").contains("wait until it is back"));
}

#[test]
fn a_socket_that_takes_the_place_of_another_gets_the_records_within_a_poll_interval() {
    let site = Site::new();
    let socket = site.path("syslog.log");
    let old = Syslogd::bind(&socket);
    site.configure(&(site.head() + &syslog_section(&site, &local(&site), "")));
    let daemon = site.start();
    // The old one is still there, and takes what it is sent.
    fs::remove_file(&socket).unwrap();
    let new = Syslogd::bind(&socket);
    wait_for("a record at the new socket", || {
        site.write("record\n");
        new.received.try_recv().ok()
    });
    daemon.stop();
    old.close();
}

#[test]
fn a_hung_syslogd_blocks_its_writers_and_nobody_elses_and_loses_nothing() {
    let site = Site::new();
    // Bound, and not read: the kernel holds a few messages, and then no more.
    let socket = std::os::unix::net::UnixDatagram::bind(site.path("syslog.log")).unwrap();
    let other = site.pipe_section("other", "");
    site.configure(&(site.head() + &syslog_section(&site, &local(&site), "") + &other));
    let daemon = site.start();
    let mut writer = site.open_pipe("in.pipe");
    let (sent, all_sent) = std::sync::mpsc::channel();
    let lines = 20_000;
    let thread = std::thread::spawn(move || {
        for number in 0..lines {
            writer.write_all(format!("{number} {:080}\n", 0).as_bytes()).unwrap();
        }
        sent.send(()).unwrap();
    });
    site.wait_own("it takes nothing more; its pipes wait until it is back");
    assert!(all_sent.try_recv().is_err(), "the writer waits");
    assert_eq!(site.read("own.log").matches("takes nothing more").count(), 1, "said once");
    site.open_pipe("other.pipe").write_all(b"goes on\n").unwrap();
    assert_eq!(site.wait_texts("other.log", 1), ["goes on"]);

    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut buffer = [0; 9000];
    for number in 0..lines {
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(syslog_text(&common::text(&buffer[..length])), format!("{number} {:080}", 0));
    }
    all_sent.recv_timeout(DEADLINE).unwrap();
    thread.join().unwrap();
    daemon.stop();
}

#[test]
fn a_long_record_is_split_into_messages_that_every_syslogd_takes() {
    let site = Site::new();
    let syslogd = Syslogd::bind(&site.path("syslog.log"));
    let section = syslog_section(&site, &local(&site), "")
        .replace("[pipe.log]", "max_record = \"1MiB\"\n[pipe.log]");
    site.configure(&(site.head() + &section));
    let daemon = site.start();
    let record: String = ('a'..='z').cycle().take(100_000).collect();
    site.write(format!("<11>{record}\nnext\n"));
    let mut joined = String::new();
    loop {
        let message = syslogd.next();
        assert!(message.len() <= 8192, "{} bytes", message.len());
        let text = syslog_text(&message);
        if text == "next" {
            break;
        }
        assert!(message.starts_with("<11>"), "each part has the priority");
        let body = text.strip_prefix("[...] ").unwrap_or(text);
        joined.push_str(body.strip_suffix(" [...]").unwrap_or(body));
    }
    assert!(joined == record);
    daemon.signal(Signal::SIGUSR2);
    site.wait_own("pipe in: 2 records");
    site.wait_own("syslog.log: 2 delivered");
    daemon.stop();
}

#[test]
fn a_udp_collector_that_refuses_is_waited_for() {
    // No more than what its socket's receive buffer takes at once.
    const LINES: usize = 150;
    let site = Site::new();
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = collector.local_addr().unwrap();
    let target = format!("udp:{address}");
    site.configure(&(site.head() + &syslog_section(&site, &target, "")));
    let daemon = site.start();
    drop(collector);
    // Taken by the system, and refused when it is too late.
    site.write("for nobody\n");
    let mut writer = site.open_pipe("in.pipe");
    let thread = std::thread::spawn(move || {
        for number in 0..LINES {
            writer.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
    });
    site.wait_own("send: Connection refused; its pipes wait until it is back");
    let collector = UdpSocket::bind(address).unwrap();
    collector.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut buffer = [0; 1000];
    let mut next = None;
    while next != Some(LINES) {
        let length = collector.recv(&mut buffer).expect("the rest");
        let message = common::text(&buffer[..length]);
        let Ok(number) = syslog_text(&message).parse::<usize>() else { continue };
        assert_eq!(number, next.unwrap_or(0), "nothing but what was refused first is lost");
        next = Some(number + 1);
    }
    thread.join().unwrap();
    daemon.stop();
}

#[test]
fn udp_carries_one_message_a_datagram() {
    let site = Site::new();
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(DEADLINE)).unwrap();
    let address = format!("udp:localhost:{}", collector.local_addr().unwrap().port());
    site.configure(&(site.head() + &syslog_section(&site, &address, "")));
    let daemon = site.start();
    site.write("one\ntwo\n");
    let mut buffer = [0; 9000];
    for expected in ["one", "two"] {
        let length = collector.recv(&mut buffer).unwrap();
        let message = common::text(&buffer[..length]);
        let parsed = syslog_loose::parse_message(&message, Variant::RFC5424);
        assert_eq!((parsed.protocol, parsed.msg), (Protocol::RFC5424(1), expected));
    }
    daemon.stop();
}

#[test]
fn over_the_network_rfc3164_has_the_host() {
    let site = Site::new();
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(DEADLINE)).unwrap();
    let address = format!("udp:127.0.0.1:{}", collector.local_addr().unwrap().port());
    site.configure(&(site.head() + &syslog_section(&site, &address, "format = \"rfc3164\"")));
    let daemon = site.start();
    site.write("one\n");
    let mut buffer = [0; 9000];
    let length = collector.recv(&mut buffer).unwrap();
    let message = common::text(&buffer[..length]);
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let end = format!(" {host} bdaemon[{}]: one", daemon.pid);
    assert!(message.ends_with(&end), "{message}");
    daemon.stop();
}

/// Reads one message with its length in front, RFC 6587 section 3.4.1.
fn counted(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut length = Vec::new();
    stream.read_until(b' ', &mut length).unwrap();
    let length = common::text(&length).trim_end().parse().ok()?;
    let mut message = vec![0; length];
    stream.read_exact(&mut message).ok()?;
    Some(common::text(&message))
}

#[test]
fn tcp_counts_octets_and_comes_back_after_a_collectors_restart() {
    let site = Site::new();
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = collector.local_addr().unwrap();
    site.configure(
        &(site.head() + &syslog_section(&site, &format!("tcp:127.0.0.1:{}", address.port()), "")),
    );
    let daemon = site.start();
    site.write("one\ncaf\u{e9} \u{1f600}\n");
    let mut stream = BufReader::new(collector.accept().unwrap().0);
    for expected in ["one", "caf\u{e9} \u{1f600}"] {
        assert_eq!(syslog_text(&counted(&mut stream).unwrap()), expected);
    }
    drop(stream);
    drop(collector);
    site.wait_own("wait until it is back");
    for number in 0..100 {
        site.write(format!("{number}\n"));
    }
    let collector = wait_for("the port", || TcpListener::bind(address).ok());
    let mut stream = BufReader::new(collector.accept().unwrap().0);
    for number in 0..100 {
        assert_eq!(syslog_text(&counted(&mut stream).unwrap()), number.to_string());
    }
    site.wait_own("delivering again");
    daemon.stop();
    assert_eq!(counted(&mut stream), None, "nothing twice");
}

#[test]
fn a_collector_that_is_away_keeps_no_daemon_from_starting() {
    let site = Site::new();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.configure(
        &(site.head() + &syslog_section(&site, &format!("tcp:127.0.0.1:{}", unused.port()), "")),
    );
    let daemon = site.start();
    site.write("held\n");
    site.wait_own("connect: Connection refused; its pipes wait until it is back");
    let collector = TcpListener::bind(unused).unwrap();
    let mut stream = BufReader::new(collector.accept().unwrap().0);
    assert_eq!(syslog_text(&counted(&mut stream).unwrap()), "held");
    daemon.stop();
}

#[test]
fn a_slow_collector_gets_everything_over_tcp() {
    let site = Site::new();
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = collector.local_addr().unwrap().port();
    site.configure(&(site.head() + &syslog_section(&site, &format!("tcp:127.0.0.1:{port}"), "")));
    let daemon = site.start();
    let mut writer = site.open_pipe("in.pipe");
    let lines = 100_000;
    let thread = std::thread::spawn(move || {
        for number in 0..lines {
            writer.write_all(format!("{number} {:0200}\n", 0).as_bytes()).unwrap();
        }
    });
    let stream = collector.accept().unwrap().0;
    // Far more than all buffers on the way hold has been written when the reading begins.
    wait_for("the way to fill up", || {
        site.read("own.log").contains("takes nothing more").then_some(())
    });
    let mut stream = BufReader::new(stream);
    for number in 0..lines {
        assert_eq!(syslog_text(&counted(&mut stream).unwrap()), format!("{number} {:0200}", 0));
    }
    thread.join().unwrap();
    daemon.stop();
}

#[test]
fn json_lines_are_read_back_by_another_parser() {
    let site = Site::new();
    let json =
        site.pipe_section("in", "") + "format = \"json\"\nfacility = \"local3\"\nmode = \"0600\"\n";
    site.configure(&(site.head() + &json));
    let mut command = site.bdaemon(&[]);
    let daemon = site.start_with(command.env("TZ", "Asia/Kolkata"));
    let text = "quote \" slash / backslash \\ tab\t caf\u{e9} \u{1f600} {}";
    site.write(format!("<35>{text}\n\x1b\n"));
    site.wait_lines("in.log", 2);
    assert_eq!(mode(&site.path("in.log")), 0o600);
    let lines: Vec<serde_json::Value> =
        site.read("in.log").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys: Vec<_> = lines[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["facility", "host", "message", "pipe", "severity", "time"]);
    assert_eq!(lines[0]["message"], text);
    assert_eq!(
        (&lines[0]["pipe"], &lines[0]["severity"], &lines[0]["facility"]),
        (&"in".into(), &"err".into(), &"auth".into())
    );
    assert_eq!(lines[0]["host"].as_str(), nix::unistd::gethostname().unwrap().to_str());
    assert!(lines[0]["time"].as_str().unwrap().ends_with("+05:30"));
    assert_eq!(lines[1]["message"], r"\x1b");
    assert_eq!((&lines[1]["severity"], &lines[1]["facility"]), (&"info".into(), &"local3".into()));
    daemon.stop();
}

#[test]
fn records_without_a_priority_have_that_of_their_pipe() {
    let site = Site::new();
    site.configure(&(site.head() + &site.pipe_section("in", "priority = \"crit\"")));
    let daemon = site.start();
    site.write("plain\n<7>its own\n<192>text\n");
    site.wait_lines("in.log", 3);
    let log = site.read("in.log");
    let origins: Vec<_> = log.lines().map(|line| common::Line::parse(line).origin).collect();
    assert_eq!(origins, ["in.crit", "in.debug", "in.crit"]);
    daemon.stop();
}

#[test]
fn a_message_that_a_collector_took_in_part_is_sent_whole_to_the_next() {
    let site = Site::new();
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = collector.local_addr().unwrap().port();
    site.configure(&(site.head() + &syslog_section(&site, &format!("tcp:127.0.0.1:{port}"), "")));
    let daemon = site.start();
    let mut writer = site.open_pipe("in.pipe");
    let lines = 100_000;
    let thread = std::thread::spawn(move || {
        for number in 0..lines {
            writer.write_all(format!("{number} {:0200}\n", 0).as_bytes()).unwrap();
        }
    });
    let first = collector.accept().unwrap().0;
    site.wait_own("it takes nothing more");
    drop(first);
    let mut stream = BufReader::new(collector.accept().unwrap().0);
    // What was on its way to the first one is lost, and nothing after that.
    let message = counted(&mut stream).expect("a whole message");
    let number = syslog_text(&message).split_once(' ').unwrap().0.parse::<usize>().unwrap();
    for number in number + 1..lines {
        assert_eq!(syslog_text(&counted(&mut stream).unwrap()), format!("{number} {:0200}", 0));
    }
    thread.join().unwrap();
    daemon.stop();
}

#[test]
fn pipes_with_the_same_target_share_it_and_keep_their_own_words() {
    let site = Site::new();
    let syslogd = Syslogd::bind(&site.path("syslog.log"));
    let one = syslog_section(&site, &local(&site), "tag = \"one\"\nformat = \"rfc5424\"");
    let two = one
        .replace("\"in\"", "\"two\"")
        .replace("in.pipe", "two.pipe")
        .replace("\"one\"", "\"two\"");
    site.configure(&(site.head() + &one + &two));
    let daemon = site.start();
    site.write("from one\n");
    let first = syslogd.next();
    site.open_pipe("two.pipe").write_all(b"from two\n").unwrap();
    let second = syslogd.next();
    assert!(first.contains(&format!(" one {} in - from one", daemon.pid)), "{first}");
    assert!(second.contains(&format!(" two {} two - from two", daemon.pid)), "{second}");
    daemon.signal(Signal::SIGUSR2);
    site.wait_own("target unix:");
    assert_eq!(site.read("own.log").matches("target unix:").count(), 1, "one target");
    daemon.stop();
}

#[test]
fn a_collector_to_which_there_is_no_way_yet_does_not_keep_it_from_starting() {
    let site = Site::new();
    // What no system sends there unasked.
    let target = "[pipe.log]\ntarget = \"syslog\"\naddress = \"udp:255.255.255.255:514\"\n";
    let pipe = format!("[[pipe]]\nname = \"out\"\npath = \"{}\"\n", site.path("out").display());
    site.configure(&(site.plain() + &pipe + target));
    let daemon = site.start();
    daemon.signal(Signal::SIGHUP);
    site.wait_own("configuration reloaded");
    site.open_pipe("out").write_all(b"x\n").unwrap();
    site.wait_own("target udp:255.255.255.255:514: connect: ");
    site.write("goes on\n");
    assert_eq!(site.wait_texts("in.log", 1), ["goes on"]);
    assert!(!site.read("own.log").contains("reopening"), "{}", site.read("own.log"));
    daemon.signal(Signal::SIGKILL);
}
