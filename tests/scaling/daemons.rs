//! The daemons of others, started with what the page shows.
//!
//! They are looked for below the directory that `BDAEMON_SYSLOG_DAEMONS` names, or `/`;
//! `scripts/syslog-daemons.sh` unpacks them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};

use crate::common::{is_listened_at_on_linux, is_there_or_skip, pid_of, text, wait_for};
use crate::page;
use crate::place::Place;

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rsyslog,
    SyslogNg,
}

impl Kind {
    fn place(self) -> &'static str {
        match self {
            Self::Rsyslog => "usr/sbin/rsyslogd",
            Self::SyslogNg => "usr/sbin/syslog-ng",
        }
    }

    /// The program, which finds its libraries where it was unpacked.
    fn command(self) -> Command {
        let mut command = Command::new(root().join(self.place()));
        match self {
            Self::Rsyslog => command.env("LD_LIBRARY_PATH", modules("rsyslog").parent().unwrap()),
            Self::SyslogNg => command.env("LD_LIBRARY_PATH", root().join("usr/lib/syslog-ng")),
        };
        command
    }

    /// The first words of its version; none if it is not here.
    pub(crate) fn version(self) -> Option<String> {
        if !root().join(self.place()).exists() {
            return None;
        }
        let arguments: &[&str] = if self == Self::Rsyslog { &["-v"] } else { &["--version"] };
        let output = self.command().args(arguments).output().ok()?;
        let said = text(&output.stdout) + &text(&output.stderr);
        let expected = match self {
            Self::Rsyslog => "rsyslogd",
            Self::SyslogNg => "syslog-ng",
        };
        let line = said.lines().next().unwrap_or_default();
        let words: Vec<_> = line.split_whitespace().take(3).collect();
        line.contains(expected).then(|| words.join(" ").trim_end_matches(" (aka").to_owned())
    }
}

fn root() -> PathBuf {
    let root = std::env::var_os("BDAEMON_SYSLOG_DAEMONS");
    // A daemon changes its directory.
    std::path::absolute(root.unwrap_or_else(|| "/".into())).unwrap()
}

/// The directory of its modules, below that of the architecture's libraries.
fn modules(name: &str) -> PathBuf {
    let entries = fs::read_dir(root().join("usr/lib")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path().join(name));
    paths.find(|path| path.is_dir()).expect("the modules' directory")
}

/// Whether all of them are here; where one is not, the test is left out, and says so.
pub(crate) fn are_here_or_skip(kinds: &[Kind]) -> bool {
    for kind in kinds {
        let mut here = kind.version().is_some();
        if *kind == Kind::Rsyslog {
            here = here && modules("rsyslog").join("imrelp.so").exists();
        }
        if !is_there_or_skip(format_args!("{kind:?} below {}", root().display()), here) {
            return false;
        }
    }
    true
}

/// What tells that it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Its socket in the directory takes datagrams.
    Socket(&'static str),
    Tcp(u16),
    /// It has written its pid file, and listens nowhere.
    PidFile,
}

/// A syslog daemon, killed when this goes out of scope.
pub(crate) struct Syslogd<'a> {
    kind: Kind,
    place: &'a Place,
    /// Of its files.
    name: &'static str,
    ready: Ready,
    child: Option<Child>,
}

impl<'a> Syslogd<'a> {
    /// Starts it with a block of the page.
    pub(crate) fn start(
        kind: Kind,
        place: &'a Place,
        name: &'static str,
        block: &str,
        ready: Ready,
    ) -> Self {
        Self::start_with(kind, place, name, &page::block(block), ready)
    }

    /// Starts it with a configuration, in the terms of the page.
    pub(crate) fn start_with(
        kind: Kind,
        place: &'a Place,
        name: &'static str,
        config: &str,
        ready: Ready,
    ) -> Self {
        let config = place.here(config);
        fs::write(place.site.path(&format!("{name}.conf")), config).unwrap();
        let mut syslogd = Self { kind, place, name, ready, child: None };
        syslogd.start_again();
        syslogd
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.place.site.path(&format!("{}.{ending}", self.name))
    }

    /// Starts it, and waits until it is ready.
    pub(crate) fn start_again(&mut self) {
        let _ = fs::remove_file(self.path("syslogd-pid"));
        let mut command = self.kind.command();
        match self.kind {
            Kind::Rsyslog => {
                command.arg("-n").arg("-f").arg(self.path("conf"));
                command.arg("-i").arg(self.path("syslogd-pid"));
                command.arg("-M").arg(modules("rsyslog"));
            }
            Kind::SyslogNg => {
                command.args(["-F", "--no-caps"]).arg("-f").arg(self.path("conf"));
                for (option, ending) in
                    [("persist-file", "persist"), ("control", "ctl"), ("pidfile", "syslogd-pid")]
                {
                    command.arg(format!("--{option}={}", self.path(ending).display()));
                }
                let directory = root().join("usr/lib/syslog-ng");
                let mut modules = fs::read_dir(directory).unwrap().map(|m| m.unwrap().path());
                let modules = modules.find(|path| path.is_dir()).expect("the modules' directory");
                command.arg(format!("--module-path={}", modules.display()));
            }
        }
        let said = File::create(self.path("said")).unwrap();
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        self.child = Some(command.spawn().unwrap());
        wait_for(format!("{} to be ready", self.name), || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let said = || fs::read_to_string(self.path("said")).unwrap_or_default();
            assert_eq!(ended, None, "it ended: {}", said());
            self.is_ready().then_some(())
        });
    }

    fn is_ready(&self) -> bool {
        match self.ready {
            Ready::Socket(name) => std::os::unix::net::UnixDatagram::unbound()
                .is_ok_and(|probe| probe.connect(self.place.site.path(name)).is_ok()),
            Ready::Tcp(port) => is_listened_at_on_linux("tcp", port),
            Ready::PidFile => fs::read(self.path("syslogd-pid")).is_ok_and(|pid| !pid.is_empty()),
        }
    }

    /// Ends it and waits for that.
    pub(crate) fn end(&mut self, signal: Signal) {
        let child = self.child.as_mut().unwrap();
        kill(pid_of(child.id()), signal).unwrap();
        wait_for(format!("the end of {}", self.name), || child.try_wait().unwrap());
    }
}

impl Drop for Syslogd<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
