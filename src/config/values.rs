//! Single values: each function takes a key as parsed and gives what a [`Config`](super::Config) has
//! of it, or says what would be right.

use std::ops::{Range, RangeInclusive};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use nix::libc::mode_t;
use toml::Spanned;

use super::error::{Fault, nearest};
use super::units::{FileMode, Span};

/// What a local socket's address holds on FreeBSD, `sun_path` less its NUL. Linux holds four
/// bytes more; a configuration is to work on both.
const SOCKET_PATH_MAX: usize = 103;

pub(super) fn span_if<T>(key: Option<&Spanned<T>>) -> Option<Range<usize>> {
    key.map(Spanned::span)
}

pub(super) fn span(
    key: Option<&Spanned<Span>>,
    default: Duration,
    allowed: RangeInclusive<Duration>,
) -> Result<Duration, Fault> {
    let Some(key) = key else { return Ok(default) };
    let Span(span) = *key.get_ref();
    if allowed.contains(&span) {
        return Ok(span);
    }
    let text = format!("must be from {} to {}", Span(*allowed.start()), Span(*allowed.end()));
    Err(Fault::at(key.span(), text))
}

pub(super) fn mode(
    key: Option<&Spanned<FileMode>>,
    default: FileMode,
    needed: mode_t,
    why: &str,
) -> Result<FileMode, Fault> {
    let Some(key) = key else { return Ok(default) };
    let mode = *key.get_ref();
    if mode.0 & needed == needed { Ok(mode) } else { Err(Fault::at(key.span(), why)) }
}

/// One of a few words, each with its value.
pub(super) fn choice<T: Copy>(
    key: Option<&Spanned<String>>,
    what: &str,
    choices: &[(&str, T)],
    default: T,
) -> Result<T, Fault> {
    let Some(key) = key else { return Ok(default) };
    let found = choices.iter().find(|(name, _)| name == key.get_ref());
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    found.map(|(_, value)| *value).ok_or_else(|| not_one_of(key, what, &names))
}

/// A name that knows how to read itself.
pub(super) fn named<T: FromStr>(
    key: &Spanned<String>,
    what: &str,
    names: &[&str],
) -> Result<T, Fault> {
    key.get_ref().parse().map_err(|_| not_one_of(key, what, names))
}

fn not_one_of(key: &Spanned<String>, what: &str, names: &[&str]) -> Fault {
    let word = key.get_ref();
    let guess = nearest(word, names.iter().copied())
        .map_or(String::new(), |near| format!("did you mean \"{near}\"? "));
    Fault::at(key.span(), format!("\"{word}\" is not {what}; {guess}allowed: {}", names.join(", ")))
}

/// The name of a user or group, or its number.
pub(super) fn account(key: Option<&Spanned<String>>, what: &str) -> Result<Option<String>, Fault> {
    let Some(key) = key else { return Ok(None) };
    let name = key.get_ref();
    if name.is_empty()
        || name.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control() || b == b':')
    {
        let text = format!("\"{name}\" is not {what}; write one name, or one number");
        return Err(Fault::at(key.span(), text));
    }
    Ok(Some(name.clone()))
}

pub(super) fn path(key: Option<&Spanned<String>>, default: &str) -> Result<PathBuf, Fault> {
    let Some(key) = key else { return Ok(PathBuf::from(default)) };
    checked_path(key.get_ref()).map_err(|why| Fault::at(key.span(), why))
}

pub(super) fn checked_path(text: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err("write an absolute path: a daemon works in /");
    }
    if text.contains('\0') {
        return Err("a path has no NUL");
    }
    if text.ends_with('/') || text.ends_with("/.") || path.file_name().is_none() {
        return Err("write the path of a file, not of a directory");
    }
    // Two spellings of one path would escape the check that each path is used once.
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("write the path without `..`");
    }
    Ok(path.components().collect())
}

pub(super) fn check_socket_path(path: &Path, span: Range<usize>) -> Result<(), Fault> {
    let length = path.as_os_str().len();
    if length <= SOCKET_PATH_MAX {
        return Ok(());
    }
    let text = format!("is {length} bytes long; a socket's path has at most {SOCKET_PATH_MAX}");
    Err(Fault::at(span, text))
}
