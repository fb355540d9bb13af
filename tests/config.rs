//! The configuration file: what it may say, and what is said of one that is wrong.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bdaemon::config::{
    self, Address, Config, ConfigError, Control, FileFormat, FileMode, Log, Pipe, Sync,
    SyslogFormat, Target,
};
use bdaemon::exit::Sysexit;
use bdaemon::priority::Severity;

/// As packaged: FreeBSD's defaults, and the settings that are set.
const SAMPLE: &str = include_str!("../conf/bdaemon.toml.sample");

fn parse(source: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("bdaemon.toml"), source)
}

fn parsed(source: &str) -> Config {
    parse(source).unwrap_or_else(|error| panic!("{error}\n{source}"))
}

/// Files with one fault each, by what is wrong with them.
const BAD_FILES: &[(&str, &str)] = &[
    // Keys that are not known.
    ("a misspelt key at the top", "poll_intervall = \"5s\"\n"),
    ("half a key at the top", "poll = \"5s\"\n"),
    ("a key that nothing resembles", "colour = \"green\"\n"),
    ("a misspelt section", "[logs]\ntarget = \"file\"\n"),
    ("a section that nothing resembles", "[network]\nport = 514\n"),
    ("a misspelt key in [log]", "[log]\ntarget = \"syslog\"\nfacillity = \"daemon\"\n"),
    ("a misspelt key in [[pipe]]", "[[pipe]]\nname = \"a\"\nmax_records = \"8KiB\"\n"),
    ("a misspelt key in [pipe.log]", "[[pipe]]\n[pipe.log]\ntargets = \"stderr\"\n"),
    ("a misspelt key in [control]", "[control]\nenabled = true\n"),
    ("a key with a dash", "pid-file = \"/var/run/bdaemon.pid\"\n"),
    ("a key in capitals", "[log]\nTag = \"bdaemon\"\n"),
    ("a key of the top in a section", "[control]\nenable = true\nstop_timeout = \"10s\"\n"),
    ("a key of [log] at the top", "facility = \"daemon\"\n"),
    ("a key of [[pipe]] in [log]", "[log]\nmax_record = \"8KiB\"\n"),
    (
        "a key of [[pipe]] below [pipe.log]",
        "[[pipe]]\n[pipe.log]\ntarget = \"stderr\"\nname = \"a\"\n",
    ),
    ("a key of [control] in [[pipe]]", "[[pipe]]\nsocket = \"/var/run/bdaemon.sock\"\n"),
    ("a key of several sections in [log]", "[log]\ngroup = \"wheel\"\n"),
    ("a key of several sections at the top", "mode = \"0620\"\n"),
    ("a quoted key with a newline", "\"poll\\ninterval\" = \"5s\"\n"),
    // Sections that are not written as sections.
    ("one bracket around pipe", "[pipe]\nname = \"a\"\n"),
    ("a string for pipe", "pipe = \"/var/run/bd_in.pipe\"\n"),
    ("a list of strings for pipe", "pipe = [\"/var/run/bd_in.pipe\"]\n"),
    ("a string for [log]", "log = \"syslog\"\n"),
    ("two brackets around log", "[[log]]\ntarget = \"syslog\"\n"),
    ("a string for [pipe.log]", "[[pipe]]\nlog = \"syslog\"\n"),
    ("[pipe.log] with no [[pipe]] before it", "[pipe.log]\ntarget = \"stderr\"\n"),
    ("a boolean for [control]", "control = false\n"),
    ("two [log] sections", "[log]\ntag = \"a\"\n[log]\ntag = \"b\"\n"),
    // Values of another type.
    ("a boolean for a duration", "poll_interval = true\n"),
    ("a list for a duration", "[[pipe]]\nflush_after = [1, 2]\n"),
    ("a date for a duration", "stop_timeout = 2026-11-22\n"),
    ("a number for a path", "pid_file = 5\n"),
    ("a number for a user", "user = 1001\n"),
    ("a number for a group", "[control]\ngroup = 0\n"),
    ("a boolean for a level", "log_level = true\n"),
    ("a number for a severity", "[[pipe]]\npriority = 6\n"),
    ("a section for a target", "[log.target]\nsyslog = true\n"),
    ("a string for a boolean", "[control]\nenable = \"yes\"\n"),
    ("a number for a boolean", "[control]\nenable = 1\n"),
    ("a fraction for a size", "[[pipe]]\nmax_record = 8.5\n"),
    ("a boolean for a size", "[[pipe]]\nmax_record = true\n"),
    ("a decimal number for a mode", "[[pipe]]\nmode = 620\n"),
    ("an octal number for a mode", "[control]\nmode = 0o660\n"),
    ("a fraction for a mode", "[log]\ntarget = \"file\"\nmode = 6.4\n"),
    // Not TOML.
    ("a bare number with a zero for a mode", "[[pipe]]\nname = \"a\"\nmode = 0620\n"),
    ("no quotes around a word", "[log]\ntarget = syslog\n"),
    ("no quotes around a path", "pid_file = /var/run/bdaemon.pid\n"),
    ("no quotes around a duration", "poll_interval = 5s\n"),
    ("no closing quote", "[log]\ntag = \"bdaemon\nfacility = \"daemon\"\n"),
    ("no value", "[control]\nsocket =\n"),
    ("no equals sign", "poll_interval \"5s\"\n"),
    ("a colon for an equals sign", "poll_interval: 5s\n"),
    ("no closing bracket", "[log\ntarget = \"syslog\"\n"),
    ("one closing bracket", "[[pipe]\nname = \"a\"\n"),
    ("two values on a line", "user = \"bdaemon\" group = \"bdaemon\"\n"),
    ("a key twice", "log_level = \"info\"\nuser = \"bdaemon\"\nlog_level = \"debug\"\n"),
    ("an unknown escape", "pid_file = \"\\var\\run\"\n"),
    ("a semicolon for a comment", "; bdaemon\nuser = \"bdaemon\"\n"),
    // Durations, sizes and modes.
    ("a duration in an unknown unit", "poll_interval = \"5 parsecs\"\n"),
    ("a duration without a number", "stop_timeout = \"s\"\n"),
    ("an empty duration", "stop_timeout = \"\"\n"),
    ("a negative duration", "poll_interval = \"-5s\"\n"),
    ("a negative number of seconds", "[[pipe]]\nflush_after = -1\n"),
    ("a duration that is no number", "poll_interval = nan\n"),
    ("a duration without end", "stop_timeout = inf\n"),
    ("too short a poll interval", "poll_interval = \"1ms\"\n"),
    ("no poll interval", "poll_interval = 0\n"),
    ("too long a poll interval", "poll_interval = \"25h\"\n"),
    ("too long a stop timeout", "stop_timeout = 86401\n"),
    ("too long a wait for a tail", "[[pipe]]\nflush_after = \"48h\"\n"),
    ("a size in an unknown unit", "[[pipe]]\nmax_record = \"8 elephants\"\n"),
    ("a size in kb", "[[pipe]]\nmax_record = \"8kb\"\n"),
    ("a negative size", "[[pipe]]\nmax_record = -1\n"),
    ("too small a size", "[[pipe]]\nmax_record = \"15B\"\n"),
    ("too large a size", "[[pipe]]\nmax_record = \"1GiB\"\n"),
    ("a size that no machine counts to", "[[pipe]]\nmax_record = \"99999999999GiB\"\n"),
    ("a mode that is not octal", "[[pipe]]\nmode = \"0689\"\n"),
    ("a mode in letters", "[[pipe]]\nmode = \"rw--w----\"\n"),
    ("a mode with the setuid bit", "[log]\ntarget = \"file\"\nmode = \"4640\"\n"),
    ("a pipe that its owner cannot read", "[[pipe]]\nmode = \"0220\"\n"),
    ("a log file that its owner cannot write", "[log]\ntarget = \"file\"\nmode = \"0444\"\n"),
    ("a socket that its owner cannot use", "[control]\nmode = \"0060\"\n"),
    // Words.
    ("a log level of syslog", "log_level = \"warning\"\n"),
    ("a misspelt log level", "log_level = \"debgu\"\n"),
    ("an unknown log level", "log_level = \"loud\"\n"),
    ("a misspelt target", "[log]\ntarget = \"sylog\"\n"),
    ("an unknown target", "[[pipe]]\n[pipe.log]\ntarget = \"database\"\n"),
    ("a misspelt facility", "[log]\nfacility = \"deamon\"\n"),
    ("a facility in capitals", "[log]\nfacility = \"LOCAL7\"\n"),
    ("an unknown facility", "[[pipe]]\n[pipe.log]\nfacility = \"local8\"\n"),
    ("a misspelt severity", "[[pipe]]\npriority = \"notcie\"\n"),
    ("a severity in full", "[[pipe]]\npriority = \"critical\"\n"),
    ("a severity as a number", "[[pipe]]\npriority = \"6\"\n"),
    ("a misspelt format", "[log]\nformat = \"rfc5242\"\n"),
    ("an unknown format of lines", "[log]\ntarget = \"file\"\nformat = \"xml\"\n"),
    ("an unknown way to sync", "[log]\ntarget = \"file\"\nsync = \"sometimes\"\n"),
    ("a word with a newline", "[log]\ntarget = \"\"\"\nsys\nlog\"\"\"\n"),
    // Names and tags.
    ("an empty name", "[[pipe]]\nname = \"\"\n"),
    ("a name with a blank", "[[pipe]]\nname = \"my pipe\"\n"),
    ("too long a name", "[[pipe]]\nname = \"a-name-of-more-than-thirty-two-chars\"\n"),
    ("an empty tag", "[log]\ntag = \"\"\n"),
    ("a tag with a colon", "[log]\ntag = \"bdaemon:\"\n"),
    ("a tag that is not ASCII", "[log]\ntag = \"démon\"\n"),
    ("too long a tag", "[log]\ntag = \"a-tag-of-more-than-forty-eight-characters-is-too-long\"\n"),
    ("an empty user", "user = \"\"\n"),
    ("a user with a group", "user = \"bdaemon:bdaemon\"\n"),
    ("an owner with a blank", "[[pipe]]\nowner = \"b daemon\"\n"),
    ("a group without a user", "group = \"bdaemon\"\n"),
    // Paths.
    ("a relative pid file", "pid_file = \"bdaemon.pid\"\n"),
    ("a relative pipe", "[[pipe]]\npath = \"./in.pipe\"\n"),
    ("a relative socket", "[control]\nsocket = \"run/bdaemon.sock\"\n"),
    ("a relative log file", "[log]\ntarget = \"file\"\npath = \"bdaemon.log\"\n"),
    ("an empty path", "[[pipe]]\npath = \"\"\n"),
    ("a path in a home directory", "[[pipe]]\npath = \"~/in.pipe\"\n"),
    ("a directory for a pid file", "pid_file = \"/var/run/\"\n"),
    ("the root directory for a pipe", "[[pipe]]\npath = \"/\"\n"),
    ("the directory above for a pipe", "[[pipe]]\npath = \"/var/run/..\"\n"),
    ("a path that turns back", "pid_file = \"/var/run/../db/bdaemon.pid\"\n"),
    ("a path with a NUL", "pid_file = \"/var/run/b\\u0000.pid\"\n"),
    ("a pipe with a tail that has no name", "[[pipe]]\npath = \"/var/run/in.pipe/.\"\n"),
    (
        "too long a path of a socket",
        "[control]\nsocket = \"/var/run/a/directory/that/lies/so/deep/below/others/that/what/is/\
         in/it/has/no/place/in/the/address/of/a/socket\"\n",
    ),
    // One path for two.
    (
        "a pipe at the pid file's path",
        "pid_file = \"/var/run/x\"\n[[pipe]]\npath = \"/var/run/x\"\n",
    ),
    ("a pid file at the default pipe's path", "pid_file = \"/var/run/bd_in.pipe\"\n"),
    (
        "a pid file at the default socket's path",
        "user = \"bdaemon\"\npid_file = \"/var/run/bdaemon.sock\"\n",
    ),
    (
        "a log file at the default socket's path",
        "[log]\ntarget = \"file\"\npath = \"/var/run/bdaemon.sock\"\n",
    ),
    (
        "a log file at the default pipe's path",
        "[log]\ntarget = \"file\"\npath = \"/var/run/bd_in.pipe\"\n",
    ),
    (
        "a pipe at the socket's path",
        "[[pipe]]\npath = \"/var/run/x\"\n[control]\nsocket = \"/var/run/x\"\n",
    ),
    ("a socket at the default pid file's path", "[control]\nsocket = \"/var/run/bdaemon.pid\"\n"),
    (
        "a pipe's log file at the pipe's path",
        "[[pipe]]\npath = \"/var/run/x\"\n[pipe.log]\ntarget = \"file\"\npath = \"/var/run/x\"\n",
    ),
    (
        "a pipe at a log file's path",
        "[log]\ntarget = \"file\"\npath = \"/var/log/x\"\n[[pipe]]\npath = \"/var/log//x\"\n",
    ),
    (
        "a log file at a lock's path",
        "[log]\ntarget = \"file\"\npath = \"/var/run/x.lock\"\n[[pipe]]\npath = \"/var/run/x\"\n",
    ),
    (
        "a pipe at another's lock's path",
        "[[pipe]]\nname = \"a\"\npath = \"/var/run/x\"\n\
         [[pipe]]\nname = \"b\"\npath = \"/var/run/x.lock\"\n",
    ),
    (
        "a pipe whose lock is another pipe",
        "[[pipe]]\nname = \"a\"\npath = \"/var/run/x.lock\"\n\
         [[pipe]]\nname = \"b\"\npath = \"/var/run/x\"\n",
    ),
    ("a pid file at the default pipe's lock's path", "pid_file = \"/var/run/bd_in.pipe.lock\"\n"),
    (
        "two pipes at one path",
        "[[pipe]]\nname = \"a\"\npath = \"/var/run/x\"\n\
         [[pipe]]\nname = \"b\"\npath = \"/var/run/./x\"\n",
    ),
    (
        "two pipes without a path",
        "[[pipe]]\nname = \"a\"\npath = \"/var/run/x\"\n\
         [[pipe]]\nname = \"b\"\n[[pipe]]\nname = \"c\"\n",
    ),
    (
        "two pipes of one name",
        "[[pipe]]\nname = \"a\"\n[[pipe]]\nname = \"a\"\npath = \"/var/run/x\"\n",
    ),
    ("two pipes without a name", "[[pipe]]\n[[pipe]]\npath = \"/var/run/x\"\n"),
    (
        "one log file with two modes",
        "[log]\ntarget = \"file\"\npath = \"/var/log/x\"\n\
         [[pipe]]\n[pipe.log]\nmode = \"0600\"\n",
    ),
    (
        "one log file synced and not",
        "[[pipe]]\nname = \"a\"\n[pipe.log]\ntarget = \"file\"\npath = \"/var/log/x\"\n\
         [[pipe]]\nname = \"b\"\npath = \"/var/run/b\"\n\
         [pipe.log]\nsync = \"always\"\ntarget = \"file\"\npath = \"/var/log/x\"\n",
    ),
    // Keys of a target that was not chosen.
    ("a path for syslog", "[log]\npath = \"/var/log/bdaemon.log\"\n"),
    ("a mode for syslog", "[log]\ntarget = \"syslog\"\nmode = \"0640\"\n"),
    ("a way to sync for syslog", "[[pipe]]\n[pipe.log]\nsync = \"always\"\n"),
    ("json for syslog", "[log]\nformat = \"json\"\n"),
    ("an address for a file", "[log]\ntarget = \"file\"\naddress = \"unix:/var/run/log\"\n"),
    ("rfc5424 for a file", "[log]\ntarget = \"file\"\nformat = \"rfc5424\"\n"),
    ("a path for stderr", "[log]\ntarget = \"stderr\"\npath = \"/var/log/bdaemon.log\"\n"),
    ("a format for stderr", "[log]\ntarget = \"stderr\"\nformat = \"text\"\n"),
    (
        "an address for a pipe under a file",
        "[log]\ntarget = \"file\"\n[[pipe]]\n[pipe.log]\naddress = \"udp:loghost:514\"\n",
    ),
    // Addresses.
    ("an address without a scheme", "[log]\naddress = \"/var/run/log\"\n"),
    ("a host alone", "[log]\naddress = \"loghost\"\n"),
    ("an unknown scheme", "[log]\naddress = \"tls:loghost:6514\"\n"),
    ("an address without a port", "[log]\naddress = \"udp:loghost\"\n"),
    ("a port that is no number", "[log]\naddress = \"udp:loghost:syslog\"\n"),
    ("port 0", "[log]\naddress = \"tcp:loghost:0\"\n"),
    ("a port over 65535", "[log]\naddress = \"tcp:loghost:65536\"\n"),
    ("an address without a host", "[log]\naddress = \"udp::514\"\n"),
    ("an IPv6 address without brackets", "[log]\naddress = \"udp:2001:db8::1:514\"\n"),
    ("an IPv6 address without a scheme", "[log]\naddress = \"2001:db8::1:514\"\n"),
    ("brackets around nothing", "[log]\naddress = \"udp:[]:514\"\n"),
    ("brackets around a name", "[log]\naddress = \"udp:[loghost]:514\"\n"),
    ("a relative local address", "[log]\naddress = \"unix:log\"\n"),
    ("an address like a URL", "[log]\naddress = \"udp://loghost:514\"\n"),
    (
        "too long a local address",
        "[log]\naddress = \"unix:/var/run/a/directory/that/lies/so/deep/below/others/that/what/\
         is/in/it/has/no/place/in/the/address/of/a/socket\"\n",
    ),
];

#[test]
fn a_bad_file_is_refused_with_the_line_the_column_the_key_and_what_is_allowed() {
    let mut messages = String::new();
    for (name, source) in BAD_FILES {
        let Err(error) = parse(source) else { panic!("{name}: accepted\n{source}") };
        let message = error.to_string();
        let ConfigError::Wrong { place, key, .. } = &error else { panic!("{name}: {message}") };
        assert!(message.starts_with(&format!("bdaemon.toml:{place}: ")), "{name}: {message}");
        assert!((1..=source.lines().count()).contains(&place.line), "{name}: {message}");
        assert!(place.column >= 1, "{name}: {message}");
        assert!(!message.contains(char::is_control), "{name}: {message}");
        let has_key = !message.contains("key with no value");
        assert_eq!(has_key, !key.is_empty(), "{name}: {message}");
        assert_eq!(error.exit(), Sysexit::Config, "{name}");
        writeln!(messages, "{name}:\n    {message}").unwrap();
    }
    insta::assert_snapshot!("bad_files", messages);
}

#[test]
fn a_file_damaged_anywhere_is_read_or_refused_in_one_line() {
    for (at, character) in EVERY_KEY.char_indices() {
        let (before, after) = (&EVERY_KEY[..at], &EVERY_KEY[at + character.len_utf8()..]);
        let changed =
            ["", "\"", "=", "\n", "ż", "\u{0}"].map(|instead| format!("{before}{instead}{after}"));
        for source in changed.into_iter().chain([before.to_owned()]) {
            let Err(error) = parse(&source) else { continue };
            let message = error.to_string();
            assert!(message.starts_with("bdaemon.toml:"), "{message}\n{source}");
            assert!(!message.contains(char::is_control), "{message}\n{source}");
        }
    }
}

#[test]
fn a_column_counts_characters() {
    let message = |source| parse(source).unwrap_err().to_string();
    let pipe = "pipe = [{ name = \"α\" }]\n";
    assert!(message(pipe).starts_with("bdaemon.toml:1:18: pipe.name: "), "{}", message(pipe));
    let marked = "\u{feff}usr = 1\n";
    assert!(message(marked).starts_with("bdaemon.toml:1:1: usr: "), "{}", message(marked));
    let level = "user = \"żółw\" # α\r\n\tlog_level = 'loud'\r\n";
    assert!(message(level).starts_with("bdaemon.toml:2:14: log_level: "), "{}", message(level));
}

#[test]
fn a_named_file_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bdaemon.toml");
    let error = Config::load(Some(&path)).unwrap_err();
    let expected = format!("{}: No such file or directory", path.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.exit(), Sysexit::Config);

    fs::write(&path, "log_level = \"debug\"\n").unwrap();
    assert_eq!(Config::load(Some(&path)).unwrap(), parsed("log_level = \"debug\"\n"));
}

#[test]
fn a_file_in_another_encoding_is_refused_with_the_place_of_its_first_foreign_letter() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bdaemon.toml");
    fs::write(&path, b"# Tee\nuser = \"gr\xfcn\"\n").unwrap();
    let error = Config::load(Some(&path)).unwrap_err();
    let expected = format!("{}:2:11: user: not UTF-8, which TOML is written in", path.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.exit(), Sysexit::Config);
}

#[test]
fn a_file_that_says_nothing_means_the_built_in_defaults() {
    for source in ["", "\n", "# nothing\n", "[log]\n[control]\n", "[[pipe]]\n", "pipe = []\n"] {
        assert_eq!(parsed(source), Config::default(), "{source:?}");
    }
}

const EVERY_KEY: &str = r#"
poll_interval = "1m30s"
pid_file = "/var/run/bd/pid"
log_level = "trace"
stop_timeout = "1h"
user = "daemon"
group = "1"

[log]
target = "file"
facility = "local7"
tag = "bd/own-1"
path = "/var/log/bd/own.log"
mode = "0600"
format = "json"
sync = "always"

[[pipe]]
name = "audit_1"
path = "/var/run/bd/audit.pipe"
mode = "0622"
owner = "root"
group = "0"
priority = "warn"
max_record = "1MiB"
flush_after = "1s"

[pipe.log]
target = "syslog"
facility = "security"
tag = "audit"
address = "tcp:[2001:db8::1]:601"
format = "rfc3164"

[[pipe]]
name = "noise"
path = "/var/run/bd/noise.pipe"

[pipe.log]
target = "stderr"

[control]
enable = false
socket = "/var/run/bd/sock"
mode = "0600"
group = "wheel"
"#;

#[test]
fn every_key_is_taken_as_it_is_set() {
    let own = Log {
        facility: "local7".parse().unwrap(),
        tag: "bd/own-1".to_owned(),
        target: Target::File {
            path: PathBuf::from("/var/log/bd/own.log"),
            mode: FileMode(0o600),
            format: FileFormat::Json,
            sync: Sync::Always,
        },
    };
    let audit = Pipe {
        name: "audit_1".to_owned(),
        path: PathBuf::from("/var/run/bd/audit.pipe"),
        mode: FileMode(0o622),
        owner: Some("root".to_owned()),
        group: Some("0".to_owned()),
        priority: Severity::Warning,
        max_record: 1 << 20,
        flush_after: Duration::from_secs(1),
        log: Log {
            facility: "security".parse().unwrap(),
            tag: "audit".to_owned(),
            target: Target::Syslog {
                address: Address::Tcp { host: "[2001:db8::1]".to_owned(), port: 601 },
                format: SyslogFormat::Rfc3164,
            },
        },
    };
    let noise = Pipe {
        name: "noise".to_owned(),
        path: PathBuf::from("/var/run/bd/noise.pipe"),
        log: Log { target: Target::Stderr, ..own.clone() },
        ..Config::default().pipes.remove(0)
    };
    let expected = Config {
        poll_interval: Duration::from_secs(90),
        pid_file: PathBuf::from("/var/run/bd/pid"),
        log_level: log::LevelFilter::Trace,
        stop_timeout: Duration::from_secs(3600),
        user: Some("daemon".to_owned()),
        group: Some("1".to_owned()),
        log: own,
        pipes: vec![audit, noise],
        control: Control {
            enable: false,
            socket: PathBuf::from("/var/run/bd/sock"),
            mode: FileMode(0o600),
            group: Some("wheel".to_owned()),
        },
    };
    assert_eq!(parsed(EVERY_KEY), expected);
}

const BARE_NUMBERS: &str = "poll_interval = 90\nstop_timeout = 0.25\n\
                            [[pipe]]\nmax_record = 1000\nflush_after = 0\n";

#[test]
fn bare_numbers_are_seconds_and_bytes() {
    let config = parsed(BARE_NUMBERS);
    assert_eq!(config.poll_interval, Duration::from_secs(90));
    assert_eq!(config.stop_timeout, Duration::from_millis(250));
    assert_eq!(config.pipes[0].max_record, 1000);
    assert_eq!(config.pipes[0].flush_after, Duration::ZERO);
}

#[test]
fn ranges_include_both_ends() {
    for (source, expected) in [
        ("poll_interval = \"10ms\"\n", "poll_interval = \"10ms\""),
        ("poll_interval = \"24h\"\n", "poll_interval = \"24h\""),
        ("stop_timeout = 0\n", "stop_timeout = \"0s\""),
        ("[[pipe]]\nmax_record = 16\n", "max_record = \"16B\""),
        ("[[pipe]]\nmax_record = \"16MiB\"\n", "max_record = \"16MiB\""),
        ("[[pipe]]\nmode = \"777\"\n", "mode = \"0777\""),
    ] {
        let shown = parsed(source).to_string();
        assert!(shown.lines().any(|line| line == expected), "{source}{shown}");
    }
}

/// `[log]`, two pipes that say something else of the same kind of target, and one of another kind.
const INHERITED: &str = r#"
[log]
target = "file"
facility = "local3"
tag = "site"
path = "/var/log/site.log"
mode = "0600"
format = "json"
sync = "always"

[[pipe]]
name = "silent"
path = "/var/run/silent.pipe"

[[pipe]]
name = "own-path"
path = "/var/run/own-path.pipe"
log = { path = "/var/log/own.log", tag = "own" }

[[pipe]]
name = "own-target"
path = "/var/run/own-target.pipe"
log = { target = "syslog" }
"#;

#[test]
fn a_pipe_takes_from_log_what_its_own_section_does_not_say() {
    let config = parsed(INHERITED);
    let [silent, own_path, own_target] = &config.pipes[..] else { panic!("{config}") };
    assert_eq!(silent.log, config.log);

    assert_eq!((own_path.log.tag.as_str(), own_path.log.facility.name()), ("own", "local3"));
    let expected = Target::File {
        path: PathBuf::from("/var/log/own.log"),
        mode: FileMode(0o600),
        format: FileFormat::Json,
        sync: Sync::Always,
    };
    assert_eq!(own_path.log.target, expected);

    // The settings of a file mean nothing to syslog.
    let expected = Log { target: Config::default().log.target, ..config.log.clone() };
    assert_eq!(own_target.log, expected);
}

#[test]
fn the_format_of_syslog_messages_goes_with_the_address() {
    let local = if cfg!(target_os = "linux") { "rfc3164" } else { "rfc5424" };
    let other = if cfg!(target_os = "linux") { "rfc5424" } else { "rfc3164" };
    for (log, pipe_log, expected) in [
        ("", "", local),
        ("address = \"unix:/var/run/logpriv\"", "", local),
        ("address = \"udp:loghost:514\"", "", "rfc5424"),
        ("address = \"tcp:10.0.0.1:601\"", "", "rfc5424"),
        ("address = \"udp:[fe80::1%em0]:514\"", "", "rfc5424"),
        ("address = \"udp:loghost:514\"\nformat = \"rfc3164\"", "", "rfc3164"),
        // What [log] says of its address says nothing of another.
        (&format!("format = \"{other}\""), "", other),
        (&format!("format = \"{other}\""), "tag = \"x\"", other),
        ("format = \"rfc3164\"", "address = \"udp:loghost:514\"", "rfc5424"),
        ("address = \"udp:loghost:514\"", "address = \"unix:/var/run/log\"", local),
    ] {
        let source = format!("[log]\n{log}\n[[pipe]]\n[pipe.log]\n{pipe_log}\n");
        let shown = parsed(&source).pipes[0].log.to_string();
        assert!(shown.ends_with(&format!("format = \"{expected}\"\n")), "{source}{shown}");
    }
}

#[test]
fn a_file_may_come_from_another_editor() {
    let expected = parsed("user = \"bdaemon\"\n[log]\ntag = \"x\"\n");
    for source in [
        "user = \"bdaemon\"\r\n[log]\r\ntag = \"x\"\r\n",
        "\u{feff}user = \"bdaemon\"\n[log]\ntag = \"x\"",
        "user = 'bdaemon'\nlog.tag = 'x'\n",
        "\n\n  user=\"bdaemon\"#\n\t[ log ]\n\ttag=\"x\"\n",
    ] {
        assert_eq!(parsed(source), expected, "{source:?}");
    }
}

#[test]
fn a_configuration_as_it_is_printed_reads_back_as_the_same() {
    let odd = r#"
        poll_interval = "1h1m1s1ms1us1ns"
        pid_file = '/var/run/"quoted" \ and spaced'
        stop_timeout = 0
        [[pipe]]
        path = "/var/run/zażółć\tnew\nline"
        max_record = 1025
        log = { target = "file", path = "/var/log/=#[x]", mode = "200" }
        [control]
        socket = "/var/run/'single'"
    "#;
    for source in ["", SAMPLE, EVERY_KEY, BARE_NUMBERS, INHERITED, odd] {
        let config = parsed(source);
        assert_eq!(parsed(&config.to_string()), config, "{config}");
    }
}

/// A line of the sample by its convention, which the head of the sample explains.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prose,
    Section,
    /// `#key = value`
    Default,
    /// `##key = value`
    Example,
    /// `key = value`
    Set,
}

/// The lines of the sample, each without the marks in front.
fn sample_lines() -> impl Iterator<Item = (Kind, &'static str)> {
    SAMPLE.lines().map(|line| match line.trim_start_matches('#') {
        "" => (Kind::Prose, line),
        text if text.starts_with(' ') => (Kind::Prose, line),
        text => match line.len() - text.len() {
            0 if text.starts_with('[') => (Kind::Section, text),
            0 => (Kind::Set, text),
            1 => (Kind::Default, text),
            2 => (Kind::Example, text),
            _ => panic!("neither prose nor a key: {line}"),
        },
    })
}

/// The sections of the sample with those of its keys that are of these kinds.
fn sample_with(kinds: &[Kind]) -> String {
    let kept = sample_lines().filter(|(kind, _)| *kind == Kind::Section || kinds.contains(kind));
    kept.fold(String::new(), |source, (_, text)| source + text + "\n")
}

/// The sample shows FreeBSD's defaults; two are others on Linux.
fn with_defaults_of_this_system(source: &str) -> String {
    if cfg!(target_os = "linux") {
        source.replace("unix:/var/run/log", "unix:/dev/log").replace("rfc5424", "rfc3164")
    } else {
        source.to_owned()
    }
}

#[test]
fn the_sample_as_it_is_runs_as_bdaemon_in_a_directory_of_its_own() {
    let mut expected = Config {
        user: Some("bdaemon".to_owned()),
        pid_file: PathBuf::from("/var/run/bdaemon/bdaemon.pid"),
        ..Config::default()
    };
    expected.pipes[0].path = PathBuf::from("/var/run/bdaemon/in.pipe");
    expected.control.socket = PathBuf::from("/var/run/bdaemon/bdaemon.sock");
    assert_eq!(parsed(SAMPLE), expected);
}

#[test]
fn the_defaults_that_the_sample_shows_are_the_built_in_ones() {
    let source = with_defaults_of_this_system(&sample_with(&[Kind::Default]));
    assert_eq!(parsed(&source), Config::default(), "{source}");
}

#[test]
fn the_examples_in_the_sample_can_be_used() {
    let config = parsed(&sample_with(&[Kind::Set, Kind::Example]));
    assert_eq!(config.group.as_deref(), Some("bdaemon"));
    assert_eq!(config.log, parsed("[log]\ntarget = \"file\"\n").log, "defaults of a log file");
}

#[test]
fn the_sample_shows_every_key_and_no_other() {
    let mut shown = BTreeSet::new();
    let mut section = "";
    for (kind, text) in sample_lines() {
        match kind {
            Kind::Prose => {}
            Kind::Section => section = text.trim_matches(['[', ']']),
            Kind::Default | Kind::Example | Kind::Set => {
                let (key, _) = text.split_once(" = ").unwrap_or_else(|| panic!("no key: {text}"));
                shown.insert((section, key));
            }
        }
    }
    let known: BTreeSet<_> = config::keys()
        .into_iter()
        .flat_map(|(section, keys)| keys.into_iter().map(move |key| (section, key)))
        .collect();
    assert_eq!(shown, known);
}
