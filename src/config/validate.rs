//! From the parsed file to a [`Config`]: defaults, ranges, and combinations that cannot work.
//!
//! Each default stands here and nowhere else.

use std::net::Ipv6Addr;
use std::ops::{Range, RangeInclusive};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use nix::libc::mode_t;
use toml::Spanned;

use super::error::{Fault, nearest};
use super::schema::{self, File};
use super::units::{FileMode, Size, Span};
use super::uses::Uses;
use super::{Address, Config, Control, FileFormat, Log, Pipe, Sync, SyslogFormat, Target};
use crate::priority::{Facility, Severity};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a local socket's address holds on FreeBSD, `sun_path` less its NUL. Linux holds four
/// bytes more; a configuration is to work on both.
const SOCKET_PATH_MAX: usize = 103;

/// syslogd on FreeBSD looks no further for a tag's end.
const TAG_MAX: usize = 48;

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
pub(super) const LOG_LEVELS: [(&str, log::LevelFilter); 5] = [
    ("error", log::LevelFilter::Error),
    ("warn", log::LevelFilter::Warn),
    ("info", log::LevelFilter::Info),
    ("debug", log::LevelFilter::Debug),
    ("trace", log::LevelFilter::Trace),
];

const TARGETS: [(&str, Kind); 3] =
    [("syslog", Kind::Syslog), ("file", Kind::File), ("stderr", Kind::Stderr)];
const SYSLOG_FORMATS: [(&str, SyslogFormat); 2] =
    [("rfc5424", SyslogFormat::Rfc5424), ("rfc3164", SyslogFormat::Rfc3164)];
const FILE_FORMATS: [(&str, FileFormat); 2] =
    [("text", FileFormat::Text), ("json", FileFormat::Json)];
const SYNCS: [(&str, Sync); 2] = [("never", Sync::Never), ("always", Sync::Always)];

/// The kind of a target, before its settings are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syslog,
    File,
    Stderr,
}

impl Kind {
    fn of(target: &Target) -> Self {
        match target {
            Target::Syslog { .. } => Self::Syslog,
            Target::File { .. } => Self::File,
            Target::Stderr => Self::Stderr,
        }
    }
}

/// `[log]`, or a `[pipe.log]` that takes from `above` what it does not say itself: tag, facility
/// and target always, the target's settings where it is of the same kind.
fn log(section: &schema::Log, above: Option<&Log>) -> Result<Log, Fault> {
    let default_kind = above.map_or(Kind::Syslog, |log| Kind::of(&log.target));
    let kind = choice(section.target.as_ref(), "a target", &TARGETS, default_kind)?;
    refuse_foreign_keys(section, kind)?;

    let facility = match &section.facility {
        None => above.map_or(Facility::DAEMON, |log| log.facility),
        Some(key) => named(key, "a facility", Facility::names())?,
    };
    let tag = match &section.tag {
        None => above.map_or_else(|| "bdaemon".to_owned(), |log| log.tag.clone()),
        Some(key) => tag(key)?,
    };
    let inherited = above.map(|log| &log.target);
    let target = match kind {
        Kind::Syslog => syslog(section, inherited)?,
        Kind::File => log_file(section, inherited)?,
        Kind::Stderr => Target::Stderr,
    };
    Ok(Log { facility, tag, target })
}

fn syslog(section: &schema::Log, inherited: Option<&Target>) -> Result<Target, Fault> {
    let (above_address, above_format) = match inherited {
        Some(Target::Syslog { address, format }) => (Some(address.clone()), Some(*format)),
        _ => (None, None),
    };
    let address = match &section.address {
        Some(key) => address(key)?,
        None => above_address.clone().unwrap_or_else(Address::local),
    };
    // The format above was chosen for the address above.
    let default = above_format
        .filter(|_| above_address.as_ref() == Some(&address))
        .unwrap_or_else(|| default_syslog_format(&address));
    let format =
        choice(section.format.as_ref(), "a format of syslog messages", &SYSLOG_FORMATS, default)?;
    Ok(Target::Syslog { address, format })
}

/// RFC 5424, which FreeBSD's own syslog(3) sends; what listens on Linux's local socket expects
/// the older form, which is all that its syslog(3) knows.
pub(super) fn default_syslog_format(address: &Address) -> SyslogFormat {
    match address {
        Address::Unix(_) if cfg!(target_os = "linux") => SyslogFormat::Rfc3164,
        _ => SyslogFormat::Rfc5424,
    }
}

fn log_file(section: &schema::Log, inherited: Option<&Target>) -> Result<Target, Fault> {
    let above = match inherited {
        Some(Target::File { path, mode, format, sync }) => (path.clone(), *mode, *format, *sync),
        _ => {
            (PathBuf::from("/var/log/bdaemon.log"), FileMode(0o640), FileFormat::Text, Sync::Never)
        }
    };
    Ok(Target::File {
        path: match &section.path {
            None => above.0,
            Some(_) => path(section.path.as_ref(), "")?,
        },
        mode: mode(
            section.mode.as_ref(),
            above.1,
            0o200,
            "the owner must be able to write (0200)",
        )?,
        format: choice(
            section.format.as_ref(),
            "a format of lines in a file",
            &FILE_FORMATS,
            above.2,
        )?,
        sync: choice(section.sync.as_ref(), "a way to sync", &SYNCS, above.3)?,
    })
}

/// Keys that the chosen target does not have.
fn refuse_foreign_keys(section: &schema::Log, kind: Kind) -> Result<(), Fault> {
    let address = span_if(section.address.as_ref());
    let file_only = [
        span_if(section.path.as_ref()),
        span_if(section.mode.as_ref()),
        span_if(section.sync.as_ref()),
    ];
    let foreign = match kind {
        Kind::Syslog => file_only.into_iter().flatten().next(),
        Kind::File => address,
        Kind::Stderr => file_only.into_iter().chain([address]).flatten().next(),
    };
    let advice = match kind {
        Kind::Syslog => "goes with target = \"file\", and this target is \"syslog\"",
        Kind::File => "goes with target = \"syslog\", and this target is \"file\"",
        Kind::Stderr => "does not go with target = \"stderr\"",
    };
    // A format of the other kind tells of a `target` that was left out.
    let format_of_other = section.format.as_ref().filter(|format| {
        let is_one = |names: [&str; 2]| names.contains(&format.get_ref().as_str());
        match kind {
            Kind::Syslog => is_one(FILE_FORMATS.map(|(name, _)| name)),
            Kind::File => is_one(SYSLOG_FORMATS.map(|(name, _)| name)),
            Kind::Stderr => true,
        }
    });
    let foreign = foreign.or_else(|| span_if(format_of_other));
    foreign.map_or(Ok(()), |span| Err(Fault::at(span, advice)))
}

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

pub(super) fn span_if<T>(key: Option<&Spanned<T>>) -> Option<Range<usize>> {
    key.map(Spanned::span)
}

fn span(
    key: Option<&Spanned<Span>>,
    default: Duration,
    allowed: RangeInclusive<Duration>,
) -> Result<Duration, Fault> {
    let Some(key) = key else { return Ok(default) };
    let Span(span) = *key.get_ref();
    if allowed.contains(&span) {
        return Ok(span);
    }
    let text = format!("must be from {} to {}", Span(*allowed.start()), Span(*allowed.end()));
    Err(Fault::at(key.span(), text))
}

fn mode(
    key: Option<&Spanned<FileMode>>,
    default: FileMode,
    needed: mode_t,
    why: &str,
) -> Result<FileMode, Fault> {
    let Some(key) = key else { return Ok(default) };
    let mode = *key.get_ref();
    if mode.0 & needed == needed { Ok(mode) } else { Err(Fault::at(key.span(), why)) }
}

/// One of a few words, each with its value.
fn choice<T: Copy>(
    key: Option<&Spanned<String>>,
    what: &str,
    choices: &[(&str, T)],
    default: T,
) -> Result<T, Fault> {
    let Some(key) = key else { return Ok(default) };
    let found = choices.iter().find(|(name, _)| name == key.get_ref());
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    found.map(|(_, value)| *value).ok_or_else(|| not_one_of(key, what, &names))
}

/// A name that knows how to read itself.
fn named<T: FromStr>(key: &Spanned<String>, what: &str, names: &[&str]) -> Result<T, Fault> {
    key.get_ref().parse().map_err(|_| not_one_of(key, what, names))
}

fn not_one_of(key: &Spanned<String>, what: &str, names: &[&str]) -> Fault {
    let word = key.get_ref();
    let guess = nearest(word, names.iter().copied())
        .map_or(String::new(), |near| format!("did you mean \"{near}\"? "));
    Fault::at(key.span(), format!("\"{word}\" is not {what}; {guess}allowed: {}", names.join(", ")))
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

fn tag(key: &Spanned<String>) -> Result<String, Fault> {
    let tag = key.get_ref();
    let fits = (1..=TAG_MAX).contains(&tag.len());
    if fits && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-/".contains(&b)) {
        return Ok(tag.clone());
    }
    let text = format!(
        "a tag has 1 to {TAG_MAX} letters, digits, `_`, `-` or `/`: syslogd recognises no others"
    );
    Err(Fault::at(key.span(), text))
}

/// The name of a user or group, or its number.
fn account(key: Option<&Spanned<String>>, what: &str) -> Result<Option<String>, Fault> {
    let Some(key) = key else { return Ok(None) };
    let name = key.get_ref();
    if name.is_empty()
        || name.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control() || b == b':')
    {
        let text = format!("\"{name}\" is not {what}; write one name, or one number");
        return Err(Fault::at(key.span(), text));
    }
    Ok(Some(name.clone()))
}

fn path(key: Option<&Spanned<String>>, default: &str) -> Result<PathBuf, Fault> {
    let Some(key) = key else { return Ok(PathBuf::from(default)) };
    checked_path(key.get_ref()).map_err(|why| Fault::at(key.span(), why))
}

fn checked_path(text: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err("write an absolute path: a daemon works in /");
    }
    if text.contains('\0') {
        return Err("a path has no NUL");
    }
    if text.ends_with('/') || text.ends_with("/.") || path.file_name().is_none() {
        return Err("write the path of a file, not of a directory");
    }
    // Two spellings of one path would escape the check that each path is used once.
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("write the path without `..`");
    }
    Ok(path.components().collect())
}

fn check_socket_path(path: &Path, span: Range<usize>) -> Result<(), Fault> {
    let length = path.as_os_str().len();
    if length <= SOCKET_PATH_MAX {
        return Ok(());
    }
    let text = format!("is {length} bytes long; a socket's path has at most {SOCKET_PATH_MAX}");
    Err(Fault::at(span, text))
}

fn address(key: &Spanned<String>) -> Result<Address, Fault> {
    const ALLOWED: &str = r#"write "unix:/path", "udp:host:514" or "tcp:host:514""#;
    let text = key.get_ref();
    let wrong = || Fault::at(key.span(), format!("\"{text}\" is not an address; {ALLOWED}"));
    let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
    if scheme == "unix" {
        let path = checked_path(rest).map_err(|why| Fault::at(key.span(), why))?;
        check_socket_path(&path, key.span())?;
        return Ok(Address::Unix(path));
    }
    let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    if matches!(scheme, "udp" | "tcp") && host.parse::<Ipv6Addr>().is_ok() {
        let text = format!("an IPv6 address goes in brackets; write \"{scheme}:[{host}]:{port}\"");
        return Err(Fault::at(key.span(), text));
    }
    if !is_host_name(host) && !is_bracketed_address(host) {
        return Err(wrong());
    }
    let host = host.to_owned();
    match scheme {
        "udp" => Ok(Address::Udp { host, port }),
        "tcp" => Ok(Address::Tcp { host, port }),
        _ => Err(wrong()),
    }
}

/// A name, or an IPv4 address. The resolver says whether there is such a host.
fn is_host_name(host: &str) -> bool {
    !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

/// An IPv6 address in brackets, with its zone where it has one: `[fe80::1%em0]`.
fn is_bracketed_address(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let address = inner.map(|inner| inner.split_once('%').map_or(inner, |(address, _)| address));
    address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}
