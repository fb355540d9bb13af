//! The time of a message: local, as syslogd(8) on FreeBSD prints a stamp without converting it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::fmt::strtime;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Microseconds, whether or not there are any.
const RFC3339: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// The time at which bytes were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    time: Zoned,
    rfc3339: Arc<str>,
}

impl Stamp {
    /// Now, in the zone of this machine.
    pub(crate) fn now() -> Self {
        Self::of(now())
    }

    /// So long ago.
    pub(crate) fn before(age: Duration) -> Self {
        let now = now();
        let then =
            jiff::SignedDuration::try_from(age).ok().and_then(|age| now.checked_sub(age).ok());
        Self::of(then.unwrap_or(now))
    }

    fn of(time: Zoned) -> Self {
        let mut rfc3339 = String::with_capacity("2026-11-22T06:46:12.123456+01:00".len());
        // A String takes all that is written to it.
        let _ = RFC3339.print_timestamp_with_offset(&time.timestamp(), time.offset(), &mut rfc3339);
        Self { time, rfc3339: Arc::from(rfc3339) }
    }

    /// `2026-11-22T06:46:12.123456+01:00`, as RFC 3339 and RFC 5424 have it.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.rfc3339
    }

    /// `Nov 22 06:46:12`, as RFC 3164 has it: the day padded with a space.
    pub(crate) fn rfc3164(&self) -> String {
        // Only an unknown directive is an error, and here is none.
        strtime::format("%b %e %H:%M:%S", &self.time).unwrap_or_default()
    }
}

/// Now, in the zone of this machine. jiff looks for a zone at every call while it finds none, as in
/// a jail without /etc/localtime; UTC is taken for some time then.
fn now() -> Zoned {
    const AGAIN: Duration = Duration::from_secs(60);
    thread_local! {
        static NOT_FOUND: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let zone = match NOT_FOUND.get() {
        Some(when) if when.elapsed() < AGAIN => TimeZone::UTC,
        _ => TimeZone::try_system().unwrap_or_else(|_| {
            NOT_FOUND.set(Some(Instant::now()));
            TimeZone::UTC
        }),
    };
    Timestamp::now().to_zoned(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_local_and_say_by_how_much() {
        let at = |text: &str| Stamp::of(text.parse().unwrap());
        let stamp = at("2026-11-02T06:46:12.000123456+01:00[Europe/Berlin]");
        assert_eq!(&**stamp.text(), "2026-11-02T06:46:12.000123+01:00");
        assert_eq!(stamp.rfc3164(), "Nov  2 06:46:12");
        let utc = at("2026-01-31T23:59:59+00:00[UTC]");
        assert_eq!(&**utc.text(), "2026-01-31T23:59:59.000000+00:00");
        assert_eq!(utc.rfc3164(), "Jan 31 23:59:59");
    }
}
