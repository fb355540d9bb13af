//! Syslog daemons that are stopped, killed, hung, or lose their socket: real ones, each on a socket
//! of its own in the scratch directory.
//!
//! Where they are is looked for below the directory that `BDAEMON_SYSLOG_DAEMONS` names, or `/`:
//! Debian lets only one of them be installed at a time, and `scripts/syslog-daemons.sh` unpacks them all.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::geteuid;

use crate::common::{
    DEADLINE, Daemon, Site, is_listened_at_on_linux, is_there_or_skip, pid_of, text, wait_for,
};
use crate::load::{Load, Plan, Tally, Written};
use crate::scaled;
use crate::table::{Allowed, Row};

/// How many messages syslog-ng takes before it has written them.
const SYSLOG_NG_WINDOW: u64 = 100;

/// What busybox reads of a message, less what stands before the text.
const LONGEST: usize = 160;

/// What a collector reads at a time from a connection, and has not written when it is killed.
const TCP_IN_HANDS: u64 = 128 << 10;

/// What each side's kernel holds of a connection on which nothing is stuck.
const TCP_BUFFER: u64 = 128 << 10;

/// What one of them is called in the table, and how it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsyslog,
    SyslogNg,
    Busybox,
    Inetutils,
}

/// Where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Local,
    Udp,
    Tcp,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Rsyslog => "rsyslog",
            Self::SyslogNg => "syslog-ng",
            Self::Busybox => "busybox syslogd",
            Self::Inetutils => "inetutils-syslogd",
        }
    }

    fn place(self) -> &'static str {
        match self {
            Self::Rsyslog => "usr/sbin/rsyslogd",
            Self::SyslogNg => "usr/sbin/syslog-ng",
            Self::Busybox => "bin/busybox",
            Self::Inetutils => "usr/sbin/syslogd",
        }
    }

    fn version_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Rsyslog => &["-v"],
            Self::SyslogNg | Self::Inetutils => &["--version"],
            Self::Busybox => &["syslogd", "--help"],
        }
    }

    /// The first line that says which version it is; none if it is not here.
    fn version(self) -> Option<String> {
        let mut command = self.command()?;
        let output = command.args(self.version_arguments()).output().ok()?;
        let said = text(&output.stdout) + &text(&output.stderr);
        let line = said.lines().next().unwrap_or_default().trim().to_owned();
        let expected = match self {
            Self::Rsyslog => "rsyslogd",
            Self::SyslogNg => "syslog-ng",
            Self::Busybox => "BusyBox",
            Self::Inetutils => "inetutils",
        };
        // What follows is about how it was built.
        let version = line.split(" compiled").next()?.split(" multi-call").next()?;
        version.contains(expected).then(|| version.to_owned())
    }

    /// The program, which finds its libraries where it was unpacked.
    fn command(self) -> Option<Command> {
        let program = root().join(self.place());
        if !program.exists() {
            return None;
        }
        let mut command = Command::new(program);
        if self == Self::SyslogNg {
            command.env("LD_LIBRARY_PATH", root().join("usr/lib/syslog-ng"));
        }
        Some(command)
    }
}

/// The syslog daemons that take part, for the head of the table.
pub(crate) fn versions() -> Vec<String> {
    let kinds = [Kind::Rsyslog, Kind::SyslogNg, Kind::Busybox, Kind::Inetutils];
    kinds.iter().filter_map(|kind| kind.version()).collect()
}

fn root() -> PathBuf {
    let root = std::env::var_os("BDAEMON_SYSLOG_DAEMONS");
    std::path::absolute(root.unwrap_or_else(|| "/".into())).unwrap()
}

/// Runs a command that may mount what it likes, seen by nobody else.
fn own_mounts_on_linux() -> Command {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command
}

/// Whether it is here; where it is not, the test is left out, and says so.
fn is_here_or_skip(kind: Kind) -> bool {
    let mut here = kind.version().is_some();
    if kind == Kind::Busybox {
        here &= own_mounts_on_linux().arg("true").status().is_ok_and(|status| status.success());
    }
    is_there_or_skip(format_args!("{} below {}", kind.name(), root().display()), here)
}

/// The first directory below the root whose path ends so, with one name left open.
fn directory_with(parent: &str, end: &str) -> PathBuf {
    let entries = fs::read_dir(root().join(parent)).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path().join(end));
    paths.find(|path| path.is_dir()).expect("the modules' directory")
}

/// A syslog daemon, killed when this goes out of scope.
struct Syslogd<'a> {
    kind: Kind,
    input: Input,
    site: &'a Site,
    /// What is its own.
    directory: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl<'a> Syslogd<'a> {
    fn start(kind: Kind, input: Input, site: &'a Site) -> Self {
        let port = if input == Input::Local { 0 } else { free_port() };
        let directory = tempfile::Builder::new().prefix("sd").tempdir().unwrap();
        let mut syslogd = Self { kind, input, site, directory, port, child: None };
        syslogd.start_again();
        syslogd
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its socket; that of busybox is always `log` in what it takes for `/dev`.
    fn socket(&self) -> PathBuf {
        self.path("dev").join("log")
    }

    /// The file into which it writes what it gets.
    fn file(&self) -> PathBuf {
        self.path("received.log")
    }

    fn address(&self) -> String {
        match self.input {
            Input::Local => format!("unix:{}", self.socket().display()),
            Input::Udp => format!("udp:127.0.0.1:{}", self.port),
            Input::Tcp => format!("tcp:127.0.0.1:{}", self.port),
        }
    }

    /// Starts it, and waits until it listens.
    fn start_again(&mut self) {
        fs::create_dir_all(self.path("dev")).unwrap();
        let mut command = match self.kind {
            Kind::Rsyslog => self.rsyslog(),
            Kind::SyslogNg => self.syslog_ng(),
            Kind::Busybox => self.busybox(),
            Kind::Inetutils => self.inetutils(),
        };
        let said = File::create(self.path("syslogd.said")).unwrap();
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        self.child = Some(command.spawn().unwrap());
        wait_for(format!("{} to listen", self.kind.name()), || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert_eq!(
                ended,
                None,
                "it ended: {}",
                fs::read_to_string(self.path("syslogd.said")).unwrap_or_default()
            );
            self.listens().then_some(())
        });
    }

    fn listens(&self) -> bool {
        match self.input {
            Input::Local => {
                let is_socket = |m: fs::Metadata| m.file_type().is_socket();
                fs::metadata(self.socket()).is_ok_and(is_socket)
                    && std::os::unix::net::UnixDatagram::unbound()
                        .is_ok_and(|probe| probe.connect(self.socket()).is_ok())
            }
            Input::Udp => is_listened_at_on_linux("udp", self.port),
            Input::Tcp => is_listened_at_on_linux("tcp", self.port),
        }
    }

    /// Its own queue is left out: what it has taken from the socket is in its file, or was in its
    /// hands.
    fn rsyslog(&self) -> Command {
        let input = match self.input {
            Input::Local => format!(
                "module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
                 input(type=\"imuxsock\" Socket=\"{}\")\n",
                self.socket().display()
            ),
            Input::Udp => format!(
                "module(load=\"imudp\")\ninput(type=\"imudp\" address=\"127.0.0.1\" port=\"{}\")\n",
                self.port
            ),
            Input::Tcp => format!(
                "module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{}\")\n",
                self.port
            ),
        };
        let text = format!(
            "global(workDirectory=\"{}\")\nmain_queue(queue.type=\"Direct\")\n{input}\
             action(type=\"omfile\" file=\"{}\")\n",
            self.directory.path().display(),
            self.file().display()
        );
        fs::write(self.path("rsyslog.conf"), text).unwrap();
        let mut command = self.kind.command().unwrap();
        command.arg("-n").arg("-f").arg(self.path("rsyslog.conf"));
        command.arg("-i").arg(self.path("syslogd.pid"));
        command.arg("-M").arg(directory_with("usr/lib", "rsyslog"));
        command
    }

    fn syslog_ng(&self) -> Command {
        let source = match self.input {
            Input::Local => format!(
                "unix-dgram(\"{}\" log-iw-size({SYSLOG_NG_WINDOW}))",
                self.socket().display()
            ),
            Input::Udp => {
                format!("network(ip(\"127.0.0.1\") port({}) transport(\"udp\"))", self.port)
            }
            Input::Tcp => {
                format!("syslog(ip(\"127.0.0.1\") port({}) transport(\"tcp\"))", self.port)
            }
        };
        let text = format!(
            "@version: 3.35\noptions {{ stats-freq(0); use-dns(no); }};\n\
             source s {{ {source}; }};\ndestination d {{ file(\"{}\"); }};\n\
             log {{ source(s); destination(d); flags(flow-control); }};\n",
            self.file().display()
        );
        fs::write(self.path("syslog-ng.conf"), text).unwrap();
        let mut command = self.kind.command().unwrap();
        command.args(["-F", "--no-caps"]).arg("-f").arg(self.path("syslog-ng.conf"));
        let path = |name| self.path(name).display().to_string();
        command.arg(format!("--persist-file={}", path("syslog-ng.persist")));
        command.arg(format!("--control={}", path("syslog-ng.ctl")));
        command.arg(format!("--pidfile={}", path("syslogd.pid")));
        let modules = fs::read_dir(root().join("usr/lib/syslog-ng")).unwrap();
        let mut modules = modules.map(|entry| entry.unwrap().path());
        let modules = modules.find(|path| path.is_dir()).expect("the modules' directory");
        command.arg(format!("--module-path={}", modules.display()));
        command
    }

    /// It knows no other socket than `/dev/log`, and so gets a `/dev` of its own.
    fn busybox(&self) -> Command {
        let script = r#"mount --bind "$1" /dev && exec "$0" syslogd -n -O "$2""#;
        let mut command = own_mounts_on_linux();
        command.args(["sh", "-c", script]).arg(root().join(self.kind.place()));
        command.arg(self.path("dev")).arg(self.file());
        command
    }

    fn inetutils(&self) -> Command {
        let rules = format!("*.*\t{}\n", self.file().display());
        fs::write(self.path("syslog.conf"), rules).unwrap();
        fs::create_dir_all(self.path("syslog.d")).unwrap();
        let mut command = self.kind.command().unwrap();
        command.args(["-n", "--no-klog", "-m", "0"]).arg("-p").arg(self.socket());
        command.arg("-f").arg(self.path("syslog.conf"));
        command.arg("-P").arg(self.path("syslogd.pid"));
        command.arg("-D").arg(self.path("syslog.d"));
        command
    }

    fn signal(&self, signal: Signal) {
        kill(pid_of(self.child.as_ref().unwrap().id()), signal).unwrap();
    }

    /// Ends it and waits for that.
    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        let child = self.child.as_mut().unwrap();
        wait_for(format!("the end of {}", self.kind.name()), || child.try_wait().unwrap());
    }

    /// Counts the records in its file, whatever its own messages are.
    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let mut reader = BufReader::new(File::open(self.file()).unwrap());
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).unwrap() > 0 {
            let text = text(&line);
            if text.contains("#load") || (text.contains("bdaemon[") && !text.contains("#end")) {
                tally.take(text.trim_end_matches('\n'));
            }
            line.clear();
        }
        tally
    }

    /// Sends something through the daemon until it arrives: what was written before it is there
    /// then, or lost.
    fn settle(&self) {
        let give_up = Instant::now() + DEADLINE;
        for number in 0.. {
            let end = format!("#end {number}\n");
            self.site.write(&end);
            let soon = Instant::now() + Duration::from_secs(1);
            while Instant::now() < soon {
                if fs::read(self.file()).is_ok_and(|bytes| text(&bytes).contains("#end")) {
                    return;
                }
                thread::sleep(Duration::from_millis(10));
            }
            assert!(Instant::now() < give_up, "{} gets nothing any more", self.kind.name());
        }
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

/// A port that nobody uses, and that the system gives to nobody who asks for any: a client that
/// tries to connect to a port of that range may find itself there.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (offset + NEXT.fetch_add(1, Ordering::SeqCst)) % 10_000;
        let free = TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if free {
            return port;
        }
    }
}

/// What happens to the syslog daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Restarted,
    Killed,
    Hung,
    /// Hung until nothing more goes in, and killed then.
    HungAndKilled,
    /// Its socket is removed; later it is started again and makes another.
    Removed,
}

const LOCAL_FAULTS: &[Fault] =
    &[Fault::Restarted, Fault::Killed, Fault::Hung, Fault::HungAndKilled, Fault::Removed];
const TCP_FAULTS: &[Fault] = &[Fault::Restarted, Fault::Killed, Fault::Hung, Fault::HungAndKilled];
const UDP_FAULTS: &[Fault] = &[Fault::Restarted, Fault::Killed, Fault::Hung];

/// What lay at a collector's connection when it was killed, in bytes.
#[derive(Clone, Copy, Debug)]
struct Queues {
    sender: u64,
    receiver: u64,
}

impl Fault {
    fn described(self) -> String {
        let seconds = away().as_secs_f64();
        match self {
            Self::Restarted => format!("ended, started again after {seconds} s"),
            Self::Killed => format!("killed, started again after {seconds} s"),
            Self::Hung => format!("hung for {seconds} s, resumed"),
            Self::HungAndKilled => "hung until the writers wait, killed, started again".to_owned(),
            Self::Removed => "its socket removed, and remade by a restart".to_owned(),
        }
    }

    /// Makes it happen, and mends it again; says what lay at the connection of a collector that
    /// was killed.
    fn happen(self, syslogd: &mut Syslogd<'_>, daemon: &Daemon<'_>, load: &Load) -> Option<Queues> {
        let mut queues = None;
        match self {
            Self::Restarted => syslogd.end(Signal::SIGTERM),
            Self::Killed | Self::HungAndKilled => {
                syslogd.signal(Signal::SIGSTOP);
                if self == Self::HungAndKilled {
                    load.wait_blocked();
                }
                // Nothing moves any more, so that the count is exact.
                daemon.signal(Signal::SIGSTOP);
                queues = (syslogd.input == Input::Tcp).then(|| queues_on_linux(syslogd.port));
                syslogd.end(Signal::SIGKILL);
                daemon.signal(Signal::SIGCONT);
            }
            Self::Hung => syslogd.signal(Signal::SIGSTOP),
            Self::Removed => {
                fs::remove_file(syslogd.socket()).unwrap();
                // What is connected stays so.
                load.wait_more(500);
                syslogd.end(Signal::SIGTERM);
            }
        }
        thread::sleep(away());
        // By UDP, nobody says that a collector is slow.
        if self != Self::Hung || syslogd.input == Input::Local {
            load.wait_blocked();
        }
        match self {
            Self::Hung => syslogd.signal(Signal::SIGCONT),
            _ => syslogd.start_again(),
        }
        queues
    }
}

/// What the kernel holds of the connection to a port of this machine: what the sender has not been
/// told to have arrived, and what the receiver has not read.
fn queues_on_linux(port: u16) -> Queues {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let mut queues = Queues { sender: 0, receiver: 0 };
    for line in table.lines().skip(1) {
        let words: Vec<_> = line.split_whitespace().collect();
        let port_of = |address: &str| u16::from_str_radix(address.split_once(':').unwrap().1, 16);
        let (sent, received) = words[4].split_once(':').unwrap();
        let bytes = |hex| u64::from_str_radix(hex, 16).unwrap();
        let established = words[3] == "01";
        if !established {
            continue;
        }
        if port_of(words[2]) == Ok(port) {
            queues.sender += bytes(sent);
        }
        if port_of(words[1]) == Ok(port) {
            queues.receiver += bytes(received);
        }
    }
    queues
}

/// How many datagrams the receive queue of a local socket takes.
fn local_queue_on_linux() -> u64 {
    let queue = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap();
    // One more than it says.
    queue.trim().parse::<u64>().unwrap() + 1
}

fn away() -> Duration {
    scaled(Duration::from_millis(200), Duration::from_secs(2), Duration::from_secs(10))
}

/// The most messages that each of them has in its own hands: taken from a socket and not written to
/// its file. Only syslog-ng reads ahead.
fn in_hands(kind: Kind) -> u64 {
    if kind == Kind::SyslogNg { SYSLOG_NG_WINDOW } else { 1 }
}

/// What is promised.
fn promise(kind: Kind, input: Input, fault: Fault, queues: Option<Queues>) -> (String, Allowed) {
    let hands = in_hands(kind);
    match (input, fault) {
        (Input::Local | Input::Tcp, Fault::Hung) => {
            ("held until it goes on; nothing lost".to_owned(), Allowed::NOTHING)
        }
        (Input::Local, _) => {
            let queue = local_queue_on_linux();
            let text = format!(
                "held while it is away; lost at most its socket's receive queue ({queue} records) and what it was at ({hands})"
            );
            (text, Allowed::to_lose(queue + hands))
        }
        (Input::Udp, Fault::Hung) => {
            // UDP has no word for it.
            (
                "nothing, while it takes none and does not refuse".to_owned(),
                Allowed::to_lose(u64::MAX),
            )
        }
        (Input::Udp, _) => {
            // That the writers wait while it is away is part of the fault.
            let text = "held once it refuses; what was sent before is lost if it did not take it";
            (text.to_owned(), Allowed::to_lose(u64::MAX))
        }
        (Input::Tcp, _) => {
            let (found, bytes) = match queues {
                Some(queues) => {
                    assert!(
                        queues.sender <= 2 * TCP_BUFFER,
                        "this side holds too much: {queues:?}"
                    );
                    ("was found", queues.sender + queues.receiver + TCP_IN_HANDS)
                }
                None => ("fits", 2 * TCP_BUFFER + TCP_IN_HANDS),
            };
            let text = format!(
                "held while it is away; lost at most what {found} in both kernels' buffers and its own: {bytes} bytes"
            );
            (text, Allowed::to_lose_bytes(bytes))
        }
    }
}

/// Runs a load through each of these faults, one after the other.
fn suffers(kind: Kind, input: Input, faults: &[Fault]) {
    if !is_here_or_skip(kind) {
        return;
    }
    for (place, fault) in faults.iter().enumerate() {
        let over = match input {
            Input::Local => "",
            Input::Udp => " over UDP",
            Input::Tcp => " over TCP",
        };
        let name = format!("{}{over}", kind.name());
        let (written, tally, held, queues) = run(kind, input, *fault);
        let (promise, allowed) = promise(kind, input, *fault, queues);
        let row = Row {
            key: format!("1-{input:?}-{}-{place}", kind as u8),
            fault: format!("{name} {}", fault.described()),
            promise,
            allowed,
        };
        row.judge(&written, &tally, held);
    }
}

/// Runs a load through a fault, and counts what arrived, what is held, and what lay at the
/// connection.
fn run(kind: Kind, input: Input, fault: Fault) -> (Written, Tally, u64, Option<Queues>) {
    let site = Site::new();
    let mut syslogd = Syslogd::start(kind, input, &site);
    let pipe = format!(
        "[[pipe]]\nname = \"in\"\npath = \"{}\"\n[pipe.log]\ntarget = \"syslog\"\naddress = \"{}\"\n",
        site.pipe().display(),
        syslogd.address()
    );
    site.configure(&(site.head() + &pipe));
    let daemon = site.start();
    let mut plan = Plan { longest: LONGEST, ..Plan::default() };
    if fault != Fault::HungAndKilled {
        plan.pause = Some(Duration::from_millis(1));
    }
    let load = Load::start(&[site.pipe()], plan);
    load.wait_more(500);
    let queues = fault.happen(&mut syslogd, &daemon, &load);
    load.wait_more(500);
    let written = load.end();
    syslogd.settle();
    let held = site.held();
    daemon.stop();
    (written, syslogd.tally(), held, queues)
}

#[test]
fn a_local_rsyslog_that_fails_gets_everything_when_it_is_back() {
    suffers(Kind::Rsyslog, Input::Local, LOCAL_FAULTS);
}

#[test]
fn a_local_syslog_ng_that_fails_gets_everything_when_it_is_back() {
    suffers(Kind::SyslogNg, Input::Local, LOCAL_FAULTS);
}

#[test]
fn a_local_busybox_syslogd_that_fails_gets_everything_when_it_is_back() {
    suffers(Kind::Busybox, Input::Local, LOCAL_FAULTS);
}

#[test]
fn a_local_inetutils_syslogd_that_fails_gets_everything_when_it_is_back() {
    suffers(Kind::Inetutils, Input::Local, LOCAL_FAULTS);
}

#[test]
fn a_collector_over_tcp_that_fails_misses_nothing_but_what_was_on_its_way() {
    for kind in [Kind::Rsyslog, Kind::SyslogNg] {
        suffers(kind, Input::Tcp, TCP_FAULTS);
    }
}

#[test]
fn a_collector_over_udp_that_refuses_is_waited_for() {
    for kind in [Kind::Rsyslog, Kind::SyslogNg] {
        suffers(kind, Input::Udp, UDP_FAULTS);
    }
}
