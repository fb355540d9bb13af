//! What is wrong with a configuration file, said so that it can be mended: file, line, column,
//! key, and what is allowed.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::exit::Sysexit;
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

    /// Adds the file, the line and the key.
    pub(super) fn locate(self, path: &Path, source: &str) -> ConfigError {
        ConfigError::Wrong {
            path: path.to_owned(),
            place: Place::of(source, self.span.start),
            key: key_at(source, self.span.start).unwrap_or_default(),
            message: self.message,
        }
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        let message = error.message().replace("invalid type: map", "invalid type: table");
        Self::at(error.span().unwrap_or_default(), message)
    }
}

/// The name of the key that stands at `offset`, or whose value does.
fn key_at(source: &str, offset: usize) -> Option<String> {
    match DeTable::parse(source) {
        Ok(table) => key_in_table(table.get_ref(), offset, ""),
        // What cannot be parsed has no tree: the word before the equals sign has to do.
        Err(_) => {
            let line_start = source.get(..offset)?.rfind('\n').map_or(0, |newline| newline + 1);
            let (key, _) = source.get(line_start..)?.lines().next()?.split_once('=')?;
            let key = key.trim();
            let bare = !key.is_empty()
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
            bare.then(|| key.to_owned())
        }
    }
}

fn key_in_table(table: &DeTable<'_>, offset: usize, section: &str) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = match section {
            "" => key.get_ref().to_string(),
            _ => format!("{section}.{}", key.get_ref()),
        };
        let inner = match value.get_ref() {
            DeValue::Table(table) => key_in_table(table, offset, &name),
            DeValue::Array(items) => items.iter().find_map(|item| match item.get_ref() {
                DeValue::Table(table) => key_in_table(table, offset, &name),
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
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn labelled(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}
