//! The form of a message: what stands before its text, in a file and on a socket.
//!
//! The formatters of the `syslog` crate write UTC, which syslogd(8) on FreeBSD prints as it
//! stands, hours off. These write local time through the same trait.

use std::io::{self, Write};

use syslog::LogFormat;

use crate::batch::{Batch, Part};
use crate::config::{Address, FileFormat, Log, SyslogFormat, Target};
use crate::priority::{Facility, Priority, Severity};
use crate::record::Record;
use crate::sys::host;
use crate::sys::stamp::Stamp;

/// The longest syslog message: syslogd(8) on FreeBSD takes 8192 bytes, a local datagram there
/// holds as many, and rsyslog cuts at 8096 unless told otherwise.
const SYSLOG_MESSAGE_MAX: usize = 8096;

/// Who writes: what every message of this process carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) host: String,
    pub(crate) pid: u32,
}

impl Sender {
    /// This process on this machine, as they are now.
    pub(crate) fn this_process() -> Self {
        Self { host: host::name(), pid: std::process::id() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Text,
    Json,
    Rfc3164 { host: bool },
    Rfc5424,
}

/// Writes the messages of one pipe, or of bdaemon itself, in the form that its target wants.
#[derive(Debug)]
pub(crate) struct Line {
    layout: Layout,
    facility: Facility,
    tag: String,
    sender: Sender,
    /// The pipe's name; none for bdaemon's own messages.
    pipe: Option<String>,
    /// The severity of records that carry no priority.
    severity: Severity,
    /// The longest message that the target takes.
    limit: Option<usize>,
    /// What is the same for all messages with one stamp.
    stamped: Vec<u8>,
    /// What stands before the text of messages with one stamp and one priority: nearly all that
    /// come from one read.
    head: Vec<u8>,
    /// The priority that `head` is for; none while it is for none.
    head_of: Option<Priority>,
}

impl Line {
    /// The lines of a pipe.
    pub(crate) fn of_pipe(log: &Log, sender: &Sender, pipe: &str, severity: Severity) -> Self {
        Self { pipe: Some(pipe.to_owned()), severity, ..Self::of_daemon(log, sender) }
    }

    /// bdaemon's own lines.
    pub(crate) fn of_daemon(log: &Log, sender: &Sender) -> Self {
        let layout = match &log.target {
            Target::File { format: FileFormat::Json, .. } => Layout::Json,
            Target::File { format: FileFormat::Text, .. } | Target::Stderr => Layout::Text,
            Target::Syslog { format: SyslogFormat::Rfc5424, .. } => Layout::Rfc5424,
            // A local syslogd knows the host, and would take its name for the tag.
            Target::Syslog { format: SyslogFormat::Rfc3164, address } => {
                Layout::Rfc3164 { host: !matches!(address, Address::Unix(_)) }
            }
        };
        Self {
            layout,
            facility: log.facility,
            tag: log.tag.clone(),
            sender: sender.clone(),
            pipe: None,
            severity: Severity::Info,
            limit: matches!(log.target, Target::Syslog { .. }).then_some(SYSLOG_MESSAGE_MAX),
            stamped: Vec::new(),
            head: Vec::new(),
            head_of: None,
        }
    }

    /// Sets the time of the messages that follow.
    pub(crate) fn stamp(&mut self, stamp: &Stamp) {
        self.stamped.clear();
        self.head_of = None;
        // A Vec takes all that is written to it.
        let _ = self.write_stamped(stamp);
    }

    fn write_stamped(&mut self, stamp: &Stamp) -> io::Result<()> {
        let Self { layout, tag, sender: Sender { host, pid }, stamped: w, .. } = self;
        let pipe = self.pipe.as_deref();
        match layout {
            Layout::Text => {
                let (pipe, dot) = pipe.map_or(("", ""), |name| (name, "."));
                write!(w, "{} {host} {tag}[{pid}] {pipe}{dot}", stamp.text())
            }
            Layout::Json => {
                let pipe = pipe.map_or("null".to_owned(), |name| format!("\"{name}\""));
                let host = json_escaped(host);
                write!(
                    w,
                    r#"{{"time":"{}","host":"{host}","pipe":{pipe},"severity":""#,
                    stamp.text()
                )
            }
            Layout::Rfc3164 { host: true } => {
                write!(w, "{} {host} {tag}[{pid}]: ", stamp.rfc3164())
            }
            Layout::Rfc3164 { host: false } => write!(w, "{} {tag}[{pid}]: ", stamp.rfc3164()),
            Layout::Rfc5424 => {
                write!(w, "1 {} {host} {tag} {pid} {} - ", stamp.text(), pipe.unwrap_or("-"))
            }
        }
    }

    /// Adds a record to the batch.
    pub(crate) fn append_record(&mut self, record: &Record<'_>, batch: &mut Batch) {
        let priority = record.priority.unwrap_or(Priority::of(self.severity));
        let part = Part {
            text: record.text.as_bytes(),
            continued: record.continued,
            continues: record.continues,
        };
        self.append(priority, part, true, batch);
    }

    /// Adds a message of bdaemon's own to the batch; `text` is safe to print.
    pub(crate) fn append_own(&mut self, severity: Severity, text: &[u8], batch: &mut Batch) {
        let part = Part { text, continued: false, continues: false };
        self.append(Priority::of(severity), part, false, batch);
    }

    fn append(&mut self, priority: Priority, part: Part<'_>, record: bool, batch: &mut Batch) {
        if self.head_of != Some(priority) {
            self.make_head(priority);
        }
        // Every part of a long record is a message; it counts as delivered with the last.
        let counts = record && !part.continues;
        let header = batch.push(counts, |bytes| {
            bytes.extend_from_slice(&self.head);
            self.finish(part, bytes);
            self.head.len()
        });
        let Some(limit) = self.limit else { return };
        if header + part.length() > limit {
            batch.split_last(limit);
        }
    }

    fn make_head(&mut self, priority: Priority) {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        // A Vec takes all that is written to it.
        let _ = self.format(&mut head, priority.severity.into(), priority.facility);
        self.head = head;
        self.head_of = Some(priority);
    }

    /// Writes the text, and what comes behind it.
    fn finish(&self, part: Part<'_>, bytes: &mut Vec<u8>) {
        match self.layout {
            Layout::Text => {
                part.append_to(bytes);
                bytes.push(b'\n');
            }
            Layout::Json => {
                part.pieces().into_iter().for_each(|piece| append_json_escaped(bytes, piece));
                bytes.extend_from_slice(b"\"}\n");
            }
            Layout::Rfc3164 { .. } | Layout::Rfc5424 => part.append_to(bytes),
        }
    }
}

/// What stands before the text of a message that brought this facility, or none.
impl LogFormat<Option<Facility>> for Line {
    fn format<W: Write>(
        &self,
        w: &mut W,
        severity: syslog::Severity,
        facility: Option<Facility>,
    ) -> syslog::Result<()> {
        self.write_head(w, severity, facility).map_err(syslog::Error::Write)
    }
}

impl Line {
    fn write_head<W: Write>(
        &self,
        w: &mut W,
        severity: syslog::Severity,
        facility: Option<Facility>,
    ) -> io::Result<()> {
        let facility = facility.unwrap_or(self.facility);
        let name = Severity::ALL[severity as usize].name();
        match self.layout {
            Layout::Text => {
                w.write_all(&self.stamped)?;
                write!(w, "{name}: ")
            }
            Layout::Json => {
                w.write_all(&self.stamped)?;
                write!(w, r#"{name}","facility":"{facility}","message":""#)
            }
            Layout::Rfc3164 { .. } | Layout::Rfc5424 => {
                write!(w, "<{}>", facility.code() | severity as u8)?;
                w.write_all(&self.stamped)
            }
        }
    }
}

/// Writes printable text as the inside of a JSON string, RFC 8259: nothing in it needs escaping
/// but quotes, backslashes and tabs.
fn append_json_escaped(bytes: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(at) = memchr::memchr3(b'"', b'\\', b'\t', rest) {
        bytes.extend_from_slice(&rest[..at]);
        bytes.extend_from_slice(match rest[at] {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            _ => b"\\t",
        });
        rest = &rest[at + 1..];
    }
    bytes.extend_from_slice(rest);
}

fn json_escaped(text: &str) -> String {
    let mut escaped = Vec::new();
    append_json_escaped(&mut escaped, text.as_bytes());
    String::from_utf8(escaped).unwrap_or_default()
}
