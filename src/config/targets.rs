//! `[log]` and `[pipe.log]`: the target, and what stands before each message.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use toml::Spanned;

use super::error::Fault;
use super::schema;
use super::units::FileMode;
use super::values::{check_socket_path, checked_path, choice, mode, named, path, span_if};
use super::{Address, FileFormat, Log, Sync, SyslogFormat, Target};
use crate::priority::Facility;

/// syslogd on FreeBSD looks no further for a tag's end.
const TAG_MAX: usize = 48;

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
pub(super) fn log(section: &schema::Log, above: Option<&Log>) -> Result<Log, Fault> {
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
fn default_syslog_format(address: &Address) -> SyslogFormat {
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
