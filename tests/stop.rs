//! A stop delivers what was written before the pipe's name went.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use common::{Daemon, Site, Syslogd, wait_for};

const EX_IOERR: i32 = 74;

#[test]
fn what_writers_had_written_before_the_name_went_is_in_the_log() {
    for round in 0..10 {
        let site = Site::new();
        let daemon = site.start();
        let pipe = site.pipe();
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let mut file = site.open_pipe("in.pipe");
                let pipe = pipe.clone();
                thread::spawn(move || {
                    for number in 0.. {
                        let line = format!("{writer} {number}\n");
                        let written = file.write(line.as_bytes()).is_ok_and(|n| n == line.len());
                        // Looked at after the write: if the name is still there, the write was
                        // over before it went.
                        if !written || !pipe.exists() {
                            return number;
                        }
                    }
                    0
                })
            })
            .collect();
        site.wait_lines("in.log", 1000 * (round + 1));
        daemon.stop();
        let texts = site.texts("in.log");
        for (writer, thread) in writers.into_iter().enumerate() {
            let before: usize = thread.join().unwrap();
            let prefix = format!("{writer} ");
            let numbers: Vec<usize> =
                texts.iter().filter_map(|text| text.strip_prefix(&prefix)?.parse().ok()).collect();
            assert!(numbers.len() >= before, "writer {writer}: {} of {before}", numbers.len());
            assert!(numbers.iter().copied().eq(0..numbers.len()), "writer {writer}: in order");
        }
    }
}

#[test]
fn a_tail_without_its_newline_is_delivered_too() {
    let site = Site::new();
    site.configure(&(site.head() + &site.pipe_section("in", "flush_after = \"1h\"")));
    let daemon = site.start();
    site.write("whole\nand a tail");
    site.wait_lines("in.log", 1);
    daemon.stop();
    assert_eq!(site.texts("in.log"), ["whole", "and a tail"]);
}

#[test]
fn an_interrupt_stops_a_daemon_in_the_foreground() {
    let site = Site::new();
    let mut daemon = site.start_foreground();
    site.write("last words\n");
    daemon.signal(Signal::SIGINT);
    assert!(daemon.wait().unwrap().success());
    assert_eq!(site.texts("in.log"), ["last words"]);
    assert_eq!(site.leftovers(), [""; 0]);
}

#[test]
fn what_others_put_in_the_place_of_its_files_stays() {
    let site = Site::new();
    // It does not look, and so does not make its pipe again.
    site.configure(&site.plain().replace("500ms", "1h"));
    let mut daemon = site.start();
    let names = ["in.pipe", "in.pipe.lock", "pid"];
    for name in names {
        std::fs::remove_file(site.path(name)).unwrap();
        std::fs::write(site.path(name), name).unwrap();
    }
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    for name in names {
        assert_eq!(site.read(name), name);
    }
}

/// A daemon whose only target has gone, with 100 records that it cannot deliver: some held, some
/// in the pipe.
fn stuck<'a>(site: &'a Site, stop_timeout: &str) -> Daemon<'a> {
    let syslogd = Syslogd::bind(&site.path("syslog.log"));
    let pipe = format!(
        "[[pipe]]\npath = \"{}\"\n[pipe.log]\ntarget = \"syslog\"\naddress = \"unix:{}\"\n",
        site.pipe().display(),
        site.path("syslog.log").display()
    );
    site.configure(&(format!("stop_timeout = \"{stop_timeout}\"\n{}", site.head()) + &pipe));
    let daemon = site.start_foreground();
    site.write("through\n");
    syslogd.next();
    syslogd.close();
    std::fs::remove_file(site.path("syslog.log")).unwrap();
    site.write("held\n");
    site.wait_own("its pipes wait until it is back");
    for number in 0..99 {
        site.write(format!("{number}\n"));
    }
    daemon
}

#[test]
fn what_cannot_be_delivered_in_time_is_counted_and_said() {
    let site = Site::new();
    let mut daemon = stuck(&site, "300ms");
    let mut stderr = daemon.child.as_mut().unwrap().stderr.take().unwrap();
    assert_eq!(daemon.stop().unwrap().code(), Some(EX_IOERR));
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(said, "bdaemon: 100 records could not be delivered in time and are lost\n");
    let own = site.read("own.log");
    assert!(own.contains("100 records could not be delivered in time and are lost"), "{own}");
    assert!(own.trim_end().ends_with("all done"), "{own}");
}

#[test]
fn a_second_signal_ends_the_waiting() {
    let site = Site::new();
    let mut daemon = stuck(&site, "1h");
    daemon.signal(Signal::SIGTERM);
    site.wait_own("caught TERM");
    wait_for("the pipe's name to go", || (!site.pipe().exists()).then_some(()));
    assert!(daemon.is_running(), "it waits for its target");
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    assert!(site.read("own.log").contains("100 records could not be delivered"));
}

#[test]
fn a_target_that_comes_back_in_time_gets_everything() {
    let site = Site::new();
    let mut daemon = stuck(&site, "1h");
    daemon.signal(Signal::SIGTERM);
    wait_for("the pipe's name to go", || (!site.pipe().exists()).then_some(()));
    let syslogd = Syslogd::bind(&site.path("syslog.log"));
    daemon.wait();
    let texts = syslogd.close();
    let texts: Vec<_> = texts.iter().map(|message| common::syslog_text(message)).collect();
    let numbers = (0..99).map(|number| number.to_string());
    let expected: Vec<_> = std::iter::once("held".to_owned()).chain(numbers).collect();
    assert_eq!(texts, expected);
    assert!(!site.read("own.log").contains("are lost"));
}

#[test]
fn a_flood_does_not_keep_it_from_stopping() {
    let site = Site::new();
    site.configure(&format!("stop_timeout = \"500ms\"\n{}", site.plain()));
    let daemon = site.start();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            let mut file = site.open_pipe("in.pipe");
            let over = &over;
            scope.spawn(move || {
                let lines = "flood\n".repeat(80);
                while !over.load(Ordering::Relaxed) && file.write_all(lines.as_bytes()).is_ok() {}
            });
        }
        site.wait_lines("in.log", 10_000);
        let begin = Instant::now();
        daemon.stop();
        assert!(begin.elapsed() < Duration::from_secs(30), "it took {:?}", begin.elapsed());
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn standard_error_that_nobody_reads_does_not_keep_it_from_its_end() {
    let site = Site::new();
    let pipe = format!(
        "[[pipe]]\nname = \"in\"\npath = \"{}\"\n[pipe.log]\ntarget = \"stderr\"\n",
        site.pipe().display()
    );
    site.configure(&("stop_timeout = \"300ms\"\n".to_owned() + &site.head() + &pipe));
    let mut daemon = site.start_foreground();
    let stderr = daemon.child.as_mut().unwrap().stderr.take().unwrap();
    let mut writer = site.open_pipe("in.pipe");
    let lines = thread::spawn(move || {
        for number in 0.. {
            if writer.write_all(format!("{number} {:0100}\n", 0).as_bytes()).is_err() {
                break;
            }
        }
    });
    site.wait_own("target stderr: it takes nothing more");
    let status = daemon.stop().unwrap();
    assert_eq!(status.code(), Some(EX_IOERR));
    assert!(site.read("own.log").contains("could not be delivered in time and are lost"));
    lines.join().unwrap();
    drop(stderr);
}
