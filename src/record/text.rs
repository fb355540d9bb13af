//! Text that is safe in a log line.

use std::fmt;

/// Printable UTF-8 in one line, tabs included. Whatever else was read stands in it as `\xNN`, one
/// for each byte, in lower case; a backslash that would read like the beginning of one is written
/// `\x5c`. Undoing the escapes gives back exactly what was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// Makes `raw` safe. `scratch` holds the result where `raw` itself cannot.
    #[must_use]
    pub fn escape(raw: &'a [u8], scratch: &'a mut Vec<u8>) -> Self {
        if is_plain_ascii(raw) {
            return Self(raw);
        }
        scratch.clear();
        escape_into(raw, scratch);
        Self(scratch)
    }

    /// The bytes, which are UTF-8.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.0).fmt(f)
    }
}

/// bdaemon's own words, made as safe as anybody's: a path or a name in them may be odd.
pub(crate) fn escape_str(text: &str) -> Vec<u8> {
    let mut safe = Vec::with_capacity(text.len());
    escape_into(text.as_bytes(), &mut safe);
    safe
}

/// Text that has been made safe by somebody else, or should have been: what is not printable is
/// escaped, and what reads like an escape stays as it is.
pub(crate) fn without_controls(text: String) -> String {
    if text.chars().all(is_printable) {
        return text;
    }
    let mut safe = Vec::with_capacity(text.len() + 16);
    for character in text.chars() {
        let mut bytes = [0; 4];
        let encoded = character.encode_utf8(&mut bytes).as_bytes();
        if is_printable(character) {
            safe.extend_from_slice(encoded);
        } else {
            escape_bytes(encoded, &mut safe);
        }
    }
    String::from_utf8(safe).unwrap_or_default()
}

/// Whether every byte is printable ASCII or a tab, and none a backslash: nearly all lines are,
/// and these need no closer look.
fn is_plain_ascii(raw: &[u8]) -> bool {
    let (blocks, rest) = raw.as_chunks::<BLOCK>();
    // The last block may have bytes of the one before it.
    let end = raw.last_chunk::<BLOCK>().map_or_else(|| are_plain(rest), |last| are_plain(last));
    end && blocks.iter().all(|block| are_plain(block))
}

/// How many bytes are looked at in one go.
const BLOCK: usize = 32;

/// Without an early exit, so that a block is done with few instructions.
fn are_plain(bytes: &[u8]) -> bool {
    let plain = |byte: u8| ((b' '..0x7f).contains(&byte) && byte != b'\\') || byte == b'\t';
    bytes.iter().fold(true, |all, byte| all & plain(*byte))
}

fn escape_into(raw: &[u8], out: &mut Vec<u8>) {
    for chunk in raw.utf8_chunks() {
        let valid = chunk.valid();
        let mut kept = 0;
        for (at, character) in valid.char_indices() {
            let end = at + character.len_utf8();
            if !is_printable(character)
                || (character == '\\' && begins_escape(&valid.as_bytes()[at..]))
            {
                out.extend_from_slice(&valid.as_bytes()[kept..at]);
                escape_bytes(&valid.as_bytes()[at..end], out);
                kept = end;
            }
        }
        out.extend_from_slice(&valid.as_bytes()[kept..]);
        escape_bytes(chunk.invalid(), out);
    }
}

/// Control characters would move the cursor, line and paragraph separators end a line for some
/// readers, and marks of writing direction show a line as another than it is.
fn is_printable(character: char) -> bool {
    match character {
        '\t' => true,
        '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        _ => !character.is_control(),
    }
}

/// Whether these bytes would be read as `\xNN`.
fn begins_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

fn escape_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[
            b'\\',
            b'x',
            HEX[usize::from(byte >> 4)],
            HEX[usize::from(byte & 15)],
        ]);
    }
}

/// The last place at or before `at` where `bytes` can be cut without cutting a character or an
/// escape in two. Not 0, so that whoever cuts gets on: bytes that leave no such place are cut
/// at `at`.
pub(crate) fn boundary(bytes: &[u8], at: usize) -> usize {
    let within_character = |place: &usize| bytes.get(*place).is_some_and(|b| b & 0xc0 == 0x80);
    let escape = (at.saturating_sub(3)..at).find(|start| begins_escape(&bytes[*start..]));
    let place = match escape {
        Some(start) => start,
        // A character has at most four bytes; a longer run of such bytes is no UTF-8 anyway.
        None => {
            (at.saturating_sub(3)..=at).rev().find(|place| !within_character(place)).unwrap_or(at)
        }
    };
    if place == 0 { at } else { place }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(raw: &[u8]) -> String {
        let mut scratch = Vec::new();
        String::from_utf8(Text::escape(raw, &mut scratch).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn printable_text_is_kept_and_the_rest_is_escaped() {
        for (raw, text) in [
            (&b"plain, with\ttab"[..], "plain, with\ttab"),
            ("Gr\u{fc}\u{df}e \u{1f600} \u{4e2d}".as_bytes(), "Gr\u{fc}\u{df}e \u{1f600} \u{4e2d}"),
            (b"\x1b[31mred\x07", r"\x1b[31mred\x07"),
            (b"a\rb\x7f", r"a\x0db\x7f"),
            (b"\xff\xc3(", r"\xff\xc3("),
            ("\u{85}\u{202e}x\u{2028}".as_bytes(), r"\xc2\x85\xe2\x80\xaex\xe2\x80\xa8"),
            (br"C:\xampp \x4 \\x41", r"C:\xampp \x4 \\x5cx41"),
            (br"\x41", r"\x5cx41"),
            (b"", ""),
        ] {
            assert_eq!(escaped(raw), text);
        }
    }

    #[test]
    fn what_is_escaped_is_found_wherever_it_stands() {
        for length in 1..3 * BLOCK {
            for at in 0..length {
                let mut raw = vec![b'a'; length];
                raw[at] = 7;
                assert_eq!(escaped(&raw).find(r"\x07"), Some(at), "of {length}");
            }
        }
    }

    #[test]
    fn a_cut_spares_characters_and_escapes() {
        let at = |text: &str, place| boundary(text.as_bytes(), place);
        assert_eq!(at("abcdef", 3), 3);
        assert_eq!(at("ab\u{fc}d", 3), 2);
        assert_eq!(at("a\u{1f600}d", 4), 1);
        assert_eq!(at(r"ab\x41d", 3), 2);
        assert_eq!(at(r"ab\x41d", 5), 2);
        assert_eq!(at(r"ab\x41d", 6), 6);
        assert_eq!(at(r"\x41d", 2), 2, "no place left: the cut goes on");
        assert_eq!(boundary(&[0x80; 9], 5), 5);
    }
}
