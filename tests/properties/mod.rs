//! What must hold whatever comes in: one function for each fuzz target, which takes any bytes and
//! panics when a promise is broken.
//!
//! The targets in `fuzz/` call them, and so does `tests/fuzz.rs`, with the kept corpus and with
//! random bytes.
#![allow(dead_code, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod config;
pub mod control;
pub mod format;
pub mod framer;

/// What a target checks.
pub type Check = fn(&[u8]);

/// The fuzz targets by name.
pub const ALL: [(&str, Check); 4] = [
    ("framer", framer::check),
    ("config", config::check),
    ("control", control::check),
    ("format", format::check),
];

/// Bytes that say how something is to be done, taken off the front of an input.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    /// The next byte; 0 when there are no more.
    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    /// One of these.
    fn one_of<'t, T: ?Sized>(&mut self, things: &[&'t T]) -> &'t T {
        things[self.byte() % things.len()]
    }

    /// A word of 1 to `longest` of these letters.
    fn word(&mut self, letters: &[u8], longest: usize) -> String {
        let length = 1 + self.byte() % longest;
        // One byte gives the word: what follows it is worth more to vary.
        let first = self.byte();
        (0..length).map(|at| char::from(letters[(first + at * 7) % letters.len()])).collect()
    }
}
