//! What is wrong with a configuration file, said so that it can be mended: file, line, column,
//! key, and what is allowed.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::schema;
use crate::exit::Sysexit;
use crate::record::escape_str;
use crate::sys::why;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: {}", path.display(), why(cause))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file was read, and something in it is wrong.
    #[error("{}:{place}: {}{message}", path.display(), labelled(key))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// The key, with its section: `pipe.max_record`. Empty where no key is at fault.
        key: String,
        /// What is wrong, and what is allowed.
        message: String,
    },
}

impl ConfigError {
    /// `EX_CONFIG`, or what the system said of the file.
    #[must_use]
    pub fn exit(&self) -> Sysexit {
        match self {
            Self::Read { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied => {
                Sysexit::NoPerm
            }
            Self::Read { .. } | Self::Wrong { .. } => Sysexit::Config,
        }
    }
}

/// A line and a column, both counted from 1; the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character within the line.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Place {
    fn of(source: &str, offset: usize) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// A fault in the text of a file, not yet told from which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }

    /// Adds the file, the line and the key. What the file says stays on one line.
    pub(super) fn locate(self, path: &Path, source: &str) -> ConfigError {
        let key = key_at(source, self.span.start).unwrap_or_default();
        let one_line = |text: &str| String::from_utf8_lossy(&escape_str(text)).into_owned();
        ConfigError::Wrong {
            path: path.to_owned(),
            place: Place::of(source, self.span.start),
            key: one_line(&key),
            message: one_line(&self.message),
        }
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        let span = error.span().unwrap_or_default();
        let message = reworded(error.message(), span.is_empty());
        Self::at(span, message)
    }
}

/// What the parser says, in the words of those who write the file.
fn reworded(message: &str, nothing_there: bool) -> String {
    let wrong_type = message.strip_prefix("invalid type: ");
    if let Some((found, wanted)) = wrong_type.and_then(|types| types.rsplit_once(", expected ")) {
        let found = match found {
            // A section, or a date.
            "map" => "this",
            "sequence" => "a list",
            other => other,
        };
        let advice = match wanted {
            "a string" => "; strings are written in quotes",
            "a boolean" => "; write true or false",
            _ => "",
        };
        return format!("{found} is not {wanted}{advice}");
    }
    match message {
        r#"invalid basic string, expected `"`"# | "invalid literal string, expected `'`" => {
            "this string has no closing quote".to_owned()
        }
        "duplicate key" => "here for the second time; keep one".to_owned(),
        "string values must be quoted, expected literal string" if nothing_there => {
            "there is no value after the equals sign".to_owned()
        }
        "string values must be quoted, expected literal string" => {
            "write this in quotes; only numbers, true and false have none".to_owned()
        }
        "unexpected leading zero, expected nothing" => {
            r#"a number starts with no zero; write a mode in quotes, such as "0620""#.to_owned()
        }
        other => other.to_owned(),
    }
}

/// The name of the key that stands at `offset`, or whose value does.
fn key_at(source: &str, offset: usize) -> Option<String> {
    match DeTable::parse(source) {
        Ok(table) => key_in_table(table.get_ref(), offset, ""),
        Err(_) => key_in_text(source, offset),
    }
}

/// What cannot be parsed has no tree: the words before the equals sign and in the brackets above
/// have to do.
fn key_in_text(source: &str, offset: usize) -> Option<String> {
    let lines_before = source.get(..offset)?.matches('\n').count();
    let header = |line: &str| {
        let line = line.trim_start().strip_prefix('[')?;
        Some(line.trim_start_matches('[').split([']', '#']).next()?.trim().to_owned())
    };
    let line = source.lines().nth(lines_before)?;
    let name = header(line).or_else(|| {
        let (key, _) = line.split_once('=')?;
        let section = source.lines().take(lines_before).filter_map(header).last();
        Some(section.map_or(String::new(), |section| section + ".") + key.trim())
    })?;
    let bare = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    name.split('.').all(bare).then_some(name)
}

fn key_in_table(table: &DeTable<'_>, offset: usize, section: &str) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = schema::inner(section, key.get_ref());
        let inner = match value.get_ref() {
            DeValue::Table(table) => key_in_table(table, offset, &name),
            DeValue::Array(items) => items.iter().find_map(|item| match item.get_ref() {
                DeValue::Table(table) => key_in_table(table, offset, &name)
                    .or_else(|| item.span().contains(&offset).then(|| name.clone())),
                _ => None,
            }),
            _ => None,
        };
        let here = key.span().contains(&offset) || value.span().contains(&offset);
        inner.or_else(|| here.then_some(name))
    })
}

/// The name among `candidates` that `word` was probably meant to be.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed || begin_alike(&word, candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether one is the beginning of the other, as `crit` is of `critical`.
fn begin_alike(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    short.len() >= 3 && long.starts_with(short)
}

fn labelled(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}
