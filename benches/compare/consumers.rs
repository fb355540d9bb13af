//! The programs that are compared, each started as its manual page says for this work.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use crate::common::daemon;
use crate::common::running::End;
use crate::common::site::{Site, open_reader};
use crate::least;

/// What cat(1) is for a file.
pub(crate) const LEAST_TO_SOCKET: &str = "sendmmsg(2) alone";

/// Where a consumer puts the lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Files,
    Socket,
}

/// What an output line is, besides what was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Something in front.
    Text,
    /// The member `message` of an object.
    Json,
}

/// Whence a program comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Bdaemon,
    /// A part of this one.
    Bench,
    Package(&'static str),
}

/// A program that reads lines from a FIFO.
#[derive(Clone, Copy)]
pub(crate) struct Consumer {
    pub(crate) name: &'static str,
    /// How it is called, for those who read the results.
    pub(crate) usage: &'static str,
    program: &'static str,
    pub(crate) origin: Origin,
    pub(crate) output: Output,
    pub(crate) form: Form,
    pub(crate) end: End,
    /// Makes ready what it needs, and says how to start it.
    pub(crate) command: fn(&Site) -> Command,
}

impl Consumer {
    pub(crate) fn is_bdaemon(&self) -> bool {
        self.origin == Origin::Bdaemon
    }

    pub(crate) fn is_installed(&self) -> bool {
        !matches!(self.origin, Origin::Package(_)) || find(self.program).is_some()
    }
}

/// Where a program is; some of them are for administrators.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin:/sbin";
    let mut places = path.split(':').map(|directory| PathBuf::from(directory).join(program));
    places.find(|place| place.is_file())
}

fn program(name: &str) -> Command {
    Command::new(find(name).expect("it is installed"))
}

/// A program that reads its standard input.
fn filter(name: &str, site: &Site) -> Command {
    let mut command = program(name);
    command.stdin(open_reader(&site.fifo()));
    command
}

/// All of them, bdaemon first for each kind of output.
pub(crate) fn all() -> Vec<Consumer> {
    let file = Consumer {
        name: "bdaemon, text",
        usage: "`[pipe.log] target = \"file\"`",
        program: "bdaemon",
        origin: Origin::Bdaemon,
        output: Output::Files,
        form: Form::Text,
        end: End::Term,
        command: |site| daemon::command(site, &daemon::to_file(site, "text")),
    };
    let filter = Consumer { end: End::EndOfFile, ..file };
    vec![
        file,
        Consumer {
            name: "bdaemon, JSON",
            usage: "`[pipe.log] target = \"file\"`, `format = \"json\"`",
            form: Form::Json,
            command: |site| daemon::command(site, &daemon::to_file(site, "json")),
            ..file
        },
        Consumer {
            name: "cat",
            usage: "`cat <FIFO >FILE`",
            program: "cat",
            origin: Origin::Package("coreutils"),
            command: cat,
            ..filter
        },
        Consumer {
            name: "multilog t",
            usage: "`multilog t s16777215 n1000 DIR <FIFO`",
            program: "multilog",
            origin: Origin::Package("daemontools"),
            command: multilog,
            ..filter
        },
        Consumer {
            name: "s6-log T",
            usage: "`s6-log n1000 s268435455 T DIR <FIFO`",
            program: "s6-log",
            origin: Origin::Package("s6"),
            command: s6_log,
            ..filter
        },
        Consumer {
            name: "svlogd -ttt",
            usage: "`svlogd -ttt DIR <FIFO`, with `s0` in `DIR/config`",
            program: "svlogd",
            origin: Origin::Package("runit"),
            command: svlogd,
            ..filter
        },
        Consumer {
            name: "syslog-ng pipe()",
            usage: "`pipe(FIFO flags(no-parse))` to `file()`, `flags(flow-control)`",
            program: "syslog-ng",
            origin: Origin::Package("syslog-ng-core"),
            command: syslog_ng,
            ..file
        },
        Consumer {
            name: "bdaemon, syslog",
            usage: "`[pipe.log] target = \"syslog\"`",
            output: Output::Socket,
            command: |site| daemon::command(site, &daemon::to_syslog(site)),
            ..file
        },
        Consumer {
            name: "logger",
            usage: "`logger --socket SOCKET <FIFO`",
            program: "logger",
            origin: Origin::Package("bsdutils"),
            output: Output::Socket,
            command: logger,
            ..filter
        },
        Consumer {
            name: LEAST_TO_SOCKET,
            usage: "a part of this benchmark: finds the lines and sends them, with a fixed header",
            program: "",
            origin: Origin::Bench,
            output: Output::Socket,
            command: least::command,
            ..filter
        },
    ]
}

fn cat(site: &Site) -> Command {
    let mut command = filter("cat", site);
    command.stdout(File::create(site.current()).unwrap());
    command
}

fn multilog(site: &Site) -> Command {
    let mut command = filter("multilog", site);
    // The largest files that it makes, and as many as may be needed.
    command.args(["t", "s16777215", "n1000"]).arg(site.output());
    command
}

fn s6_log(site: &Site) -> Command {
    let mut command = filter("s6-log", site);
    command.args(["n1000", "s268435455", "T"]).arg(site.output());
    command
}

fn svlogd(site: &Site) -> Command {
    // One file of any size.
    fs::write(site.output().join("config"), "s0\n").unwrap();
    let mut command = filter("svlogd", site);
    command.arg("-ttt").arg(site.output());
    command
}

fn syslog_ng(site: &Site) -> Command {
    let version = program("syslog-ng").arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    // "Config version: 3.38"
    let version = version.lines().find_map(|line| line.strip_prefix("Config version: ")).unwrap();
    let config = format!(
        "@version: {version}\noptions {{ keep-hostname(yes); use-dns(no); dns-cache(no); frac-digits(6); stats-freq(0); }};\n\
         source in {{ pipe(\"{}\" flags(no-parse)); }};\n\
         destination out {{ file(\"{}\" template(\"$ISODATE $HOST $MSG\\n\")); }};\n\
         log {{ source(in); destination(out); flags(flow-control); }};\n",
        site.fifo().display(),
        site.current().display()
    );
    fs::write(site.path("syslog-ng.conf"), config).unwrap();
    let mut command = program("syslog-ng");
    command.args(["--foreground", "--no-caps"]);
    for (option, file) in [
        ("--cfgfile", "syslog-ng.conf"),
        ("--persist-file", "persist"),
        ("--pidfile", "syslog-ng.pid"),
        ("--control", "syslog-ng.ctl"),
    ] {
        command.arg(option).arg(site.path(file));
    }
    command
}

fn logger(site: &Site) -> Command {
    let mut command = filter("logger", site);
    command.arg("--socket").arg(site.socket());
    command
}
