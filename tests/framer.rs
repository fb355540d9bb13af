//! The framer: the same records however the bytes are cut, nothing lost, nothing forged.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod properties;

use bdaemon::record::{Framer, Tail};
use proptest::prelude::*;

use properties::framer::{check_part, expected, frame, is_safe, joined};

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
            prop_assert!(is_safe(&got.text), "{:?}", got.text);
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
            check_part(&part, max_record);
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
