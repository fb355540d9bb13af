//! Records: what is between two ends of lines, made safe to print.
//!
//! A [`Framer`] takes bytes as they come and gives [`Record`]s: the same ones however the bytes
//! were cut. Nothing is lost and nothing is forged: a record's [`Text`] is printable UTF-8 in
//! one line, and what was not is there as `\xNN`.

mod framer;
mod text;

pub use framer::{Framer, Tail};
pub use text::Text;

pub(crate) use text::{boundary, escape_str, without_controls};

use crate::priority::Priority;

/// One message, or a part of a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What `<N>` in front of it said; a part has that of its record.
    pub priority: Option<Priority>,
    /// The message.
    pub text: Text<'a>,
    /// Whether something in the text had to be escaped.
    pub escaped: bool,
    /// Whether this goes on where the record before it ended.
    pub continued: bool,
    /// Whether the next record goes on where this one ends.
    pub continues: bool,
}

/// In front of every part but the first.
pub const CONTINUED: &str = "[...] ";
/// Behind every part but the last.
pub const CONTINUES: &str = " [...]";
