//! What `benches/records.rs` measures of the inside, and the fuzz target `format` looks at. It is no
//! interface, and changes with what is inside.

use std::path::PathBuf;

use crate::batch::Batch;
use crate::config::{Address, FileFormat, FileMode, Log, Pipe, Sync, SyslogFormat, Target};
use crate::line::{Line, Sender};
use crate::priority::{Facility, Severity};
use crate::record::Record;
use crate::sys::stamp::Stamp;

/// Makes messages of records, in one of the forms that targets want.
#[derive(Debug)]
pub struct Formatter {
    line: Line,
    batch: Batch,
}

impl Formatter {
    /// Lines of a text file.
    #[must_use]
    pub fn text() -> Self {
        Self::file(FileFormat::Text)
    }

    /// Lines of a file of JSON objects.
    #[must_use]
    pub fn json() -> Self {
        Self::file(FileFormat::Json)
    }

    /// Messages of RFC 3164.
    #[must_use]
    pub fn rfc3164() -> Self {
        Self::syslog(SyslogFormat::Rfc3164)
    }

    /// Messages of RFC 5424.
    #[must_use]
    pub fn rfc5424() -> Self {
        Self::syslog(SyslogFormat::Rfc5424)
    }

    fn file(format: FileFormat) -> Self {
        Self::of(Target::File {
            path: PathBuf::new(),
            mode: FileMode(0o640),
            format,
            sync: Sync::Never,
        })
    }

    fn syslog(format: SyslogFormat) -> Self {
        Self::of(Target::Syslog { address: Address::Unix(PathBuf::new()), format })
    }

    fn of(target: Target) -> Self {
        let log = Log { facility: Facility::DAEMON, tag: "bdaemon".to_owned(), target };
        Self::with(&log, "www1.example.org", "backup", Severity::Info)
    }

    /// What the records of this pipe become on a machine of this name, in a process with the pid
    /// 812.
    #[must_use]
    pub fn of_pipe(pipe: &Pipe, host: &str) -> Self {
        Self::with(&pipe.log, host, &pipe.name, pipe.priority)
    }

    fn with(log: &Log, host: &str, pipe: &str, severity: Severity) -> Self {
        let sender = Sender { host: host.to_owned(), pid: 812 };
        let mut line = Line::of_pipe(log, &sender, pipe, severity);
        line.stamp(&Stamp::now());
        Self { line, batch: Batch::default() }
    }

    /// Adds a record to the batch.
    pub fn append(&mut self, record: &Record<'_>) {
        self.line.append_record(record, &mut self.batch);
    }

    /// The messages in the batch.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.batch.messages()
    }

    /// Takes the batch as delivered, and says how many bytes it had.
    pub fn deliver(&mut self) -> usize {
        let bytes = self.batch.backlog();
        self.batch.advance_bytes(bytes);
        bytes
    }
}
