//! The configuration file as it is written: every key optional, each value with its place in the
//! file, nothing checked but its type. [`validate`](super::validate) turns this into a
//! [`Config`](super::Config).

use serde::de::{self, Deserialize, Deserializer, Visitor, value::Error as KeysFound};
use serde::forward_to_deserialize_any;
use toml::Spanned;

use super::units::{FileMode, Size, Span};

/// A value that may be absent, with its place.
pub(super) type Key<T> = Option<Spanned<T>>;

/// The whole file.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) poll_interval: Key<Span>,
    pub(super) pid_file: Key<String>,
    pub(super) log_level: Key<String>,
    pub(super) stop_timeout: Key<Span>,
    pub(super) user: Key<String>,
    pub(super) group: Key<String>,
    pub(super) log: Option<Log>,
    pub(super) pipe: Option<Vec<Spanned<Pipe>>>,
    pub(super) control: Option<Control>,
}

/// `[log]`, and `[pipe.log]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) target: Key<String>,
    pub(super) facility: Key<String>,
    pub(super) tag: Key<String>,
    pub(super) address: Key<String>,
    pub(super) format: Key<String>,
    pub(super) path: Key<String>,
    pub(super) mode: Key<FileMode>,
    pub(super) sync: Key<String>,
}

/// `[[pipe]]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pipe {
    pub(super) name: Key<String>,
    pub(super) path: Key<String>,
    pub(super) mode: Key<FileMode>,
    pub(super) owner: Key<String>,
    pub(super) group: Key<String>,
    pub(super) priority: Key<String>,
    pub(super) max_record: Key<Size>,
    pub(super) flush_after: Key<Span>,
    pub(super) log: Option<Log>,
}

/// `[control]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Control {
    pub(super) enable: Key<bool>,
    pub(super) socket: Key<String>,
    pub(super) mode: Key<FileMode>,
    pub(super) group: Key<String>,
}

/// The names of the keys of a section, taken from its struct, so that they are written once.
pub(super) fn keys<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The error is this deserializer's way out: it never makes a value.
    let _ = T::deserialize(FieldNames(&mut names));
    names
}

/// Notes the fields that a struct asks for, and makes nothing.
struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = KeysFound;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, KeysFound> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, KeysFound> {
        Err(de::Error::custom("only the names are wanted"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The sections of the file with their keys: the top is `""`, and a section's name is among the
/// keys of the one that it is in.
pub(super) fn sections() -> [(&'static str, &'static [&'static str]); 5] {
    [
        ("", keys::<File>()),
        ("log", keys::<Log>()),
        ("pipe", keys::<Pipe>()),
        ("pipe.log", keys::<Log>()),
        ("control", keys::<Control>()),
    ]
}

/// The keys of a section; none where there is no such section.
pub(super) fn keys_of(section: &str) -> &'static [&'static str] {
    sections().into_iter().find(|(name, _)| *name == section).map_or(&[], |(_, keys)| keys)
}

/// The name of the section that `key` may stand for within `section`.
pub(super) fn inner(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// Whether there is such a section.
pub(super) fn is_section(name: &str) -> bool {
    sections().iter().any(|(section, _)| *section == name)
}
