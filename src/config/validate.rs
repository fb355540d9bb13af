//! From the parsed file to a [`Config`]: defaults, ranges, and combinations that cannot work.
//!
//! Each default stands once: those of the sections here, those of targets in `targets`.

use std::time::Duration;

use toml::Spanned;

use super::error::Fault;
use super::schema::{self, File};
use super::targets::log;
use super::units::{FileMode, Size};
use super::uses::Uses;
use super::values::{account, check_socket_path, choice, mode, named, path, span, span_if};
use super::{Config, Control, Log, Pipe};
use crate::priority::Severity;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest that RFC 5424 allows a MSGID, which is where syslog messages carry the pipe's name.
const PIPE_NAME_MAX: usize = 32;

pub(super) fn validate(file: File) -> Result<Config, Fault> {
    let mut uses = Uses::default();
    let pid_file = path(file.pid_file.as_ref(), "/var/run/bdaemon.pid")?;
    uses.claim(&pid_file, "the pid file", span_if(file.pid_file.as_ref()))?;

    let log_section = file.log.unwrap_or_default();
    let log = log(&log_section, None)?;
    uses.write_to(&log.target, &log_section)?;

    let control_section = file.control.unwrap_or_default();
    let control = control(&control_section)?;
    if control.enable {
        let at = span_if(control_section.socket.as_ref());
        uses.claim(&control.socket, "the control socket", at)?;
    }

    if let (Some(group), None) = (&file.group, &file.user) {
        return Err(Fault::at(group.span(), "only goes with `user`: name the user as well"));
    }

    let mut pipes: Vec<Pipe> = Vec::new();
    let sections = file
        .pipe
        .filter(|list| !list.is_empty())
        .unwrap_or_else(|| vec![Spanned::new(0..0, schema::Pipe::default())]);
    for section in &sections {
        let pipe = pipe(section.get_ref(), &log)?;
        let name_span = section.get_ref().name.as_ref().map_or(section.span(), Spanned::span);
        if pipes.iter().any(|other| other.name == pipe.name) {
            return Err(Fault::at(
                name_span,
                format!("a second pipe named `{}`; each needs a `name` of its own", pipe.name),
            ));
        }
        // The pipe that is there when none is given has no place.
        let written = Some(section.span()).filter(|span| !span.is_empty());
        let at = span_if(section.get_ref().path.as_ref()).or(written);
        uses.claim(&pipe.path, format!("pipe `{}`", pipe.name), at.clone())?;
        uses.claim(&pipe.lock_path(), format!("the lock of pipe `{}`", pipe.name), at)?;
        if let Some(own) = &section.get_ref().log {
            uses.write_to(&pipe.log.target, own)?;
        }
        pipes.push(pipe);
    }

    Ok(Config {
        poll_interval: span(
            file.poll_interval.as_ref(),
            Duration::from_secs(5),
            Duration::from_millis(10)..=DAY,
        )?,
        pid_file,
        log_level: log_level(file.log_level.as_ref())?,
        stop_timeout: span(
            file.stop_timeout.as_ref(),
            Duration::from_secs(10),
            Duration::ZERO..=DAY,
        )?,
        user: account(file.user.as_ref(), "a user")?,
        group: account(file.group.as_ref(), "a group")?,
        log,
        pipes,
        control,
    })
}

fn log_level(key: Option<&Spanned<String>>) -> Result<log::LevelFilter, Fault> {
    choice(key, "a log level", &LOG_LEVELS, log::LevelFilter::Info)
}

/// The names of `log_level`.
pub(crate) const LOG_LEVELS: [(&str, log::LevelFilter); 5] = [
    ("error", log::LevelFilter::Error),
    ("warn", log::LevelFilter::Warn),
    ("info", log::LevelFilter::Info),
    ("debug", log::LevelFilter::Debug),
    ("trace", log::LevelFilter::Trace),
];

fn pipe(section: &schema::Pipe, log_above: &Log) -> Result<Pipe, Fault> {
    let max_record = match &section.max_record {
        None => 8 << 10,
        Some(key) => {
            let Size(bytes) = *key.get_ref();
            if !(16..=16 << 20).contains(&bytes) {
                return Err(Fault::at(key.span(), "must be from 16B to 16MiB"));
            }
            bytes
        }
    };
    Ok(Pipe {
        name: pipe_name(section.name.as_ref())?,
        path: path(section.path.as_ref(), "/var/run/bd_in.pipe")?,
        mode: mode(
            section.mode.as_ref(),
            FileMode(0o620),
            0o600,
            "the owner must be able to read and write (0600)",
        )?,
        owner: account(section.owner.as_ref(), "a user")?,
        group: account(section.group.as_ref(), "a group")?,
        priority: match &section.priority {
            None => Severity::Info,
            Some(key) => named(key, "a severity", &Severity::ALL.map(Severity::name))?,
        },
        max_record,
        flush_after: span(
            section.flush_after.as_ref(),
            Duration::from_millis(200),
            Duration::ZERO..=DAY,
        )?,
        log: match &section.log {
            None => log_above.clone(),
            Some(own) => log(own, Some(log_above))?,
        },
    })
}

fn control(section: &schema::Control) -> Result<Control, Fault> {
    let socket = path(section.socket.as_ref(), "/var/run/bdaemon.sock")?;
    check_socket_path(&socket, span_if(section.socket.as_ref()).unwrap_or_default())?;
    Ok(Control {
        enable: section.enable.as_ref().is_none_or(|key| *key.get_ref()),
        socket,
        mode: mode(
            section.mode.as_ref(),
            FileMode(0o660),
            0o600,
            "the owner must be able to read and write (0600)",
        )?,
        group: account(section.group.as_ref(), "a group")?,
    })
}

fn pipe_name(key: Option<&Spanned<String>>) -> Result<String, Fault> {
    let Some(key) = key else { return Ok("default".to_owned()) };
    let name = key.get_ref();
    let fits = (1..=PIPE_NAME_MAX).contains(&name.len());
    if fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
        return Ok(name.clone());
    }
    let text = format!("a name has 1 to {PIPE_NAME_MAX} letters, digits, `_` or `-`");
    Err(Fault::at(key.span(), text))
}
