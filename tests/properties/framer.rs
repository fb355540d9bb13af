//! Framing: nothing lost, nothing forged, everything bounded, however the bytes are cut.

use bdaemon::priority::Priority;
use bdaemon::record::{CONTINUED, CONTINUES, Framer, Tail};

use super::Choices;

/// A record as a target gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub priority: Option<Priority>,
    pub text: String,
    pub escaped: bool,
    pub continued: bool,
    pub continues: bool,
}

/// Any bytes, in any pieces, with silences between them after which a tail is a record.
pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let max_record = 16 + choices.byte();
    let sizes: Vec<_> = (0..=choices.byte() % 8).map(|_| choices.byte()).collect();
    let silences = choices.byte() % 4;
    let rest = choices.0;
    let mut framer = Framer::new(max_record);
    let (mut whole, mut cut) = (Vec::new(), Vec::new());
    for (number, stretch) in stretches(rest, silences).into_iter().enumerate() {
        // A reload may give another limit between any two records.
        let max_record = max_record + number;
        framer.set_max_record(max_record);
        let one = frame_with(&mut framer, stretch, &sizes);
        let other = frame(max_record, stretch, &[usize::MAX]);
        assert_eq!(one, other, "the same records however the bytes are cut");
        assert_eq!(joined(&one), expected(stretch), "nothing lost, nothing added, in order");
        for part in &one {
            check_part(part, max_record);
        }
        cut.extend(one);
        whole.extend(expected(stretch));
    }
    assert_eq!(joined(&cut), whole);
}

/// The input in so many pieces and one more.
fn stretches(input: &[u8], silences: usize) -> Vec<&[u8]> {
    if silences == 0 {
        return vec![input];
    }
    input.chunks((input.len() / (silences + 1)).max(1)).collect()
}

/// What a part of a record must be by itself.
pub fn check_part(part: &Got, max_record: usize) {
    assert!(!part.text.is_empty(), "an empty record");
    assert!(is_safe(&part.text), "{:?} can move the cursor or end the line", part.text);
    let markers = if part.continued { CONTINUED.len() } else { 0 }
        + if part.continues { CONTINUES.len() } else { 0 };
    let raw = unescape(&part.text);
    assert!(raw.len() + markers <= max_record, "{part:?} is longer than {max_record}");
    assert_eq!(part.escaped, raw != part.text.as_bytes(), "{part:?}");
}

/// Whether a text stays in its line and shows as it is.
pub fn is_safe(text: &str) -> bool {
    let misleading = |c| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !text.contains(|c: char| (c != '\t' && c.is_control()) || misleading(c))
}

/// Frames `input`, which arrives in pieces of these sizes, over and over.
pub fn frame(max_record: usize, input: &[u8], sizes: &[usize]) -> Vec<Got> {
    frame_with(&mut Framer::new(max_record), input, sizes)
}

fn frame_with(framer: &mut Framer, input: &[u8], sizes: &[usize]) -> Vec<Got> {
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
        take(framer, Tail::Open, &mut got);
    }
    take(framer, Tail::Ended, &mut got);
    assert!(framer.is_empty(), "nothing is left");
    got
}

fn take(framer: &mut Framer, tail: Tail, got: &mut Vec<Got>) {
    while let Some(record) = framer.next(tail) {
        let text = String::from_utf8(record.text.as_bytes().to_vec()).expect("text is UTF-8");
        got.push(Got {
            priority: record.priority,
            text,
            escaped: record.escaped,
            continued: record.continued,
            continues: record.continues,
        });
    }
}

/// Undoes the escapes: `\xNN` is a byte, everything else is itself.
pub fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = text.get(at..at + 4).and_then(|escape| escape.strip_prefix("\\x"));
        let digits = escaped.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
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
pub fn expected(input: &[u8]) -> Vec<(Option<Priority>, Vec<u8>)> {
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
pub fn joined(got: &[Got]) -> Vec<(Option<Priority>, Vec<u8>)> {
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
