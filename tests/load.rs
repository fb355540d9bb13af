//! A million lines from eight writers: all there, each whole, each writer's in order. What they
//! leave behind is not more memory.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::thread;

use common::{Line, Site, Syslogd, syslog_text};

const WRITERS: usize = 8;
const LINES: usize = 125_000;

/// The longest that every system writes atomically, newline included.
const LINE_MAX: usize = 512;

/// Line `number` of `writer`: its length varies, and its content can be told from both.
fn line(writer: usize, number: usize) -> String {
    let mut line = format!("{writer} {number} ").into_bytes();
    let length = line.len() + (number * 7919 + writer * 104_729) % (LINE_MAX - 1 - line.len());
    let filler = b'a' + u8::try_from((writer + number) % 26).unwrap();
    line.resize(length, filler);
    String::from_utf8(line).unwrap()
}

fn write_all(site: &Site) -> Vec<thread::JoinHandle<()>> {
    (0..WRITERS)
        .map(|writer| {
            let mut pipe = site.open_pipe("in.pipe");
            thread::spawn(move || {
                for number in 0..LINES {
                    let line = line(writer, number) + "\n";
                    // One write(2) a line, as any program with a line buffer does it.
                    assert_eq!(pipe.write(line.as_bytes()).unwrap(), line.len());
                }
            })
        })
        .collect()
}

/// Takes texts as they arrive and checks each against what its writer must have written next.
#[derive(Default)]
struct Check {
    next: [usize; WRITERS],
}

impl Check {
    fn take(&mut self, text: &str) {
        let writer: usize = text[..1].parse().unwrap_or_else(|_| panic!("torn: {text:?}"));
        assert_eq!(text, line(writer, self.next[writer]), "lost, torn or out of order");
        self.next[writer] += 1;
    }

    fn is_complete(&self) -> bool {
        self.next == [LINES; WRITERS]
    }
}

#[test]
fn a_million_lines_from_eight_writers_arrive_whole_and_in_order_in_a_file() {
    let site = Site::new();
    let daemon = site.start();
    for writer in write_all(&site) {
        writer.join().unwrap();
    }
    // What the writers have finished writing is in the file when the daemon has ended.
    daemon.stop();
    let mut check = Check::default();
    for line in BufReader::new(File::open(site.path("in.log")).unwrap()).lines() {
        check.take(&Line::parse(&line.unwrap()).text);
    }
    assert!(check.is_complete(), "{:?}", check.next);
}

#[test]
fn a_million_lines_from_eight_writers_arrive_whole_and_in_order_at_a_syslog_socket() {
    let site = Site::new();
    let socket = site.path("syslog.log");
    let syslogd = Syslogd::bind(&socket);
    let pipe = format!(
        "[[pipe]]\nname = \"in\"\npath = \"{}\"\n[pipe.log]\ntarget = \"syslog\"\naddress = \"unix:{}\"\n",
        site.pipe().display(),
        socket.display()
    );
    site.configure(&(site.head() + &pipe));
    let daemon = site.start();
    let writers = write_all(&site);
    let mut check = Check::default();
    while !check.is_complete() {
        check.take(syslog_text(&syslogd.next()));
    }
    for writer in writers {
        writer.join().unwrap();
    }
    daemon.stop();
    assert_eq!(syslogd.close(), [""; 0], "nothing twice");
}

#[test]
fn memory_does_not_grow_with_what_has_passed_through() {
    let site = Site::new();
    let daemon = site.start();
    site.write("one\n");
    site.wait_lines("in.log", 1);
    let before = daemon.resident();
    // One line in a hundred or so is long, and what is kept for it must not stay with short ones.
    let mut pipe = BufWriter::with_capacity(64 << 10, site.open_pipe("in.pipe"));
    for number in 0..150_000 {
        let length = if number % 101 == 7 { 8000 } else { 60 };
        writeln!(pipe, "{number:length$}").unwrap();
    }
    drop(pipe);
    site.wait_lines("in.log", 150_001);
    let grown = daemon.resident().saturating_sub(before);
    assert!(grown < 4 << 20, "it has grown by {grown} bytes");
    daemon.stop();
}
