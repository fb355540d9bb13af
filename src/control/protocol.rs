//! Requests and replies, as both sides have them.

use serde::{Deserialize, Serialize};

/// The version of what is described here. A daemon that adds to it keeps the number; one that
/// changes what there is takes the next.
pub const PROTOCOL: u32 = 1;

/// The longest line that a client may send, its newline included.
pub const REQUEST_MAX: usize = 64 << 10;

/// The longest line that a daemon may send, its newline included: more than a record of 16 MiB
/// takes of which every byte is escaped.
pub const REPLY_MAX: u64 = 128 << 20;

/// What a daemon says first to whoever connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The daemon's version.
    pub version: String,
    /// The daemon's pid.
    pub pid: u32,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How the daemon is, answered with [`Reply::Status`].
    Status {},
    /// The last records, answered with a [`Reply::Record`] each and then [`Reply::Done`]; with
    /// `follow`, with those that come from then on, without end.
    Tail {
        /// Of this pipe only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pipe: Option<String>,
        /// How many.
        #[serde(default = "default_lines")]
        lines: usize,
        /// Whether to go on with those that come.
        #[serde(default)]
        follow: bool,
    },
    /// The level of bdaemon's own messages, answered with [`Reply::LogLevel`].
    LogLevel {
        /// The level to set, until the next reload; none only asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<String>,
    },
    /// Reads the configuration again, answered with [`Reply::Done`] or [`Reply::Error`].
    Reload {},
    /// Opens the targets again, answered with [`Reply::Done`] or [`Reply::Error`].
    Reopen {},
    /// Delivers what is left and ends, answered with [`Reply::Stopped`].
    Stop {
        /// In place of `stop_timeout`, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout: Option<f64>,
    },
    /// Delivers bytes as if they had been written to a pipe: one record, whose end need not be
    /// sent. Answered with [`Reply::Delivered`].
    Send {
        /// To this pipe; none means the first one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pipe: Option<String>,
        /// The record, as text.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
        /// The record as bytes in hexadecimal, where it is not UTF-8.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        hex: String,
    },
}

/// What tail shows when nobody says how much.
fn default_lines() -> usize {
    10
}

/// What a daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// The answer to [`Request::Status`].
    Status(Box<Status>),
    /// A record that passed through.
    Record(Passed),
    /// Records that this client was too slow for.
    Missed {
        /// How many.
        records: u64,
    },
    /// The answer to [`Request::LogLevel`].
    LogLevel {
        /// The level in force.
        level: String,
    },
    /// It is done.
    Done {},
    /// The daemon has ended but for this answer.
    Stopped {
        /// Records delivered since the stop was asked for.
        drained: u64,
        /// Records that could not be delivered in time.
        lost: u64,
    },
    /// So many of the records that this client sent have been delivered, in their order, since
    /// the last such reply.
    Delivered {
        /// How many.
        records: u64,
    },
    /// It was not done.
    Error {
        /// The code of sysexits(3) that bdaemonctl exits with.
        code: u8,
        /// Why, in one line.
        message: String,
    },
}

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its pid.
    pub pid: u32,
    /// The user that it runs as.
    pub user: String,
    /// The configuration file; none where there are only built-in values.
    pub config: Option<String>,
    /// When it was started, RFC 3339.
    pub started: String,
    /// Seconds since then.
    pub uptime_seconds: f64,
    /// The most memory that it has had, in bytes.
    pub peak_resident_bytes: u64,
    /// The level of its own messages.
    pub log_level: String,
    /// Reloads that were taken.
    pub reloads: u64,
    /// Reloads that were refused.
    pub failed_reloads: u64,
    /// Why the last of them was.
    pub last_reload_error: Option<String>,
    /// Clients of the control socket, this one included.
    pub clients: usize,
    /// The pipes.
    pub pipes: Vec<PipeStatus>,
    /// The targets.
    pub targets: Vec<TargetStatus>,
}

/// How a pipe is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipeStatus {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// The target's name.
    pub target: String,
    /// Whether it is read, waits for its target, or is only read until its writers have gone.
    pub state: PipeState,
    /// Records read, in all.
    pub records: u64,
    /// Bytes read, in all.
    pub bytes: u64,
    /// Records that were split.
    pub splits: u64,
    /// Records in which something was escaped.
    pub escapes: u64,
    /// When the last record came, RFC 3339.
    pub last_record: Option<String>,
}

/// What is done with a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PipeState {
    /// It is read.
    Reading,
    /// It is not read, since its target takes nothing.
    Waiting,
    /// It has no name any more, and is read until its writers have gone.
    Retired,
}

impl PipeState {
    /// As people read it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Waiting => "waiting",
            Self::Retired => "retired",
        }
    }
}

/// How a target is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its name: its address, or what kind it is with its path.
    pub name: String,
    /// Whether it takes messages.
    pub state: TargetState,
    /// Since when it does not, RFC 3339.
    pub since: Option<String>,
    /// Why it does not.
    pub why: Option<String>,
    /// Records delivered, in all.
    pub delivered: u64,
    /// Tries while it was stalled, in all.
    pub retries: u64,
    /// How often it was opened again: a connection made anew, another file at the path.
    pub reconnects: u64,
    /// Bytes that wait for it.
    pub backlog_bytes: u64,
    /// Records that wait for it.
    pub backlog_records: u64,
}

/// Whether a target takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetState {
    /// It does.
    Ok,
    /// It does not.
    Stalled,
}

/// A record that passed through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// When it was read, RFC 3339.
    pub time: String,
    /// From which pipe.
    pub pipe: String,
    /// How grave.
    pub severity: String,
    /// The text.
    pub text: String,
}
