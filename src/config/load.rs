//! From a file, or none, to a validated [`Config`].

use std::fs;
use std::io;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Fault, nearest};
use super::schema::{self, File};
use super::validate::validate;
use super::{Config, DEFAULT_PATH};

impl Config {
    /// Reads `named`, which must exist; or, with no name given, the file at [`DEFAULT_PATH`], and
    /// the built-in defaults where there is none.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        match fs::read_to_string(path) {
            Ok(source) => Self::parse(path, &source),
            Err(cause) if named.is_none() && cause.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(cause) => Err(ConfigError::Read { path: path.to_owned(), cause }),
        }
    }

    /// Reads a configuration out of `source`; `path` is for messages only.
    pub fn parse(path: &Path, source: &str) -> Result<Self, ConfigError> {
        parse_file(source).and_then(validate).map_err(|fault| fault.locate(path, source))
    }
}

impl Default for Config {
    /// The built-in defaults: what an empty file says.
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the defaults are constants, and a test reads them")]
        validate(File::default()).expect("the built-in defaults are valid")
    }
}

fn parse_file(source: &str) -> Result<File, Fault> {
    let table = DeTable::parse(source)?;
    refuse_unknown_keys(table.get_ref(), "")?;
    Ok(toml::from_str(source)?)
}

/// Looks for keys that no section has, before serde does: serde's message has no suggestion.
fn refuse_unknown_keys(table: &DeTable<'_>, section: &str) -> Result<(), Fault> {
    let sections = schema::sections();
    let Some((_, known)) = sections.iter().find(|(name, _)| *name == section) else {
        return Ok(());
    };
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        if !known.contains(&name) {
            return Err(Fault::at(key.span(), unknown_key(name, known)));
        }
        let inner = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
        subtables(value).try_for_each(|table| refuse_unknown_keys(table, &inner))?;
    }
    Ok(())
}

fn unknown_key(name: &str, known: &[&str]) -> String {
    if let Some(near) = nearest(name, known.iter().copied()) {
        return format!("unknown key; did you mean `{near}`?");
    }
    let elsewhere = schema::sections().into_iter().find(|(_, keys)| keys.contains(&name));
    match elsewhere {
        Some(("", _)) => {
            "unknown key; it belongs at the top, before the first [section]".to_owned()
        }
        Some(("pipe", _)) => "unknown key; it belongs in [[pipe]]".to_owned(),
        Some((section, _)) => format!("unknown key; it belongs in [{section}]"),
        None => format!("unknown key; known here: {}", known.join(", ")),
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
