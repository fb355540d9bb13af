//! The harness of the black-box tests: real daemons in a scratch directory, waited for with a
//! deadline and killed when the test ends, however it ends.
//!
//! Each test file uses a part of it.
#![allow(dead_code, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
#![allow(clippy::case_sensitive_file_extension_comparisons)]

pub mod control;

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take on a slow and busy machine.
pub const DEADLINE: Duration = Duration::from_secs(90);

pub const BDAEMON: &str = env!("CARGO_BIN_EXE_bdaemon");
pub const BDAEMONCTL: &str = env!("CARGO_BIN_EXE_bdaemonctl");

/// Waits until `condition` gives something, or panics saying what was waited for.
pub fn wait_for<T>(what: impl Display, mut condition: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + DEADLINE;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Whether somebody listens on this port, by `tcp` or `udp`. A probe that binds it could be in the way
/// of the daemon that is about to.
pub fn is_listened_at_on_linux(protocol: &str, port: u16) -> bool {
    let table = fs::read_to_string(format!("/proc/net/{protocol}")).unwrap();
    let port = format!(":{port:04X}");
    let state = if protocol == "tcp" { "0A" } else { "07" };
    table.lines().any(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.len() > 3 && words[1].ends_with(&port) && words[3] == state
    })
}

/// Whether the tests run as root. Where they do not, what needs root is left out, and says so;
/// under `BDAEMON_TEST_ROOT=required` that is a failure.
pub fn is_root_or_skip() -> bool {
    let root = nix::unistd::geteuid().is_root();
    let required = std::env::var("BDAEMON_TEST_ROOT").is_ok_and(|value| value == "required");
    assert!(root || !required, "root is required, and this is not root");
    if !root {
        eprintln!("left out: needs root");
    }
    root
}

/// Whether a tool is there that a test takes. Where it is not, the test is left out, and says so;
/// under `BDAEMON_TEST_TOOLS=required` that is a failure.
pub fn is_there_or_skip(tool: impl Display, there: bool) -> bool {
    let required = std::env::var("BDAEMON_TEST_TOOLS").is_ok_and(|value| value == "required");
    assert!(there || !required, "{tool} is required, and is not there");
    if !there {
        eprintln!("left out: needs {tool}");
    }
    there
}

/// Whether a program can be run that a test takes, as [`is_there_or_skip`].
pub fn has_program_or_skip(program: &str) -> bool {
    let runs = Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", program]).status();
    is_there_or_skip(program, runs.is_ok_and(|status| status.success()))
}

/// A scratch directory with a configuration in it.
pub struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    /// An empty directory with the plain configuration of [`Site::plain`].
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("bd").tempdir().unwrap();
        let site = Self { directory };
        site.configure(&site.plain());
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn config(&self) -> PathBuf {
        self.path("bdaemon.toml")
    }

    pub fn pid_file(&self) -> PathBuf {
        self.path("pid")
    }

    pub fn pipe(&self) -> PathBuf {
        self.path("in.pipe")
    }

    /// What stands before any pipe: pid file, control socket, own messages to `own.log`.
    pub fn head(&self) -> String {
        let at = |name| self.path(name).display().to_string();
        format!(
            "poll_interval = \"500ms\"\npid_file = \"{}\"\nlog_level = \"info\"\n\
             [log]\ntarget = \"file\"\npath = \"{}\"\n[control]\nsocket = \"{}\"\n",
            at("pid"),
            at("own.log"),
            at("sock"),
        )
    }

    /// One pipe of this name, with records to a file of its name, and more keys for the pipe.
    pub fn pipe_section(&self, name: &str, keys: &str) -> String {
        let pipe = self.path(&format!("{name}.pipe"));
        let log = self.path(&format!("{name}.log"));
        format!(
            "[[pipe]]\nname = \"{name}\"\npath = \"{}\"\n{keys}\n[pipe.log]\ntarget = \"file\"\npath = \"{}\"\n",
            pipe.display(),
            log.display()
        )
    }

    /// One pipe `in`, from `in.pipe` to `in.log`.
    pub fn plain(&self) -> String {
        self.head() + &self.pipe_section("in", "")
    }

    pub fn configure(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    /// `bdaemon -c CONFIG`, with more arguments.
    pub fn bdaemon(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BDAEMON);
        command.arg("-c").arg(self.config()).args(args).stdin(Stdio::null());
        command
    }

    /// `bdaemonctl -c CONFIG`, with more arguments.
    pub fn bdaemonctl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BDAEMONCTL);
        command.arg("-c").arg(self.config()).args(args).stdin(Stdio::null());
        command
    }

    /// Starts the daemon in the background, as rc(8) does, and checks that it said it runs.
    pub fn start(&self) -> Daemon<'_> {
        self.start_with(&mut self.bdaemon(&[]))
    }

    pub fn start_with(&self, command: &mut Command) -> Daemon<'_> {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", described(&output));
        assert_eq!(text(&output.stdout) + &text(&output.stderr), "", "a start prints nothing");
        let pid = read_pid(&self.pid_file()).expect("a pid file after the start");
        Daemon { site: self, pid, child: None }
    }

    /// Starts the daemon in the foreground, and waits until it has written its pid file.
    pub fn start_foreground(&self) -> Daemon<'_> {
        let child = self.bdaemon(&["-f"]).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let mut daemon = Daemon { site: self, pid, child: Some(child) };
        wait_for("the pid file", || {
            let child = daemon.child.as_mut().unwrap();
            assert_eq!(child.try_wait().unwrap(), None, "the daemon ended");
            (read_pid(&self.pid_file()) == Some(pid)).then_some(())
        });
        daemon
    }

    /// Runs a start that must fail; gives its exit code and what it said.
    pub fn fail_to_start(&self, args: &[&str]) -> (i32, String) {
        let output = self.bdaemon(args).output().unwrap();
        assert!(!output.status.success(), "it started");
        assert_eq!(text(&output.stdout), "");
        let stderr = text(&output.stderr);
        assert_eq!(stderr.lines().count(), 1, "one line: {stderr:?}");
        assert!(stderr.starts_with("bdaemon: "), "{stderr:?}");
        (output.status.code().unwrap(), stderr)
    }

    /// Opens a pipe for writing, as a shell's `>` does.
    pub fn open_pipe(&self, name: &str) -> File {
        OpenOptions::new().write(true).open(self.path(name)).unwrap()
    }

    /// Writes to `in.pipe` in one write(2).
    pub fn write(&self, bytes: impl AsRef<[u8]>) {
        self.open_pipe("in.pipe").write_all(bytes.as_ref()).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The texts of the whole lines in a log file.
    pub fn texts(&self, name: &str) -> Vec<String> {
        whole_lines(&self.read(name)).map(|line| Line::parse(line).text).collect()
    }

    /// Waits until so many lines are in a log file, and gives their texts.
    pub fn wait_texts(&self, name: &str, count: usize) -> Vec<String> {
        self.wait_lines(name, count);
        self.texts(name)
    }

    pub fn wait_lines(&self, name: &str, count: usize) {
        wait_for(format!("{count} lines in {name}"), || {
            let there = whole_lines(&self.read(name)).count();
            (there >= count).then_some(())
        });
    }

    /// Waits until bdaemon's own log has a line with this text.
    pub fn wait_own(&self, text: &str) {
        wait_for(format!("{text:?} in own.log, which has:\n{}", self.read("own.log")), || {
            self.read("own.log").contains(text).then_some(())
        });
    }

    /// What is in the directory, but for the configuration and the log files.
    pub fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.directory()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<_> =
            names.filter(|name| !name.ends_with(".toml") && !name.ends_with(".log")).collect();
        left.sort();
        left
    }
}

/// A running daemon, killed when this goes out of scope.
pub struct Daemon<'a> {
    pub site: &'a Site,
    pub pid: u32,
    pub child: Option<Child>,
}

impl Daemon<'_> {
    pub fn signal(&self, signal: Signal) {
        kill(pid_of(self.pid), signal).unwrap();
    }

    /// Whether it has not ended. One that has may stay a zombie until init has looked at it.
    pub fn is_running(&self) -> bool {
        let status = Command::new("ps").args(["-o", "stat=", "-p", &self.pid.to_string()]).output();
        let status = text(&status.unwrap().stdout);
        !status.trim().is_empty() && !status.starts_with('Z')
    }

    /// Sends TERM, waits for the end, and checks that nothing is left.
    pub fn stop(mut self) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert_eq!(self.site.leftovers(), [""; 0], "nothing is left after the end");
        status
    }

    /// Waits for the end; the status is known of a daemon in the foreground.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        if let Some(child) = &mut self.child {
            return Some(wait_for("the end of the daemon", || child.try_wait().unwrap()));
        }
        wait_for("the end of the daemon", || (!self.is_running()).then_some(()));
        None
    }

    /// Resident memory in bytes, as ps(1) says.
    pub fn resident(&self) -> u64 {
        let output = Command::new("ps").args(["-o", "rss=", "-p", &self.pid.to_string()]).output();
        let kib: u64 = text(&output.unwrap().stdout).trim().parse().unwrap();
        kib * 1024
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = kill(pid_of(self.pid), Signal::SIGKILL);
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

pub fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap())
}

pub fn read_pid(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The system's name, its version without what a vendor has appended, and the machine's kind.
pub fn system() -> String {
    let uname = Command::new("uname").args(["-srm"]).output().unwrap();
    let uname = text(&uname.stdout);
    let words = uname.split_whitespace().map(|word| word.split('-').next().unwrap_or(word));
    words.collect::<Vec<_>>().join(" ")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn described(output: &Output) -> String {
    format!("{:?}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// The permission bits of what is at a path.
pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

pub fn is_fifo(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

pub fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

/// The lines that end in a newline.
pub fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

/// A line of a text log: `TIME HOST TAG[PID] PIPE.SEVERITY: TEXT`.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub time: String,
    pub host: String,
    pub tag: String,
    /// `PIPE.SEVERITY`, or `SEVERITY`.
    pub origin: String,
    pub text: String,
}

impl Line {
    pub fn parse(line: &str) -> Self {
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("not a log line: {line:?}"));
        let (time, host, tag) = (word().to_owned(), word().to_owned(), word().to_owned());
        let origin = word().strip_suffix(':').expect("a colon after the origin").to_owned();
        let text = words.next().unwrap_or_default().to_owned();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "a time: {time}");
        Self { time, host, tag, origin, text }
    }
}

/// A datagram socket that plays syslogd: what it receives comes out of a channel.
pub struct Syslogd {
    pub received: Receiver<Vec<u8>>,
    stop: mpsc::Sender<()>,
    probe: UnixDatagram,
    thread: Option<thread::JoinHandle<()>>,
}

impl Syslogd {
    pub fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let probe = UnixDatagram::unbound().unwrap();
        probe.connect(path).unwrap();
        probe.set_nonblocking(true).unwrap();
        let (sender, received) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 128 << 10];
            let mut ending = false;
            loop {
                match socket.recv(&mut buffer) {
                    Ok(0) | Err(_) if ending => return,
                    Ok(length) => {
                        if sender.send(buffer[..length].to_vec()).is_err() {
                            return;
                        }
                    }
                    Err(_) => {}
                }
                if !ending && stopped.try_recv() != Err(mpsc::TryRecvError::Empty) {
                    // From now on nothing is accepted, and what waits is read to the end.
                    let _ = socket.shutdown(Shutdown::Both);
                    ending = true;
                }
            }
        });
        Self { received, stop, probe, thread: Some(thread) }
    }

    /// The next message.
    pub fn next(&self) -> String {
        text(&self.received.recv_timeout(DEADLINE).expect("a message"))
    }

    /// Closes the socket, and gives what had been received and not looked at.
    pub fn close(mut self) -> Vec<String> {
        let _ = self.stop.send(());
        self.thread.take().unwrap().join().unwrap();
        // A child that another test has just forked has the socket too, until it executes
        // something: what is sent meanwhile is taken, and lost.
        wait_for("the socket to be closed", || {
            let sent = self.probe.send(b"");
            sent.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock).then_some(())
        });
        self.received.try_iter().map(|message| text(&message)).collect()
    }
}

/// The text of a syslog message in either format, as this daemon writes it.
pub fn syslog_text(message: &str) -> &str {
    let (_, rest) = message.split_once('>').expect("a priority");
    match rest.strip_prefix("1 ") {
        Some(rest) => rest.splitn(7, ' ').nth(6).expect("seven fields"),
        None => rest.split_once("]: ").expect("a tag").1,
    }
}
