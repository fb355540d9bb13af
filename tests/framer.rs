//! The framer: the same records however the bytes are cut, nothing lost, nothing forged.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bdaemon::priority::Priority;
use bdaemon::record::{CONTINUED, CONTINUES, Framer, Tail};
use proptest::prelude::*;

/// A record as a target gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    priority: Option<Priority>,
    text: String,
    continued: bool,
    continues: bool,
}

/// Frames `input`, which arrives in pieces of these sizes, over and over.
fn frame(max_record: usize, input: &[u8], sizes: &[usize]) -> Vec<Got> {
    let mut framer = Framer::new(max_record);
    let mut got = Vec::new();
    let mut rest = input;
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        let space = framer.space();
        assert!(!space.is_empty(), "there is room to read on");
        let count = sizes.next().unwrap().clamp(1, rest.len()).min(space.len());
        space[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        framer.filled(count);
        take(&mut framer, Tail::Open, &mut got);
    }
    take(&mut framer, Tail::Ended, &mut got);
    assert!(framer.is_empty(), "nothing is left");
    got
}

fn take(framer: &mut Framer, tail: Tail, got: &mut Vec<Got>) {
    while let Some(record) = framer.next(tail) {
        let text = String::from_utf8(record.text.as_bytes().to_vec()).expect("text is UTF-8");
        got.push(Got {
            priority: record.priority,
            text,
            continued: record.continued,
            continues: record.continues,
        });
    }
}

/// Undoes the escapes: `\xNN` is a byte, everything else is itself.
fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = text.get(at..at + 4).and_then(|escape| escape.strip_prefix("\\x"));
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// What the records must be, written down without any regard to speed or memory.
fn expected(input: &[u8]) -> Vec<(Option<Priority>, Vec<u8>)> {
    let mut records = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | 0));
        let mut line = &rest[..end.unwrap_or(rest.len())];
        if end.is_some_and(|end| rest[end] == b'\n') {
            line = line.strip_suffix(b"\r").unwrap_or(line);
        }
        rest = &rest[end.map_or(rest.len(), |end| end + 1)..];
        let (priority, text) = match Priority::strip(line) {
            Some((priority, text)) => (Some(priority), text),
            None => (None, line),
        };
        if !text.is_empty() {
            records.push((priority, text.to_vec()));
        }
    }
    records
}

/// Puts parts together again.
fn joined(got: &[Got]) -> Vec<(Option<Priority>, Vec<u8>)> {
    let mut records: Vec<(Option<Priority>, Vec<u8>)> = Vec::new();
    let mut open = false;
    for part in got {
        assert_eq!(part.continued, open, "parts follow each other");
        open = part.continues;
        if part.continued {
            let (priority, text) = records.last_mut().expect("a part before");
            assert_eq!(*priority, part.priority, "parts have the priority of their record");
            text.extend(unescape(&part.text));
        } else {
            records.push((part.priority, unescape(&part.text)));
        }
    }
    assert!(!open, "the last part is there");
    records
}

/// Bytes that make trouble more often than chance would.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(vec![0]),
        Just(b"<13>".to_vec()),
        Just(b"<191>".to_vec()),
        Just(b"<".to_vec()),
        Just(br"\x41".to_vec()),
        Just(b"\\".to_vec()),
        Just("\u{fc}\u{1f600}\u{4e2d}".as_bytes().to_vec()),
        Just(b"\x1b[31m".to_vec()),
        Just(b" [...]\n[...] ".to_vec()),
        "[a-z ]{0,40}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..24),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![1..4usize, 1..100usize, Just(1 << 20)], 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_records_come_however_the_bytes_are_cut(
        input in input(), one in sizes(), other in sizes(), max_record in 16..64usize
    ) {
        prop_assert_eq!(frame(max_record, &input, &one), frame(max_record, &input, &other));
    }

    #[test]
    fn nothing_is_lost_and_nothing_is_added(
        input in input(), sizes in sizes(), max_record in prop_oneof![16..64usize, Just(8192)]
    ) {
        prop_assert_eq!(joined(&frame(max_record, &input, &sizes)), expected(&input));
    }

    #[test]
    fn no_text_can_forge_a_line_or_move_the_cursor(input in input(), sizes in sizes()) {
        for got in frame(64, &input, &sizes) {
            prop_assert!(!got.text.is_empty());
            prop_assert!(got.text.chars().all(|c| c == '\t' || !c.is_control()), "{:?}", got.text);
            let misleading = got.text.contains(['\u{2028}', '\u{2029}', '\u{202e}', '\u{2066}']);
            prop_assert!(!misleading);
        }
    }

    #[test]
    fn printable_text_is_kept_as_it_came(text in "[ -\\[\\]-~\u{e4}\u{4e2d}\u{1f600}\t]{1,200}") {
        let got = frame(8192, text.as_bytes(), &[1 << 20]);
        let (_, expected) = expected(text.as_bytes()).remove(0);
        prop_assert_eq!(got[0].text.as_bytes(), expected.as_slice());
    }

    #[test]
    fn parts_are_no_longer_than_max_record_with_their_markers(
        input in input(), sizes in sizes(), max_record in 16..80usize
    ) {
        for part in frame(max_record, &input, &sizes) {
            let markers = if part.continued { CONTINUED.len() } else { 0 }
                + if part.continues { CONTINUES.len() } else { 0 };
            prop_assert!(unescape(&part.text).len() + markers <= max_record, "{:?}", part);
        }
    }

    #[test]
    fn a_record_that_fits_is_not_split(length in 1..200usize, end in "\n|\r\n|\0|") {
        let input = [vec![b'a'; length], end.clone().into_bytes()].concat();
        let got = frame(length.max(16), &input, &[7]);
        prop_assert_eq!(got.len(), 1);
        prop_assert_eq!(got[0].text.len(), length);
    }
}

#[test]
fn an_endless_line_takes_no_more_memory_than_a_long_one() {
    let mut framer = Framer::new(8192);
    let (mut texts, mut room) = (0, Vec::new());
    for _ in 0..1000 {
        let space = framer.space();
        room.push(space.len());
        space.fill(b'x');
        let count = space.len();
        framer.filled(count);
        while let Some(record) = framer.next(Tail::Open) {
            assert!(record.continues);
            texts += record.text.as_bytes().len();
        }
    }
    while let Some(record) = framer.next(Tail::Ended) {
        texts += record.text.as_bytes().len();
    }
    assert_eq!(texts, room.iter().sum::<usize>(), "every byte came out");
    assert!(
        room.iter().all(|room| (64 << 10..=80 << 10).contains(room)),
        "the room stays the same"
    );
}

#[test]
fn a_cut_spares_characters_and_escapes() {
    let input = "\u{1f600}".repeat(30);
    for part in frame(21, input.as_bytes(), &[5]) {
        assert_eq!(part.text.chars().filter(|c| *c != '\u{1f600}').count(), 0, "{part:?}");
    }
    let input = r"\x41".repeat(30);
    for part in frame(21, input.as_bytes(), &[3]) {
        assert_eq!(part.text, r"\x5cx41".repeat(part.text.len() / 7), "{part:?}");
    }
}
