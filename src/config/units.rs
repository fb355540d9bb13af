//! Values as people write them: durations, sizes and modes, each read and printed in one form.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use nix::libc::mode_t;
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A value that could not be read; its text says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

/// A span of time: `"5s"`, `"200ms"`, `"1m30s"`, or a bare number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    const ALLOWED: &'static str = r#"write "5s", "200ms", "1m30s" or a number of seconds"#;

    fn wrong(text: &str) -> UnitError {
        UnitError(format!("\"{text}\" is not a duration; {}", Self::ALLOWED))
    }

    fn from_seconds(seconds: f64) -> Result<Self, UnitError> {
        Duration::try_from_secs_f64(seconds)
            .map(Self)
            .map_err(|_| Self::wrong(&seconds.to_string()))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let plain_number = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if plain_number {
            return text.parse().map_err(|_| Self::wrong(text)).and_then(Self::from_seconds);
        }
        text.parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|span| Duration::try_from(span).ok())
            .map(Self)
            .ok_or_else(|| Self::wrong(text))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.as_secs();
        let parts = [
            (u128::from(whole / 3600), "h"),
            (u128::from(whole / 60 % 60), "m"),
            (u128::from(whole % 60), "s"),
            (u128::from(self.0.subsec_millis()), "ms"),
            (u128::from(self.0.subsec_micros() % 1000), "us"),
            (u128::from(self.0.subsec_nanos() % 1000), "ns"),
        ];
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        parts.iter().filter(|(n, _)| *n > 0).try_for_each(|(n, unit)| write!(f, "{n}{unit}"))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpanVisitor;
        impl Visitor<'_> for SpanVisitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a duration; {}", Span::ALLOWED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Span, E> {
                u64::try_from(seconds)
                    .map(|s| Span(Duration::from_secs(s)))
                    .map_err(|_| E::custom(Span::wrong(&seconds.to_string())))
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Span, E> {
                Span::from_seconds(seconds).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(SpanVisitor)
    }
}

/// A number of bytes: `"8KiB"`, `"1MiB"`, or a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub usize);

/// The units of sizes, the largest first.
const SIZE_UNITS: [(&str, usize); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Size {
    const ALLOWED: &'static str = r#"write "8KiB", "1MiB" or a number of bytes"#;

    fn wrong(text: &str) -> UnitError {
        UnitError(format!("\"{text}\" is not a size; {}", Self::ALLOWED))
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = SIZE_UNITS
            .iter()
            .find_map(|(name, unit)| text.strip_suffix(name).map(|n| (n.trim_end(), *unit)))
            .unwrap_or((text, 1));
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let count = digits.then(|| number.parse::<usize>().ok()).flatten();
        count.and_then(|n| n.checked_mul(unit)).map(Self).ok_or_else(|| Self::wrong(text))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact =
            SIZE_UNITS.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        let (name, unit) = exact.copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a size; {}", Size::ALLOWED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                usize::try_from(bytes)
                    .map(Size)
                    .map_err(|_| E::custom(Size::wrong(&bytes.to_string())))
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

/// Permission bits of a file, as chmod(1) takes them: `"0620"`. Always a string, since TOML reads
/// a bare 0620 as an error and 620 as a decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub mode_t);

impl FileMode {
    const ALLOWED: &'static str = r#"write an octal string such as "0620", at most "0777""#;
}

impl FromStr for FileMode {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        octal
            .then(|| mode_t::from_str_radix(text, 8).ok())
            .flatten()
            .filter(|mode| *mode <= 0o777)
            .map(Self)
            .ok_or_else(|| UnitError(format!("\"{text}\" is not a mode; {}", Self::ALLOWED)))
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ModeVisitor;
        impl Visitor<'_> for ModeVisitor {
            type Value = FileMode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a mode; {}", FileMode::ALLOWED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<FileMode, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(ModeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written_and_print_in_one_form() {
        for (text, millis, printed) in [
            ("5s", 5000, "5s"),
            ("200ms", 200, "200ms"),
            ("1m30s", 90_000, "1m30s"),
            ("90s", 90_000, "1m30s"),
            ("2h", 7_200_000, "2h"),
            ("5", 5000, "5s"),
            ("0.25", 250, "250ms"),
            ("0", 0, "0s"),
            ("1h1m1s1ms", 3_661_001, "1h1m1s1ms"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0, Duration::from_millis(millis), "{text}");
            assert_eq!(span.to_string(), printed);
            assert_eq!(printed.parse(), Ok(span));
        }
        for text in ["", "5 parsecs", "-5s", "s", "1.2.3", "5x", "."] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_as_written_and_print_in_one_form() {
        for (text, bytes, printed) in [
            ("8KiB", 8192, "8KiB"),
            ("8192", 8192, "8KiB"),
            ("1MiB", 1 << 20, "1MiB"),
            ("100", 100, "100B"),
            ("100B", 100, "100B"),
            ("0", 0, "0B"),
            ("1025", 1025, "1025B"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size, Size(bytes), "{text}");
            assert_eq!(size.to_string(), printed);
            assert_eq!(printed.parse(), Ok(size));
        }
        for text in ["", "KiB", "8 elephants", "8kb", "-1", "1.5MiB", "99999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn modes_are_octal_strings() {
        assert_eq!("0620".parse(), Ok(FileMode(0o620)));
        assert_eq!("620".parse(), Ok(FileMode(0o620)));
        assert_eq!(FileMode(0o20).to_string(), "0020");
        for text in ["", "rw", "0888", "04755", "1777", "7", "0o620"] {
            assert!(text.parse::<FileMode>().is_err(), "{text}");
        }
    }
}
