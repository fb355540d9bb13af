//! From a file, or none, to a validated [`Config`].

use std::fs;
use std::io;
use std::path::Path;
use std::string::FromUtf8Error;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Fault, nearest};
use super::schema::{self, File};
use super::validate::validate;
use super::{Config, DEFAULT_PATH, Target};

impl Config {
    /// Reads `named`, which must exist; or, with no name given, the file at [`DEFAULT_PATH`], and
    /// the built-in defaults where there is none.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        match fs::read(path) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(source) => Self::parse(path, &source),
                Err(error) => Err(not_utf8(path, &error)),
            },
            Err(cause) if named.is_none() && cause.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(cause) => Err(ConfigError::Read { path: path.to_owned(), cause }),
        }
    }

    /// Reads a configuration out of `source`; `path` is for messages only.
    pub fn parse(path: &Path, source: &str) -> Result<Self, ConfigError> {
        // A byte order mark is no character of the first line.
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        parse_file(source).and_then(validate).map_err(|fault| fault.locate(path, source))
    }
}

impl Config {
    /// Puts another pid file in the place of the configured one, unless something else uses its
    /// path.
    pub(crate) fn set_pid_file(&mut self, path: &Path) -> Result<(), String> {
        let pipes = self.pipes.iter().flat_map(|pipe| [pipe.path.clone(), pipe.lock_path()]);
        let logs = self.logs().filter_map(|log| match &log.target {
            Target::File { path, .. } => Some(path.clone()),
            Target::Syslog { .. } | Target::Stderr => None,
        });
        let socket = self.control.enable.then(|| self.control.socket.clone());
        if pipes.chain(logs).chain(socket).any(|used| used == path) {
            return Err(format!("{} is used for something else; choose another", path.display()));
        }
        path.clone_into(&mut self.pid_file);
        Ok(())
    }
}

impl Default for Config {
    /// The built-in defaults: what an empty file says.
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the defaults are constants, and a test reads them")]
        validate(File::default()).expect("the built-in defaults are valid")
    }
}

/// A file in another encoding, with the place of its first foreign letter.
fn not_utf8(path: &Path, error: &FromUtf8Error) -> ConfigError {
    let at = error.utf8_error().valid_up_to();
    let source = String::from_utf8_lossy(error.as_bytes());
    Fault::at(at..at, "not UTF-8, which TOML is written in").locate(path, &source)
}

fn parse_file(source: &str) -> Result<File, Fault> {
    let table = DeTable::parse(source)?;
    check_keys(table.get_ref(), "")?;
    Ok(toml::from_str(source)?)
}

/// Looks for keys that a section does not have, and for sections that are not written as such,
/// before serde does: its messages have no suggestion, and speak of structs.
fn check_keys(table: &DeTable<'_>, section: &str) -> Result<(), Fault> {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        if !schema::keys_of(section).contains(&name) {
            return Err(Fault::at(key.span(), unknown_key(name, value, section)));
        }
        let inner = schema::inner(section, name);
        if schema::is_section(&inner) {
            check_shape(&inner, value).map_err(|text| Fault::at(key.span(), text))?;
            subtables(value).try_for_each(|table| check_keys(table, &inner))?;
        }
    }
    Ok(())
}

fn unknown_key(name: &str, value: &Spanned<DeValue<'_>>, section: &str) -> String {
    let what = if subtables(value).next().is_some() { "section" } else { "key" };
    let elsewhere: Vec<_> = schema::sections()
        .into_iter()
        .filter(|(_, keys)| keys.contains(&name))
        .map(|(section, _)| match section {
            "" => "at the top, above the first section".to_owned(),
            _ => format!("in {}", bracketed(section)),
        })
        .collect();
    if !elsewhere.is_empty() {
        return format!("unknown {what}; it belongs {}", elsewhere.join(", or "));
    }
    let known = schema::keys_of(section);
    let shown = |key: &str| match schema::inner(section, key) {
        inner if schema::is_section(&inner) => bracketed(&inner),
        _ => key.to_owned(),
    };
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("unknown {what}; did you mean `{}`?", shown(near)),
        None => {
            let known: Vec<_> = known.iter().map(|key| shown(key)).collect();
            format!("unknown {what}; known here: {}", known.join(", "))
        }
    }
}

/// A section as its first line has it.
fn bracketed(section: &str) -> String {
    if section == "pipe" { "[[pipe]]".to_owned() } else { format!("[{section}]") }
}

/// There may be many pipes, and one of any other section.
fn check_shape(section: &str, value: &Spanned<DeValue<'_>>) -> Result<(), String> {
    let is_table = |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Table(_));
    let line = bracketed(section);
    match value.get_ref() {
        DeValue::Array(items) if section == "pipe" && items.iter().all(is_table) => Ok(()),
        _ if section == "pipe" => {
            Err(format!("each pipe is a section; write {line}, in double brackets, above its keys"))
        }
        DeValue::Table(_) => Ok(()),
        DeValue::Array(_) => {
            Err(format!("only one such section; write {line}, in single brackets"))
        }
        _ => Err(format!("this is a section; write {line} on its own line, and its keys below")),
    }
}

/// The tables of a value: itself, or those of a list.
fn subtables<'a, 's>(value: &'a Spanned<DeValue<'s>>) -> impl Iterator<Item = &'a DeTable<'s>> {
    let (one, many) = match value.get_ref() {
        DeValue::Table(table) => (Some(table), None),
        DeValue::Array(items) => (None, Some(items)),
        _ => (None, None),
    };
    let listed = many.into_iter().flat_map(|items| items.iter());
    one.into_iter().chain(listed.filter_map(|item| match item.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }))
}
