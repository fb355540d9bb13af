//! The forms of messages: whatever a record has, an independent reader finds each field as it was
//! meant, in one line of bounded length.

use std::fmt::Write as _;
use std::path::Path;

use bdaemon::bench::Formatter;
use bdaemon::config::{Config, Pipe};
use bdaemon::priority::{Facility, Severity};
use bdaemon::record::{CONTINUED, CONTINUES, Framer, Record, Tail};
use serde_json::Value;
use syslog_loose::{ProcId, Protocol, Variant};

use super::Choices;
use super::framer::is_safe;

/// The longest syslog message, whatever the record.
const SYSLOG_MESSAGE_MAX: usize = 8096;

/// What is long: several messages.
const LONG: usize = 40_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    /// With the host, as it goes over the network, or without, as it goes to the local socket.
    Rfc3164 {
        host: bool,
    },
    Rfc5424,
}

/// Any records, from a pipe of any name that the configuration allows, with any tag that it allows.
pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let form = match choices.byte() % 5 {
        0 => Form::Text,
        1 => Form::Json,
        2 => Form::Rfc3164 { host: true },
        3 => Form::Rfc3164 { host: false },
        _ => Form::Rfc5424,
    };
    let name = choices.word(b"aZ09_-bcdefghijklmnopqrstuvwxyz", 32);
    let tag = choices.word(b"aZ09_-/bcdefghijklmnopqrstuvwxyz", 48);
    let facility = Facility::names()[choices.byte() % Facility::names().len()];
    let severity = Severity::ALL[choices.byte() % 8];
    let host = choices.one_of(&["www1.example.org", "-", "h", "fe80::1"]);
    let max_record = [16, 64, 8192, 65_536][choices.byte() % 4];
    // How often the rest comes: a long record is more than any fuzzer likes to find.
    let long = choices.byte() % 4 == 3;
    let times = if long { (LONG / choices.0.len().max(1)).clamp(1, 300) } else { 1 };
    let config = configured(form, &name, &tag, facility, severity);
    let sent = Sent { form, pipe: &config.pipes[0], host, facility };
    let mut formatter = Formatter::of_pipe(sent.pipe, host);
    let mut framer = Framer::new(max_record);
    for _ in 0..times {
        feed(&mut framer, choices.0, |record| sent.check(&mut formatter, record));
    }
    while let Some(record) = framer.next(Tail::Ended) {
        sent.check(&mut formatter, &record);
    }
}

fn feed(framer: &mut Framer, mut bytes: &[u8], mut take: impl FnMut(&Record<'_>)) {
    while !bytes.is_empty() {
        let space = framer.space();
        let count = bytes.len().min(space.len());
        space[..count].copy_from_slice(&bytes[..count]);
        framer.filled(count);
        bytes = &bytes[count..];
        while let Some(record) = framer.next(Tail::Open) {
            take(&record);
        }
    }
}

fn configured(form: Form, name: &str, tag: &str, facility: &str, severity: Severity) -> Config {
    let target = match form {
        Form::Text => "target = \"file\"\nformat = \"text\"",
        Form::Json => "target = \"file\"\nformat = \"json\"",
        Form::Rfc3164 { host: true } => "address = \"udp:h:514\"\nformat = \"rfc3164\"",
        Form::Rfc3164 { host: false } => "address = \"unix:/s\"\nformat = \"rfc3164\"",
        Form::Rfc5424 => "address = \"tcp:h:514\"\nformat = \"rfc5424\"",
    };
    let mut file = format!("[log]\n{target}\ntag = \"{tag}\"\nfacility = \"{facility}\"\n");
    writeln!(file, "[[pipe]]\nname = \"{name}\"\npriority = \"{severity}\"").unwrap();
    Config::parse(Path::new("format.toml"), &file).unwrap_or_else(|error| panic!("{error}\n{file}"))
}

/// What stands in every message of a pipe.
struct Sent<'a> {
    form: Form,
    pipe: &'a Pipe,
    host: &'a str,
    facility: &'static str,
}

impl Sent<'_> {
    /// Formats a record, and reads back what comes of it.
    fn check(&self, formatter: &mut Formatter, record: &Record<'_>) {
        formatter.append(record);
        let messages: Vec<_> = formatter.messages().map(<[u8]>::to_vec).collect();
        assert!(!messages.is_empty());
        let texts: Vec<_> = messages.iter().map(|message| self.text_of(message, record)).collect();
        let marker = |there, marker| if there { marker } else { "" };
        let text = std::str::from_utf8(record.text.as_bytes()).expect("text is UTF-8");
        let meant =
            [marker(record.continued, CONTINUED), text, marker(record.continues, CONTINUES)]
                .concat();
        assert_eq!(joined(&texts), meant);
        formatter.deliver();
        assert_eq!(formatter.messages().count(), 0);
    }

    /// The text of a message whose other fields are as they should be.
    fn text_of(&self, message: &[u8], record: &Record<'_>) -> String {
        let message = std::str::from_utf8(message).expect("a message is UTF-8");
        match self.form {
            Form::Text => self.text_of_line(message, record),
            Form::Json => self.text_of_object(message, record),
            Form::Rfc3164 { .. } | Form::Rfc5424 => {
                assert!(message.len() <= SYSLOG_MESSAGE_MAX, "{} bytes", message.len());
                assert!(is_safe(message), "{message:?}");
                self.text_of_syslog(message, record)
            }
        }
    }

    fn severity(&self, record: &Record<'_>) -> Severity {
        record.priority.map_or(self.pipe.priority, |priority| priority.severity)
    }

    fn facility(&self, record: &Record<'_>) -> &'static str {
        record.priority.and_then(|priority| priority.facility).map_or(self.facility, Facility::name)
    }

    fn text_of_line(&self, message: &str, record: &Record<'_>) -> String {
        let line = message.strip_suffix('\n').expect("a line ends in a newline");
        assert!(is_safe(line), "{line:?}");
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next().expect("five words");
        assert!(word().parse::<jiff::Timestamp>().is_ok(), "a time: {line:?}");
        assert_eq!(word(), self.host);
        assert_eq!(word(), format!("{}[812]", self.pipe.log.tag));
        assert_eq!(word(), format!("{}.{}:", self.pipe.name, self.severity(record)));
        word().to_owned()
    }

    fn text_of_object(&self, message: &str, record: &Record<'_>) -> String {
        let line = message.strip_suffix('\n').expect("a line ends in a newline");
        assert!(is_safe(line), "{line:?}");
        let Ok(Value::Object(mut object)) = serde_json::from_str(line) else {
            panic!("not an object: {line:?}");
        };
        let mut field = |name: &str| match object.remove(name) {
            Some(Value::String(text)) => text,
            other => panic!("{name} is {other:?} in {line:?}"),
        };
        assert!(field("time").parse::<jiff::Timestamp>().is_ok(), "a time: {line:?}");
        assert_eq!(field("host"), self.host);
        assert_eq!(field("pipe"), self.pipe.name);
        assert_eq!(field("severity"), self.severity(record).name());
        assert_eq!(field("facility"), self.facility(record));
        let text = field("message");
        assert!(object.is_empty(), "{object:?}");
        text
    }

    fn text_of_syslog(&self, message: &str, record: &Record<'_>) -> String {
        let variant = match self.form {
            Form::Rfc5424 => Variant::RFC5424,
            _ => Variant::RFC3164,
        };
        let parsed = syslog_loose::parse_message(message, variant);
        let facility = Facility::names().iter().position(|name| *name == self.facility(record));
        assert_eq!(parsed.facility.map(|facility| facility as usize), facility, "{message:?}");
        let severity = self.severity(record) as usize;
        assert_eq!(
            parsed.severity.map(|severity| severity as usize),
            Some(severity),
            "{message:?}"
        );
        assert!(parsed.timestamp.is_some(), "{message:?}");
        // What is called "-" has no name, as RFC 5424 has it.
        let named = |name| Some(name).filter(|name| *name != "-");
        let older = matches!(self.form, Form::Rfc3164 { .. });
        let tag = self.pipe.log.tag.as_str();
        assert_eq!(parsed.appname, named(tag).or(older.then_some(tag)), "{message:?}");
        assert_eq!(parsed.procid, Some(ProcId::PID(812)), "{message:?}");
        let host = named(self.host);
        match self.form {
            Form::Rfc5424 => {
                assert_eq!(parsed.protocol, Protocol::RFC5424(1), "{message:?}");
                assert_eq!(parsed.hostname, host, "{message:?}");
                assert_eq!(parsed.msgid, named(self.pipe.name.as_str()), "{message:?}");
                assert!(parsed.structured_data.is_empty(), "{message:?}");
            }
            Form::Rfc3164 { host: true } => assert_eq!(parsed.hostname, host, "{message:?}"),
            _ => assert_eq!(parsed.hostname, None, "{message:?}"),
        }
        let text = match self.form {
            Form::Rfc5424 => message.splitn(8, ' ').nth(7),
            _ => message.split_once("[812]: ").map(|(_, text)| text),
        };
        let text = text.expect("a text");
        // The reader takes blanks at the ends away, and of the older form also what looks like the
        // structured data of the newer one.
        let (read, sent) = (parsed.msg.trim(), text.trim());
        assert!(read == sent || (older && sent.ends_with(read)), "{message:?}");
        text.to_owned()
    }
}

/// The text whose parts these are.
fn joined(texts: &[String]) -> String {
    let last = texts.len() - 1;
    let parts = texts.iter().enumerate().map(|(number, text)| {
        let text = if number == 0 { text } else { text.strip_prefix(CONTINUED).expect("a marker") };
        if number == last { text } else { text.strip_suffix(CONTINUES).expect("a marker") }
    });
    parts.collect()
}
