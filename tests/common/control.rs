//! The other end of the control socket: bdaemonctl run to its end, and a client that says what it
//! likes.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};

use super::{DEADLINE, Site, Syslogd, described, text, wait_for};

pub const EX_USAGE: i32 = 64;
pub const EX_DATAERR: i32 = 65;
pub const EX_UNAVAILABLE: i32 = 69;
pub const EX_CANTCREAT: i32 = 73;
pub const EX_IOERR: i32 = 74;
pub const EX_TEMPFAIL: i32 = 75;
pub const EX_NOPERM: i32 = 77;
pub const EX_CONFIG: i32 = 78;

/// Runs a command with this standard input to its end.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A copy of a program cannot be run while a child that another test has just forked still has
    // it open for writing.
    let mut child = wait_for("the program to be free", || match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => None,
        child => Some(child.unwrap()),
    });
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // A command that ends early does not read all of it.
    let _ = feeder.join().unwrap();
    output
}

/// What a command prints that does what it is asked, and complains of nothing.
pub fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", described(output));
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

/// The exit code of a command that fails, and the one line that it says.
pub fn fails(output: &Output) -> (i32, String) {
    assert!(!output.status.success(), "{}", described(output));
    let stderr = text(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "one line: {stderr:?}");
    assert!(stderr.starts_with("bdaemonctl: "), "{stderr:?}");
    (output.status.code().expect("an exit code"), stderr)
}

impl Site {
    /// What bdaemonctl prints that does what it is asked.
    pub fn ctl(&self, args: &[&str]) -> String {
        succeeds(&run(&mut self.bdaemonctl(args), b""))
    }

    /// How bdaemonctl fails, having printed nothing else.
    pub fn ctl_fails(&self, args: &[&str]) -> (i32, String) {
        let output = run(&mut self.bdaemonctl(args), b"a line\n");
        assert_eq!(text(&output.stdout), "");
        fails(&output)
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.ctl(&["status", "--json"])).unwrap()
    }

    /// Records that the daemon has read and not delivered.
    pub fn held(&self) -> u64 {
        let status = self.status();
        let targets = status["targets"].as_array().unwrap();
        targets.iter().map(|target| target["backlog_records"].as_u64().unwrap()).sum()
    }

    pub fn socket(&self) -> std::path::PathBuf {
        self.path("sock")
    }

    pub fn syslog_socket(&self) -> std::path::PathBuf {
        self.path("syslog.log")
    }

    /// A pipe of this name, with records to [`Site::syslog_socket`].
    pub fn syslog_section(&self, name: &str) -> String {
        format!(
            "[[pipe]]\nname = \"{name}\"\npath = \"{}\"\n[pipe.log]\ntarget = \"syslog\"\naddress = \"unix:{}\"\n",
            self.path(&format!("{name}.pipe")).display(),
            self.syslog_socket().display()
        )
    }

    /// Takes the syslog socket away and makes the target of this pipe notice, with one record
    /// that now waits.
    pub fn stall(&self, syslogd: Syslogd, pipe: &str) {
        syslogd.close();
        std::fs::remove_file(self.syslog_socket()).unwrap();
        self.open_pipe(&format!("{pipe}.pipe")).write_all(b"held\n").unwrap();
        self.wait_own("its pipes wait until it is back");
    }
}

/// A client of the control socket.
pub struct Talk {
    pub stream: UnixStream,
    input: BufReader<UnixStream>,
    pub greeting: Value,
}

impl Talk {
    /// Connects and hears the greeting.
    pub fn connect(site: &Site) -> Self {
        let stream = UnixStream::connect(site.socket()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let input = BufReader::new(stream.try_clone().unwrap());
        let mut talk = Self { stream, input, greeting: Value::Null };
        talk.greeting = talk.hear().expect("a greeting");
        talk
    }

    /// Says it, whether or not the other side still listens.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// The next line; none when the daemon has closed the connection.
    pub fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.input.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"))),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    pub fn ask(&mut self, request: &Value) -> Value {
        self.say(format!("{request}\n")).unwrap();
        self.hear().expect("an answer")
    }

    /// Sends one record, and waits until it is confirmed.
    pub fn confirm(&mut self, text: &str) {
        let reply = self.ask(&json!({ "command": "send", "text": text }));
        assert_eq!(reply, json!({ "reply": "delivered", "records": 1 }));
    }

    /// Checks that an error comes next, and that the daemon still serves this client after that.
    pub fn is_told(&mut self, code: i32, what: &str) {
        self.is_told_last(code, what);
        assert_eq!(self.ask(&json!({ "command": "status" }))["reply"], "status");
    }

    /// Checks that an error comes next.
    pub fn is_told_last(&mut self, code: i32, what: &str) {
        let reply = self.hear().expect("an error");
        assert_eq!((&reply["reply"], &reply["code"]), (&json!("error"), &json!(code)), "{reply}");
        let message = reply["message"].as_str().unwrap();
        assert!(message.contains(what), "{message:?}");
    }
}

/// Connects when there is room, however many others try the same.
pub fn connect_in_turn(site: &Site) -> Talk {
    wait_for("a place among the clients", || {
        let mut talk = Talk::connect(site);
        talk.say("{\"command\":\"log-level\"}\n").ok()?;
        (talk.hear()?["reply"] == "log-level").then_some(talk)
    })
}

/// So many numbered lines.
pub fn numbered(prefix: &str, count: usize) -> String {
    (0..count).fold(String::new(), |mut lines, number| {
        writeln!(lines, "{prefix} {number}").unwrap();
        lines
    })
}
