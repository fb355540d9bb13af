//! Severities, facilities and the priority that a record may carry, after RFC 5424 section 6.2.1
//! and syslog(3). The types of the `syslog` crate stand behind them; what it lacks (comparison,
//! names as FreeBSD spells them, a priority that cannot hold 200) is here.

use std::fmt;
use std::str::FromStr;

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Severity {
    /// The system is unusable.
    Emergency = 0,
    /// Somebody must act at once.
    Alert = 1,
    /// A critical condition.
    Critical = 2,
    /// An error.
    Error = 3,
    /// A warning.
    Warning = 4,
    /// Normal, but worth a look.
    Notice = 5,
    /// For information.
    Info = 6,
    /// For those who look for a fault.
    Debug = 7,
}

impl Severity {
    /// Every severity, the gravest first: the index is the number.
    pub const ALL: [Self; 8] = [
        Self::Emergency,
        Self::Alert,
        Self::Critical,
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Info,
        Self::Debug,
    ];

    /// The name in syslog.conf(5) and in log lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Emergency => "emerg",
            Self::Alert => "alert",
            Self::Critical => "crit",
            Self::Error => "err",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is none of those allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown name")]
pub struct UnknownName;

impl FromStr for Severity {
    type Err = UnknownName;

    /// Takes the names of syslog.conf(5), the deprecated `error`, `warn` and `panic` among them.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warning),
            "panic" => Ok(Self::Emergency),
            _ => Self::ALL.into_iter().find(|s| s.name() == name).ok_or(UnknownName),
        }
    }
}

impl From<Severity> for syslog::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Emergency => Self::LOG_EMERG,
            Severity::Alert => Self::LOG_ALERT,
            Severity::Critical => Self::LOG_CRIT,
            Severity::Error => Self::LOG_ERR,
            Severity::Warning => Self::LOG_WARNING,
            Severity::Notice => Self::LOG_NOTICE,
            Severity::Info => Self::LOG_INFO,
            Severity::Debug => Self::LOG_DEBUG,
        }
    }
}

impl From<log::Level> for Severity {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Error => Self::Error,
            log::Level::Warn => Self::Warning,
            log::Level::Info => Self::Info,
            log::Level::Debug | log::Level::Trace => Self::Debug,
        }
    }
}

/// The part of the system that a message comes from: its number is below 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

/// The facilities of syslog.conf(5); the index is the number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "security", "console", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

impl Facility {
    /// The facility `daemon`.
    pub const DAEMON: Self = Self(3);

    /// The names that are understood, in the order of their numbers.
    #[must_use]
    pub fn names() -> &'static [&'static str] {
        &FACILITIES
    }

    /// The number of RFC 5424 as it enters a priority: times eight.
    #[must_use]
    pub fn code(self) -> u8 {
        self.0 << 3
    }

    /// The name in syslog.conf(5).
    #[must_use]
    pub fn name(self) -> &'static str {
        FACILITIES[usize::from(self.0)]
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Facility {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        (0u8..)
            .zip(FACILITIES)
            .find(|(_, n)| *n == name)
            .map(|(code, _)| Self(code))
            .ok_or(UnknownName)
    }
}

/// A severity with, where the writer gave one, a facility: what `<N>` at the start of a record
/// says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// How grave.
    pub severity: Severity,
    /// From where; none means that the target's own facility holds.
    pub facility: Option<Facility>,
}

impl Priority {
    /// A priority without a facility of its own.
    #[must_use]
    pub fn of(severity: Severity) -> Self {
        Self { severity, facility: None }
    }

    /// Takes `<N>` off the front of `text`, with N in 0 to 191 and written without leading zeros
    /// as RFC 5424 asks. Anything else is text, and stays.
    #[must_use]
    pub fn strip(text: &[u8]) -> Option<(Self, &[u8])> {
        let rest = text.strip_prefix(b"<")?;
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).take(4).count();
        let (number, rest) = rest.split_at(digits);
        let rest = rest.strip_prefix(b">")?;
        if number.is_empty() || number.len() > 3 || (number.len() > 1 && number[0] == b'0') {
            return None;
        }
        let n = number.iter().fold(0u16, |n, d| n * 10 + u16::from(d - b'0'));
        let n = u8::try_from(n).ok().filter(|n| *n <= 191)?;
        let facility = (n >= 8).then_some(Facility(n / 8));
        Some((Self { severity: Severity::ALL[usize::from(n % 8)], facility }, rest))
    }
}

impl From<Severity> for Priority {
    fn from(severity: Severity) -> Self {
        Self::of(severity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_a_number_from_0_to_191_without_leading_zeros() {
        let strip = |s: &'static str| {
            Priority::strip(s.as_bytes()).map(|(p, rest)| {
                (p.facility.unwrap_or(Facility::DAEMON).code() | p.severity as u8, rest)
            })
        };
        assert_eq!(strip("<0>x"), Some((24, &b"x"[..])));
        assert_eq!(strip("<7>"), Some((31, &b""[..])));
        assert_eq!(strip("<13>x"), Some((13, &b"x"[..])));
        assert_eq!(strip("<191><3>x"), Some((191, &b"<3>x"[..])));
        for text in [
            "<192>x", "<256>x", "<999>x", "<>x", "<-1>x", "< 3>x", "<03>x", "<00>x", "<3",
            "<0191>x", "3>x", "",
        ] {
            assert_eq!(strip(text), None, "{text}");
        }
    }

    #[test]
    fn names_read_back_as_what_they_name() {
        for severity in Severity::ALL {
            assert_eq!(severity.name().parse(), Ok(severity));
        }
        for name in Facility::names() {
            assert_eq!(name.parse::<Facility>().map(Facility::name), Ok(*name));
        }
        assert_eq!("warn".parse(), Ok(Severity::Warning));
        assert_eq!("loud".parse::<Severity>(), Err(UnknownName));
    }
}
