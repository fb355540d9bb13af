//! The control socket's beginning and end: who may, who serves it, and what a stop leaves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::unistd::User;
use serde_json::{Value, json};

use common::control::{EX_CANTCREAT, EX_IOERR, EX_NOPERM, fails, run, succeeds};
use common::{BDAEMONCTL, Site, Syslogd, inode, is_root_or_skip, mode, wait_for};

fn is_socket(site: &Site) -> bool {
    fs::symlink_metadata(site.socket()).is_ok_and(|metadata| metadata.file_type().is_socket())
}

#[test]
fn stop_returns_when_nothing_of_the_daemon_is_left() {
    for _ in 0..10 {
        let site = Site::new();
        let daemon = site.start();
        let mut pipe = site.open_pipe("in.pipe");
        pipe.write_all(b"one\ntwo\nand a tail").unwrap();
        let said = site.ctl(&["stop"]);
        assert_eq!(site.leftovers(), [""; 0], "pid file, socket and pipe are gone");
        assert_eq!(site.texts("in.log"), ["one", "two", "and a tail"]);
        assert!(said.starts_with("stopped; ") && said.ends_with(" delivered first\n"), "{said}");
        wait_for("the end of the process", || (!daemon.is_running()).then_some(()));
        // The next start finds the way free at once.
        site.start().stop();
    }
}

#[test]
fn stop_says_how_many_records_were_drained() {
    let site = Site::new();
    let daemon = site.start();
    site.ctl(&["send", "--wait", "long before"]);
    // What is written to a daemon that is stopped waits in the pipe until it is drained.
    daemon.signal(Signal::SIGSTOP);
    let mut stop = site.bdaemonctl(&["stop", "--json"]);
    let stop = stop.stdout(std::process::Stdio::piped()).spawn().unwrap();
    site.write("one\ntwo\nthree\n");
    daemon.signal(Signal::SIGCONT);
    let output = stop.wait_with_output().unwrap();
    let said: Value = serde_json::from_str(&succeeds(&output)).unwrap();
    assert_eq!(said["lost"], 0);
    assert!(said["drained"].as_u64().unwrap() <= 3, "{said}");
    assert_eq!(site.texts("in.log"), ["long before", "one", "two", "three"]);
}

/// A daemon with a pipe `in` that is well, and a pipe `stuck` whose target is away with 51
/// records before it.
fn stuck(site: &Site, stop_timeout: &str) {
    let syslogd = Syslogd::bind(&site.syslog_socket());
    let config = site.plain() + &site.syslog_section("stuck");
    site.configure(&format!("stop_timeout = \"{stop_timeout}\"\n{config}"));
    let daemon = site.start();
    for number in 0..10 {
        site.ctl(&["send", "--wait", &number.to_string()]);
    }
    site.stall(syslogd, "stuck");
    let mut pipe = site.open_pipe("stuck.pipe");
    for number in 0..50 {
        pipe.write_all(format!("{number}\n").as_bytes()).unwrap();
    }
    std::mem::forget(daemon);
}

#[test]
fn a_stop_that_loses_records_says_how_many_and_fails() {
    let site = Site::new();
    stuck(&site, "1h");
    let begin = Instant::now();
    let output = run(&mut site.bdaemonctl(&["stop", "--timeout", "300ms", "--json"]), b"");
    let (code, stderr) = fails(&output);
    assert_eq!(code, EX_IOERR, "{stderr}");
    assert!(stderr.contains("51 records could not be delivered in time and are lost"), "{stderr}");
    let said: Value = serde_json::from_str(&common::text(&output.stdout)).unwrap();
    assert_eq!(said, json!({ "drained": 0, "lost": 51 }));
    assert!(begin.elapsed() < Duration::from_secs(30), "the given time, not the configured one");
    assert_eq!(site.leftovers(), [""; 0]);
}

#[test]
fn a_stop_may_take_longer_than_is_configured() {
    let site = Site::new();
    stuck(&site, "1ms");
    let mut stop = site.bdaemonctl(&["stop", "--timeout", "1h"]);
    let stop = stop.stdout(std::process::Stdio::piped()).spawn().unwrap();
    wait_for("the pipe's name to go", || (!site.path("stuck.pipe").exists()).then_some(()));
    let syslogd = Syslogd::bind(&site.syslog_socket());
    let said = succeeds(&stop.wait_with_output().unwrap());
    assert_eq!(said, "stopped; 51 more records were delivered first\n");
    assert_eq!(syslogd.close().len(), 51);
}

/// `bdaemonctl` as somebody without rights; the programs may lie where nobody may go.
struct Stranger<'a> {
    site: &'a Site,
    programs: tempfile::TempDir,
    user: User,
}

impl<'a> Stranger<'a> {
    fn new(site: &'a Site) -> Self {
        let programs = tempfile::tempdir().unwrap();
        for directory in [site.directory(), programs.path()] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Not by this process: another test's child would hold the copy open for writing.
        let mut copy = Command::new("cp");
        assert!(copy.arg(BDAEMONCTL).arg(programs.path()).status().unwrap().success());
        let user = User::from_name("nobody").unwrap().expect("nobody is an account everywhere");
        Self { site, programs, user }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.programs.path().join("bdaemonctl"));
        let command_ids = command.uid(self.user.uid.as_raw()).gid(self.user.gid.as_raw());
        command_ids.current_dir("/").arg("-c").arg(self.site.config()).args(args);
        command
    }
}

/// The plain configuration with this mode of the socket.
fn with_mode(site: &Site, mode: &str) -> String {
    site.plain().replace("[control]\n", &format!("[control]\nmode = \"{mode}\"\n"))
}

#[test]
fn whoever_may_connect_may_look_and_send_but_change_nothing() {
    if !is_root_or_skip() {
        return;
    }
    let site = Site::new();
    site.configure(&with_mode(&site, "0666"));
    let daemon = site.start();
    let stranger = Stranger::new(&site);
    for args in [
        &["stop"][..],
        &["reload"],
        &["reopen"],
        &["log-level"],
        &["log-level", "trace"],
        &["stop", "--timeout", "0s"],
    ] {
        let (code, stderr) = fails(&run(&mut stranger.command(args), b""));
        assert_eq!(code, EX_NOPERM, "{args:?}: {stderr}");
        assert!(stderr.contains("only root"), "{stderr}");
    }
    for args in [&["status"][..], &["stats"], &["tail"], &["send", "--wait", "from nobody"]] {
        succeeds(&run(&mut stranger.command(args), b""));
    }
    assert_eq!(site.texts("in.log"), ["from nobody"]);
    let status = site.status();
    assert_eq!((&status["log_level"], &status["reloads"]), (&json!("info"), &json!(0)));
    daemon.stop();
}

#[test]
fn the_user_that_the_daemon_runs_as_may_change_what_it_likes() {
    if !is_root_or_skip() {
        return;
    }
    let site = Site::new();
    let stranger = Stranger::new(&site);
    nix::unistd::chown(site.directory(), Some(stranger.user.uid), Some(stranger.user.gid)).unwrap();
    site.configure(&format!("user = \"nobody\"\n{}", with_mode(&site, "0600")));
    let mut daemon = site.start();
    for args in [&["log-level", "debug"][..], &["reload"], &["reopen"], &["stop"]] {
        succeeds(&run(&mut stranger.command(args), b""));
    }
    daemon.wait();
    assert_eq!(site.leftovers(), [""; 0]);
}

#[test]
fn whoever_may_not_connect_is_told_who_may() {
    if !is_root_or_skip() {
        return;
    }
    let site = Site::new();
    site.configure(&with_mode(&site, "0600"));
    let daemon = site.start();
    let stranger = Stranger::new(&site);
    for args in [&["status"][..], &["stop"], &["tail"], &["send", "--wait", "x"]] {
        let (code, stderr) = fails(&run(&mut stranger.command(args), b""));
        assert_eq!(code, EX_NOPERM, "{args:?}: {stderr}");
        assert!(stderr.contains("not permitted"), "{stderr}");
    }
    daemon.stop();
}

#[test]
fn the_sockets_mode_is_exact_whatever_the_umask() {
    for umask in ["000", "022", "077", "777"] {
        for wanted in ["0600", "0666", "0660"] {
            let site = Site::new();
            site.configure(&with_mode(&site, wanted));
            let mut command = Command::new("sh");
            let script = r#"umask "$2"; exec "$0" -c "$1""#;
            command.args(["-c", script, common::BDAEMON]).arg(site.config()).arg(umask);
            let daemon = site.start_with(&mut command);
            let bits = u32::from_str_radix(wanted, 8).unwrap();
            assert_eq!(mode(&site.socket()), bits, "umask {umask}");
            daemon.stop();
        }
    }
}

#[test]
fn a_socket_that_a_crash_left_is_replaced() {
    let site = Site::new();
    let mut daemon = site.start();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    assert!(is_socket(&site));
    let daemon = site.start();
    assert_eq!(site.status()["pid"], daemon.pid);
    daemon.stop();
}

#[test]
fn a_socket_that_a_live_daemon_serves_is_refused_and_left() {
    let site = Site::new();
    let daemon = site.start();
    let before = inode(&site.socket());
    let config = site.plain();
    let path = |name| site.path(name).display().to_string();
    for (old, new) in [("pid", "second.pid"), ("in.pipe", "second.pipe")] {
        let text = fs::read_to_string(site.config()).unwrap();
        site.configure(&text.replace(&format!("{}\"", path(old)), &format!("{}\"", path(new))));
    }
    let (code, stderr) = site.fail_to_start(&[]);
    assert_eq!(code, EX_CANTCREAT, "{stderr}");
    assert!(
        stderr.contains("control socket") && stderr.contains("is served by another"),
        "{stderr}"
    );
    assert_eq!(inode(&site.socket()), before);
    assert!(!site.path("second.pipe").exists() && !site.path("second.pid").exists());
    site.configure(&config);
    assert_eq!(site.status()["pid"], daemon.pid);
    daemon.stop();
}

#[test]
fn a_socket_whose_server_takes_nobody_in_is_refused_as_well() {
    if !cfg!(target_os = "linux") {
        // Elsewhere a full queue refuses, as if nobody listened.
        return;
    }
    let site = Site::new();
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = || socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
    let address = UnixAddr::new(&site.socket()).unwrap();
    let server = socket();
    socket::bind(server.as_raw_fd(), &address).unwrap();
    socket::listen(&server, Backlog::new(0).unwrap()).unwrap();
    let mut waiting = Vec::new();
    loop {
        waiting.push(socket());
        match socket::connect(waiting.last().unwrap().as_raw_fd(), &address) {
            Ok(()) => {}
            Err(errno) => break assert_eq!(errno, Errno::EAGAIN),
        }
    }
    let (code, stderr) = site.fail_to_start(&[]);
    assert_eq!(code, EX_CANTCREAT, "{stderr}");
    assert!(stderr.contains("is served by another"), "{stderr}");
    assert!(is_socket(&site));
}

#[test]
fn a_socket_whose_directory_was_moved_is_made_again() {
    let site = Site::new();
    let run_dir = site.path("run");
    fs::create_dir(&run_dir).unwrap();
    let config = site.plain();
    site.configure(&config.replace(
        &format!("socket = \"{}\"", site.socket().display()),
        &format!("socket = \"{}\"", run_dir.join("sock").display()),
    ));
    let daemon = site.start();
    fs::rename(&run_dir, site.path("moved")).unwrap();
    fs::create_dir(&run_dir).unwrap();
    wait_for("the socket to be served", || {
        run(&mut site.bdaemonctl(&["status"]), b"").status.success().then_some(())
    });
    fs::remove_dir_all(site.path("moved")).unwrap();
    daemon.signal(Signal::SIGTERM);
    wait_for("the end", || (!daemon.is_running()).then_some(()));
    assert!(!run_dir.join("sock").exists());
}

#[test]
fn what_is_no_socket_is_refused_and_left() {
    let target = |site: &Site| -> PathBuf { site.path("precious.log") };
    for kind in ["a regular file", "a symlink", "a directory"] {
        let site = Site::new();
        fs::write(target(&site), "precious").unwrap();
        match kind {
            "a symlink" => std::os::unix::fs::symlink(target(&site), site.socket()).unwrap(),
            "a directory" => fs::create_dir(site.socket()).unwrap(),
            _ => fs::write(site.socket(), "precious").unwrap(),
        }
        let (code, stderr) = site.fail_to_start(&[]);
        assert_eq!(code, EX_CANTCREAT, "{stderr}");
        assert!(stderr.contains(&format!("is {kind}, not a socket")), "{stderr}");
        assert_eq!(site.leftovers(), ["sock"], "nothing of the start");
        assert_eq!(fs::read_to_string(target(&site)).unwrap(), "precious");
        if kind == "a regular file" {
            assert_eq!(site.read("sock"), "precious");
        }
    }
}

#[test]
fn a_socket_that_was_removed_is_made_again() {
    let site = Site::new();
    site.configure(&with_mode(&site, "0640"));
    let daemon = site.start();
    for _ in 0..3 {
        fs::remove_file(site.socket()).unwrap();
        let begin = Instant::now();
        wait_for("the socket", || is_socket(&site).then_some(()));
        assert!(begin.elapsed() < Duration::from_secs(10), "within a poll interval of 500 ms");
        wait_for("the socket to be served", || {
            run(&mut site.bdaemonctl(&["status"]), b"").status.success().then_some(())
        });
        assert_eq!(mode(&site.socket()), 0o640);
    }
    assert!(site.read("own.log").contains("was removed or replaced; made again"));
    // What somebody else put there is theirs.
    fs::remove_file(site.socket()).unwrap();
    fs::write(site.socket(), "precious").unwrap();
    site.ctl_fails(&["status"]);
    site.write("still there\n");
    site.wait_lines("in.log", 1);
    daemon.signal(Signal::SIGTERM);
    wait_for("the end", || (!daemon.is_running()).then_some(()));
    assert_eq!((site.leftovers(), site.read("sock")), (vec!["sock".into()], "precious".into()));
}
