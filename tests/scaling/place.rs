//! A host and a collector in one scratch directory.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{User, geteuid};

use crate::common::{DEADLINE, Daemon, Site, described, read_pid, text, wait_for, whole_lines};
use crate::load::Tally;
use crate::page;

/// Where the page's `/var` is, and its ports.
pub(crate) struct Place {
    pub(crate) site: Site,
    pub(crate) syslog_port: u16,
    pub(crate) relp_port: u16,
}

impl Place {
    pub(crate) fn new() -> Self {
        let site = Site::new();
        for directory in [
            "run/bdaemon",
            "log/bdaemon",
            "log/hosts",
            "spool/rsyslog",
            "spool/collector",
            "spool/bdaemon",
            "db",
        ] {
            fs::create_dir_all(site.path(directory)).unwrap();
        }
        Self { site, syslog_port: free_port(), relp_port: free_port() }
    }

    /// What the page shows, with the addresses and paths of this place, and whoever runs the test
    /// in the place of `bdaemon`.
    pub(crate) fn here(&self, text: &str) -> String {
        let (syslog, relp) = (self.syslog_port, self.relp_port);
        let user = User::from_uid(geteuid()).unwrap().expect("a user with a name").name;
        text.replace("user = \"bdaemon\"", &format!("user = \"{user}\""))
            .replace("loghost.example.org", "127.0.0.1")
            .replace("\"2514\"", &format!("\"{relp}\""))
            .replace("\"514\"", &format!("\"{syslog}\""))
            .replace(":514", &format!(":{syslog}"))
            .replace("port(514)", &format!("port({syslog})"))
            .replace("/var/", &format!("{}/", self.site.directory().display()))
    }

    /// Takes a block for the configuration of bdaemon.
    pub(crate) fn configure(&self, block: &str) {
        self.site.configure(&self.here(&page::block(block)));
        self.check();
    }

    pub(crate) fn check(&self) {
        let config = self.site.config().display().to_string();
        let output = self.site.bdaemonctl(&["check", &config]).output().unwrap();
        assert!(output.status.success(), "{}", described(&output));
        assert_eq!(text(&output.stderr), "", "nothing is missing for it");
    }

    pub(crate) fn bdaemon(&self) -> Daemon<'_> {
        let said = File::create(self.site.path("bdaemon.said")).unwrap();
        let child = self.site.bdaemon(&["-f"]).stderr(said).spawn().unwrap();
        let pid = child.id();
        let mut daemon = Daemon { site: &self.site, pid, child: Some(child) };
        wait_for("the pid file", || {
            let ended = daemon.child.as_mut().unwrap().try_wait().unwrap();
            assert_eq!(ended, None, "it ended: {}", self.site.read("bdaemon.said"));
            (read_pid(&self.site.path("run/bdaemon/bdaemon.pid")) == Some(pid)).then_some(())
        });
        daemon
    }

    pub(crate) fn pipe(&self) -> PathBuf {
        self.site.path("run/bdaemon/in.pipe")
    }

    /// The lines that the collector has in its files, of the facility that the page gives to
    /// records: bdaemon's own messages have another.
    pub(crate) fn collected(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for file in fs::read_dir(self.site.path("log/hosts")).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            let text = text(&bytes);
            let records = whole_lines(&text).filter(|line| line.contains(" local3."));
            lines.extend(records.map(str::to_owned));
        }
        lines
    }

    /// Waits until so many more lines have arrived; they are arriving just then.
    pub(crate) fn wait_more(&self, count: usize) {
        let goal = self.collected().len() + count;
        wait_for(format!("{goal} lines at the collector"), || {
            (self.collected().len() >= goal).then_some(())
        });
    }

    /// Counts the records of the load that have arrived.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let lines = self.collected();
        for line in lines.iter().filter(|line| !line.contains("#end")) {
            tally.take(&message(line));
        }
        tally
    }

    /// Writes a mark until it arrives, and waits until nothing more does: what was written before
    /// is there then, or lost.
    pub(crate) fn settle(&self) {
        const QUIET: Duration = Duration::from_millis(1500);
        let give_up = Instant::now() + DEADLINE;
        while !self.collected().iter().any(|line| line.contains("#end")) {
            fs::write(self.pipe(), "#end\n").unwrap();
            assert!(Instant::now() < give_up, "nothing arrives any more");
            thread::sleep(Duration::from_millis(100));
        }
        let mut last = (self.collected().len(), Instant::now());
        while last.1.elapsed() < QUIET {
            let lines = self.collected().len();
            if lines != last.0 {
                last = (lines, Instant::now());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What a line of the collector has of a record: the end of the line, or a member of the object
/// there. A collector that was killed may have left half a line in front of it.
fn message(line: &str) -> String {
    let Some((_, json)) = line.rsplit_once(": {") else {
        return line.to_owned();
    };
    let json: Result<serde_json::Value, _> = serde_json::from_str(&format!("{{{json}"));
    json.ok().and_then(|json| Some(json["message"].as_str()?.to_owned())).unwrap_or_default()
}

/// A port that nobody uses, and that the system gives to nobody who asks for any.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 1000).unwrap();
    loop {
        let port = 10_000 + (10 * offset + NEXT.fetch_add(1, Ordering::SeqCst)) % 10_000;
        let free = TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if free {
            return port;
        }
    }
}
