//! Input that means harm: correct text, bounded memory, and everything still there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::io::Write;

use common::{Line, Site};

/// What the daemon may take: read buffers, batches, the program itself.
const MEMORY_MAX: u64 = 16 << 20;

#[test]
fn a_writer_cannot_forge_a_line() {
    let site = Site::new();
    let daemon = site.start();
    let forged = "2026-11-22T06:46:12.123456+01:00 host bdaemon[1] in.emerg: forged";
    site.write(format!("x\r{forged}\n"));
    site.write(format!("y\u{85}{forged}\u{2028}{forged}\n"));
    site.write(b"\x1b]0;title\x07\x1b[2J\x7f\xff\xfe\xc3\n");
    site.write(b"literal \\x41 and \\n\n");
    site.write("Gr\u{fc}\u{df}e\tan \u{1f600}\n");
    site.wait_lines("in.log", 5);
    let log = site.read("in.log");
    assert_eq!(log.lines().count(), 5);
    assert!(log.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()), "{log:?}");
    assert_eq!(
        site.texts("in.log"),
        [
            &format!(r"x\x0d{forged}"),
            &format!(r"y\xc2\x85{forged}\xe2\x80\xa8{forged}"),
            r"\x1b]0;title\x07\x1b[2J\x7f\xff\xfe\xc3",
            r"literal \x5cx41 and \n",
            "Gr\u{fc}\u{df}e\tan \u{1f600}",
        ]
    );
    daemon.stop();
}

#[test]
fn own_messages_are_escaped_as_records_are() {
    let site = Site::new();
    site.configure(&site.plain().replace("in.pipe", "in\\u202e.pipe"));
    let daemon = site.start();
    site.wait_own(r"in\xe2\x80\xae.pipe (in)");
    assert!(!site.read("own.log").contains('\u{202e}'));
    daemon.stop();
}

#[test]
fn records_end_at_a_newline_or_a_nul_and_empty_ones_are_skipped() {
    let site = Site::new();
    let daemon = site.start();
    site.write(b"one\r\ntwo\0\0\n\r\n<3>\nthree\r\r\n<7>four\0");
    let texts = site.wait_texts("in.log", 4);
    assert_eq!(texts, ["one", "two", r"three\x0d", "four"]);
    daemon.stop();
}

#[test]
fn records_from_a_byte_to_a_mebibyte_come_out_as_they_went_in() {
    let site = Site::new();
    let daemon = site.start();
    let mut writer = site.open_pipe("in.pipe");
    let sizes = [1, 2, 15, 16, 511, 512, 4096, 8191, 8192, 8193, 65_536, 100_000, 1 << 20];
    for size in sizes {
        writer.write_all(&record(size)).unwrap();
        writer.write_all(b"\n").unwrap();
    }
    writer.write_all(b"end\n").unwrap();
    drop(writer);
    common::wait_for("the last record", || {
        site.read("in.log").contains("in.info: end\n").then_some(())
    });
    assert!(daemon.resident() < MEMORY_MAX, "{} bytes", daemon.resident());
    daemon.stop();

    let mut joined: Vec<String> = Vec::new();
    let mut continues = false;
    for text in site.texts("in.log") {
        let begin = text.strip_prefix("[...] ");
        let body = begin.unwrap_or(&text);
        assert_eq!(begin.is_some(), continues, "a part goes on where one breaks off");
        continues = body.ends_with(" [...]");
        let body = body.strip_suffix(" [...]").unwrap_or(body);
        assert!(text.len() <= 8192, "no part exceeds max_record");
        match begin {
            Some(_) => joined.last_mut().unwrap().push_str(body),
            None => joined.push(body.to_owned()),
        }
    }
    let expected: Vec<_> =
        sizes.iter().map(|size| String::from_utf8(record(*size)).unwrap()).collect();
    assert_eq!(joined.pop().unwrap(), "end");
    assert!(
        joined == expected,
        "lengths: {:?}",
        joined.iter().map(String::len).collect::<Vec<_>>()
    );
}

fn record(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size).collect()
}

#[test]
fn a_flood_without_a_newline_takes_no_more_memory_than_any_other() {
    const FLOOD: usize = 256 << 20;
    let site = Site::new();
    let daemon = site.start();
    let mut writer = site.open_pipe("in.pipe");
    let piece = vec![b'x'; 64 << 10];
    let mut most = 0;
    for number in 0..FLOOD / piece.len() {
        writer.write_all(&piece).unwrap();
        if number % 256 == 0 {
            most = most.max(daemon.resident());
        }
    }
    drop(writer);
    daemon.stop();
    assert!(most < MEMORY_MAX, "{most} bytes of memory");
    let mut bytes = 0;
    for line in std::io::BufRead::lines(std::io::BufReader::new(
        std::fs::File::open(site.path("in.log")).unwrap(),
    )) {
        bytes += Line::parse(&line.unwrap()).text.bytes().filter(|byte| *byte == b'x').count();
    }
    assert_eq!(bytes, FLOOD, "every byte of it is in the log");
}

#[test]
fn a_flood_of_the_shortest_and_worst_records_takes_no_more_memory_either() {
    let site = Site::new();
    let daemon = site.start();
    let mut writer = site.open_pipe("in.pipe");
    let short = b"\x01\n".repeat(32 << 10);
    let mut most = 0;
    for number in 0..100 {
        writer.write_all(&short).unwrap();
        if number % 10 == 0 {
            most = most.max(daemon.resident());
        }
    }
    // A record of nothing but what is escaped, four bytes for one.
    writer.write_all(&[1; 8192]).unwrap();
    writer.write_all(b"\n").unwrap();
    drop(writer);
    daemon.stop();
    assert!(most < MEMORY_MAX, "{most} bytes of memory");
    let texts = site.texts("in.log");
    assert_eq!(texts.len(), 100 * (32 << 10) + 1);
    assert_eq!(texts.last().unwrap(), &r"\x01".repeat(8192));
}
