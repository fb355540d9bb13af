//! The time of a message: local, as syslogd(8) on FreeBSD prints a stamp without converting it.

use jiff::Zoned;
use jiff::fmt::strtime;

/// The time at which bytes were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Zoned);

impl Stamp {
    /// Now, in the zone of this machine.
    pub(crate) fn now() -> Self {
        Self(Zoned::now())
    }

    /// `2026-11-22T06:46:12.123456+01:00`, as RFC 3339 and RFC 5424 have it.
    pub(crate) fn rfc3339(&self) -> String {
        self.text("%Y-%m-%dT%H:%M:%S.%6f%:z")
    }

    /// `Nov 22 06:46:12`, as RFC 3164 has it: the day padded with a space.
    pub(crate) fn rfc3164(&self) -> String {
        self.text("%b %e %H:%M:%S")
    }

    fn text(&self, format: &str) -> String {
        // Only an unknown directive is an error, and the two formats above have none.
        strtime::format(format, &self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_local_and_say_by_how_much() {
        let at = |text: &str| Stamp(text.parse().unwrap());
        let stamp = at("2026-11-02T06:46:12.000123456+01:00[Europe/Berlin]");
        assert_eq!(stamp.rfc3339(), "2026-11-02T06:46:12.000123+01:00");
        assert_eq!(stamp.rfc3164(), "Nov  2 06:46:12");
        let utc = at("2026-01-31T23:59:59+00:00[UTC]");
        assert_eq!(utc.rfc3339(), "2026-01-31T23:59:59.000000+00:00");
        assert_eq!(utc.rfc3164(), "Jan 31 23:59:59");
    }
}
