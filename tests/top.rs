//! `bdaemonctl top` in a pseudo-terminal, whose screen is read back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};

use common::{Site, Syslogd, described, pid_of, text, wait_for};

const ROWS: u16 = 24;
const COLUMNS: u16 = 160;

/// A program in a terminal.
struct Terminal {
    child: Child,
    keys: File,
    /// The child's side, by which the terminal's modes are seen.
    slave: OwnedFd,
    before: Termios,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    fn top(site: &Site, args: &[&str], colour: bool) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let mut command = site.bdaemonctl(&["top"]);
        let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
        command.args(args).stdin(stdio()).stdout(stdio()).stderr(stdio()).env("TERM", "xterm");
        if colour {
            command.env_remove("NO_COLOR");
        } else {
            command.env("NO_COLOR", "1");
        }
        let child = command.spawn().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let keys = File::from(pty.master);
        let mut output = keys.try_clone().unwrap();
        let seen = Arc::clone(&screen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = output.read(&mut buffer) {
                if count == 0 {
                    return;
                }
                seen.lock().unwrap().process(&buffer[..count]);
            }
        });
        Self { child, keys, slave: pty.slave, before, screen }
    }

    fn contents(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn wait_for(&self, what: &str) {
        wait_for(format!("{what:?} on the screen"), || {
            self.contents().contains(what).then_some(())
        });
    }

    fn wait(&mut self) -> ExitStatus {
        wait_for("the end of top", || self.child.try_wait().unwrap())
    }

    /// Whether the terminal is as it was before.
    fn check_given_back(&self) {
        wait_for("the first screen", || {
            let screen = self.screen.lock().unwrap();
            (!screen.screen().alternate_screen() && !screen.screen().hide_cursor()).then_some(())
        });
        let now = tcgetattr(&self.slave).unwrap();
        assert_eq!(now.local_flags, self.before.local_flags);
        assert_eq!(now.input_flags, self.before.input_flags);
        assert_eq!(now.output_flags, self.before.output_flags);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_shows_pipes_targets_and_rates_and_q_quits() {
    let site = Site::new();
    let daemon = site.start();
    let mut top = Terminal::top(&site, &["-i", "100ms"], true);
    top.wait_for(&format!("pid {}", daemon.pid));
    top.wait_for("q quits");
    assert!(top.screen.lock().unwrap().screen().alternate_screen());
    let raw = tcgetattr(&top.slave).unwrap();
    assert!(!raw.local_flags.contains(LocalFlags::ICANON), "keys come one by one");
    // The graph has a block when something came, and the counters follow.
    let mut writer = site.open_pipe("in.pipe");
    wait_for("a block in the graph", || {
        writer.write_all(b"one\ntwo\n").unwrap();
        top.contents().contains('█').then_some(())
    });
    let contents = top.contents();
    let line = |begin: &str| {
        let found = contents.lines().find(|line| line.starts_with(begin));
        found.unwrap_or_else(|| panic!("{begin:?} in:\n{contents}")).to_owned()
    };
    assert!(line("PIPE").contains("RATE/s"), "{contents}");
    assert!(line("in ").contains("reading"), "{contents}");
    let target = format!("file:{}", site.path("in.log").display());
    assert!(line(&target).contains("  ok "), "{contents}");
    top.keys.write_all(b"q").unwrap();
    assert!(top.wait().success());
    top.check_given_back();
    daemon.stop();
}

#[test]
fn a_stalled_target_stands_out_and_says_why() {
    let site = Site::new();
    let syslogd = Syslogd::bind(&site.path("syslog.log"));
    let pipe = format!(
        "[[pipe]]\npath = \"{}\"\n[pipe.log]\ntarget = \"syslog\"\naddress = \"unix:{}\"\n",
        site.pipe().display(),
        site.path("syslog.log").display()
    );
    site.configure(&(site.head() + &pipe));
    let daemon = site.start();
    syslogd.close();
    std::fs::remove_file(site.path("syslog.log")).unwrap();
    site.write("held\n");
    site.wait_own("wait until it is back");
    for colour in [true, false] {
        let mut top = Terminal::top(&site, &["-i", "100ms"], colour);
        top.wait_for("connect: No such file or directory");
        let screen = top.screen.lock().unwrap().screen().clone();
        let row = screen.rows(0, COLUMNS).position(|row| row.starts_with("unix:")).unwrap();
        let cell = screen.cell(u16::try_from(row).unwrap(), 0).unwrap();
        let red = cell.fgcolor() == vt100::Color::Idx(9) || cell.fgcolor() == vt100::Color::Idx(1);
        assert_eq!(red, colour, "{:?}", cell.fgcolor());
        top.keys.write_all(b"\x03").unwrap();
        assert!(top.wait().success(), "Ctrl-C ends it as well");
    }
    daemon.signal(Signal::SIGKILL);
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let site = Site::new();
    let daemon = site.start();
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut top = Terminal::top(&site, &[], true);
        top.wait_for("q quits");
        kill(pid_of(top.child.id()), signal).unwrap();
        assert!(top.wait().success());
        top.check_given_back();
    }
    daemon.stop();
}

#[test]
fn it_can_be_ended_while_the_daemon_does_not_answer() {
    let site = Site::new();
    let daemon = site.start();
    for end in ["q", "SIGTERM"] {
        let mut top = Terminal::top(&site, &["-i", "1ms"], true);
        top.wait_for("q quits");
        daemon.signal(Signal::SIGSTOP);
        // By then it has asked.
        thread::sleep(Duration::from_millis(100));
        match end {
            "q" => top.keys.write_all(b"q").unwrap(),
            _ => kill(pid_of(top.child.id()), Signal::SIGTERM).unwrap(),
        }
        assert!(top.wait().success(), "{end}");
        top.check_given_back();
        daemon.signal(Signal::SIGCONT);
    }
    daemon.stop();
}

#[test]
fn it_can_be_ended_whatever_the_interval() {
    let site = Site::new();
    let daemon = site.start();
    for interval in ["0", "10000000000000000000"] {
        let mut top = Terminal::top(&site, &["-i", interval], true);
        top.wait_for("q quits");
        top.keys.write_all(b"q").unwrap();
        assert!(top.wait().success(), "{interval}");
        top.check_given_back();
    }
    daemon.stop();
}

#[test]
fn a_terminal_that_goes_away_ends_it() {
    let site = Site::new();
    let daemon = site.start();
    let pty = openpty(None, None).unwrap();
    // Or top had the terminal's other side as well.
    fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut command = site.bdaemonctl(&["top", "-i", "1h"]);
    command.stdin(stdio()).stdout(stdio()).stderr(stdio()).env("TERM", "xterm");
    let mut top = command.spawn().unwrap();
    drop((command, pty.slave));
    let mut master = File::from(pty.master);
    let (mut seen, mut buffer) = (String::new(), [0; 4096]);
    while !seen.contains("quits") {
        let count = master.read(&mut buffer).unwrap();
        seen += &text(&buffer[..count]);
    }
    drop(master);
    wait_for("the end of top", || top.try_wait().unwrap());
    daemon.stop();
}

#[test]
fn a_daemon_that_goes_away_ends_it_and_gives_the_terminal_back() {
    let site = Site::new();
    let daemon = site.start();
    let mut top = Terminal::top(&site, &["-i", "50ms"], true);
    top.wait_for("q quits");
    daemon.stop();
    assert_eq!(top.wait().code(), Some(69));
    top.check_given_back();
    top.wait_for("bdaemon went away");
}

#[test]
fn without_a_terminal_it_prints_lines() {
    let site = Site::new();
    let daemon = site.start();
    site.write("one\n");
    site.wait_lines("in.log", 1);
    let output = site.bdaemonctl(&["top", "-n", "2", "-i", "10ms"]).output().unwrap();
    assert!(output.status.success(), "{}", described(&output));
    let printed = text(&output.stdout);
    assert!(!printed.contains('\x1b'), "no escapes: {printed:?}");
    assert_eq!(printed.lines().filter(|line| line.starts_with("in ")).count(), 2, "{printed}");
    assert_eq!(printed.lines().filter(|line| line.starts_with("file:")).count(), 4, "{printed}");
    let output = site.bdaemonctl(&["--json", "top", "-n", "2", "-i", "10ms"]).output().unwrap();
    let looks = text(&output.stdout);
    let looks = looks.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert_eq!(looks.filter(|look| look["pid"] == daemon.pid).count(), 2);
    daemon.stop();
}
