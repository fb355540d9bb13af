//! A configuration as it was understood, printed as a file that says the same.

use std::fmt;
use std::path::Path;

use super::validate::LOG_LEVELS;
use super::{Config, Control, FileFormat, Log, Pipe, Size, Span, Sync, SyslogFormat, Target};

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn optional(f: &mut fmt::Formatter<'_>, key: &str, value: Option<&String>) -> fmt::Result {
    value.map_or(Ok(()), |value| writeln!(f, "{key} = {}", quoted(value)))
}

impl fmt::Display for Config {
    /// Every key with its value, defaults included; [`Config::parse`] reads it back as the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = LOG_LEVELS.iter().find(|(_, level)| *level == self.log_level);
        writeln!(f, "poll_interval = \"{}\"", Span(self.poll_interval))?;
        writeln!(f, "pid_file = {}", quoted_path(&self.pid_file))?;
        writeln!(f, "log_level = \"{}\"", level.map_or("info", |(name, _)| name))?;
        writeln!(f, "stop_timeout = \"{}\"", Span(self.stop_timeout))?;
        optional(f, "user", self.user.as_ref())?;
        optional(f, "group", self.group.as_ref())?;
        write!(f, "\n[log]\n{}", self.log)?;
        self.pipes.iter().try_for_each(|pipe| write!(f, "\n[[pipe]]\n{pipe}"))?;
        write!(f, "\n[control]\n{}", self.control)
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = match self.target {
            Target::Syslog { .. } => "syslog",
            Target::File { .. } => "file",
            Target::Stderr => "stderr",
        };
        writeln!(f, "target = \"{target}\"")?;
        writeln!(f, "facility = \"{}\"", self.facility)?;
        writeln!(f, "tag = {}", quoted(&self.tag))?;
        match &self.target {
            Target::Syslog { address, format } => {
                let format = match format {
                    SyslogFormat::Rfc3164 => "rfc3164",
                    SyslogFormat::Rfc5424 => "rfc5424",
                };
                writeln!(f, "address = {}", quoted(&address.to_string()))?;
                writeln!(f, "format = \"{format}\"")
            }
            Target::File { path, mode, format, sync } => {
                let format = match format {
                    FileFormat::Text => "text",
                    FileFormat::Json => "json",
                };
                let sync = match sync {
                    Sync::Never => "never",
                    Sync::Always => "always",
                };
                writeln!(f, "path = {}", quoted_path(path))?;
                writeln!(f, "mode = \"{mode}\"")?;
                writeln!(f, "format = \"{format}\"")?;
                writeln!(f, "sync = \"{sync}\"")
            }
            Target::Stderr => Ok(()),
        }
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "name = {}", quoted(&self.name))?;
        writeln!(f, "path = {}", quoted_path(&self.path))?;
        writeln!(f, "mode = \"{}\"", self.mode)?;
        optional(f, "owner", self.owner.as_ref())?;
        optional(f, "group", self.group.as_ref())?;
        writeln!(f, "priority = \"{}\"", self.priority)?;
        writeln!(f, "max_record = \"{}\"", Size(self.max_record))?;
        writeln!(f, "flush_after = \"{}\"", Span(self.flush_after))?;
        write!(f, "[pipe.log]\n{}", self.log)
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "enable = {}", self.enable)?;
        writeln!(f, "socket = {}", quoted_path(&self.socket))?;
        writeln!(f, "mode = \"{}\"", self.mode)?;
        optional(f, "group", self.group.as_ref())
    }
}
