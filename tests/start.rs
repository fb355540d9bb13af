//! A start tells the truth, and one that fails leaves nothing behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use nix::sys::signal::Signal;

use common::{Site, described, mode, text};

const EX_USAGE: i32 = 64;
const EX_CANTCREAT: i32 = 73;
const EX_CONFIG: i32 = 78;

#[test]
fn when_the_start_has_returned_a_record_arrives() {
    for _ in 0..10 {
        let site = Site::new();
        let daemon = site.start();
        // No waiting in between: opening a pipe that nobody reads would fail here.
        let output = site.bdaemonctl(&["send", "first"]).output().unwrap();
        assert!(output.status.success(), "{}", described(&output));
        assert_eq!(site.wait_texts("in.log", 1), ["first"]);
        daemon.stop();
    }
}

#[test]
fn a_second_daemon_on_the_same_pid_file_is_refused_and_told_the_pid() {
    let site = Site::new();
    let daemon = site.start();
    for args in [&[][..], &["-f"]] {
        let (code, stderr) = site.fail_to_start(args);
        assert_eq!(code, EX_CANTCREAT);
        assert!(stderr.contains(&format!("already running as pid {}", daemon.pid)), "{stderr}");
    }
    assert_eq!(common::read_pid(&site.pid_file()), Some(daemon.pid), "the pid file is untouched");
    assert!(daemon.is_running());
    daemon.stop();
}

#[test]
fn a_stale_pid_file_is_no_obstacle() {
    let site = Site::new();
    // This very process lives, and holds no lock.
    fs::write(site.pid_file(), format!("{}\n", std::process::id())).unwrap();
    let daemon = site.start();
    assert_eq!(fs::read_to_string(site.pid_file()).unwrap(), format!("{}\n", daemon.pid));
    daemon.stop();
}

#[test]
fn a_start_that_fails_leaves_nothing_behind_and_says_why_in_one_line() {
    /// What is wrong, the configuration that has it, and what the error says.
    type Case<'a> = (&'a str, &'a dyn Fn(&Site) -> String, &'a str);
    let cases: [Case<'_>; 8] = [
        (
            "a log file in no directory",
            &|site| site.plain().replace("in.log", "no/in.log"),
            "no/in.log",
        ),
        (
            "a pipe in no directory",
            &|site| site.plain().replace("in.pipe", "no/in.pipe"),
            "no/in.pipe",
        ),
        (
            "a pid file in no directory",
            &|site| site.plain().replace("/pid\"", "/no/pid\""),
            "no/pid",
        ),
        (
            "a log file that is a directory",
            &|site| {
                fs::create_dir(site.path("directory.log")).unwrap();
                site.plain().replace("in.log", "directory.log")
            },
            "a directory, not a regular file",
        ),
        (
            "a log file that is a symlink",
            &|site| {
                symlink("in.log", site.path("link.log")).unwrap();
                site.plain().replace("in.log", "link.log")
            },
            "a symlink, not a regular file",
        ),
        (
            "a syslog socket that nobody serves",
            &|site| {
                let address = format!(
                    "target = \"syslog\"\naddress = \"unix:{}\"",
                    site.path("none").display()
                );
                let file =
                    format!("target = \"file\"\npath = \"{}\"", site.path("in.log").display());
                site.plain().replace(&file, &address)
            },
            "none: connect: No such file or directory; is syslogd running, and does it listen there?",
        ),
        (
            "a second pipe that cannot be made",
            &|site| {
                site.plain()
                    + &site.pipe_section("second", "").replace("/second.pipe", "/no/second.pipe")
            },
            "no/second.pipe cannot be used: opening its directory: No such file or directory; make \
             its directory",
        ),
        (
            "a pid file without its directory",
            &|site| site.plain().replace("/pid\"", "/no/pid\""),
            "no/pid: No such file or directory; make its directory",
        ),
    ];
    for (what, configuration, expected) in cases {
        let site = Site::new();
        site.configure(&configuration(&site));
        for args in [&[][..], &["-f"]] {
            let (code, stderr) = site.fail_to_start(args);
            assert_eq!(code, EX_CANTCREAT, "{what}: {stderr}");
            assert!(stderr.contains(expected), "{what}: {stderr}");
            assert_eq!(site.leftovers(), [""; 0], "{what}");
            assert!(!site.path("in.log").exists(), "{what}: a log file was left");
            assert!(!site.path("own.log").exists(), "{what}: a log file was left");
        }
    }
}

#[test]
fn a_log_file_that_was_there_survives_a_start_that_fails() {
    let site = Site::new();
    fs::write(site.path("own.log"), "from before\n").unwrap();
    site.configure(&site.plain().replace("in.pipe", "no/in.pipe"));
    site.fail_to_start(&[]);
    assert_eq!(site.read("own.log"), "from before\n");
}

#[test]
fn bad_arguments_and_bad_files_have_their_exit_codes() {
    let site = Site::new();
    let (code, stderr) = site.fail_to_start(&["--frobnicate"]);
    assert_eq!(code, EX_USAGE);
    assert!(stderr.contains("--frobnicate"), "{stderr}");
    assert_eq!(site.fail_to_start(&["extra"]).0, EX_USAGE);

    site.configure("poll_intervall = \"5s\"\n");
    let (code, stderr) = site.fail_to_start(&[]);
    assert_eq!(code, EX_CONFIG);
    assert!(stderr.contains("bdaemon.toml:1:1: poll_intervall: "), "{stderr}");
    assert!(stderr.contains("did you mean `poll_interval`"), "{stderr}");
    assert_eq!(site.fail_to_start(&["-t"]).0, EX_CONFIG);

    fs::remove_file(site.config()).unwrap();
    let (code, stderr) = site.fail_to_start(&[]);
    assert_eq!(code, EX_CONFIG, "a file named with -c must exist");
    assert!(stderr.contains("bdaemon.toml: No such file"), "{stderr}");
}

#[test]
fn check_prints_the_configuration_as_understood_and_starts_nothing() {
    let site = Site::new();
    let checked = site.bdaemon(&["-t"]).output().unwrap();
    assert!(checked.status.success(), "{}", described(&checked));
    let printed = text(&checked.stdout);
    assert!(printed.contains("max_record = \"8KiB\"") && printed.contains("in.pipe"), "{printed}");
    assert_eq!(site.leftovers(), [""; 0]);

    // What it prints is a file that says the same.
    fs::write(site.path("printed.toml"), &printed).unwrap();
    let again =
        Command::new(common::BDAEMON).arg("-t").arg("-c").arg(site.path("printed.toml")).output();
    assert_eq!(text(&again.unwrap().stdout), printed);

    let by_ctl = site.bdaemonctl(&["check"]).output().unwrap();
    assert_eq!(text(&by_ctl.stdout), printed);
}

#[test]
fn check_says_what_the_machine_lacks() {
    let site = Site::new();
    site.configure(
        &(format!("user = \"no-such-user\"\n{}", site.plain().replace("in.log", "no/in.log"))),
    );
    let checked = site.bdaemon(&["--check"]).output().unwrap();
    assert!(checked.status.success(), "the file itself is right");
    let stderr = text(&checked.stderr);
    assert!(stderr.contains("no user `no-such-user`"), "{stderr}");
    assert!(stderr.contains("/no: No such file or directory; make this directory"), "{stderr}");
}

#[test]
fn the_pid_file_option_wins_over_the_configuration() {
    let site = Site::new();
    let other = site.path("other-pid");
    let output = site.bdaemon(&["-p", other.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", described(&output));
    let pid = common::read_pid(&other).unwrap();
    assert!(!site.pid_file().exists());
    let daemon = common::Daemon { site: &site, pid, child: None };
    daemon.signal(Signal::SIGHUP);
    site.wait_own("configuration reloaded");
    daemon.stop();
}

#[test]
fn relative_paths_on_the_command_line_mean_the_directory_of_the_start() {
    let site = Site::new();
    let mut command = Command::new(common::BDAEMON);
    let daemon =
        site.start_with(command.args(["-c", "bdaemon.toml"]).current_dir(site.directory()));
    // The daemon works in /, and finds the file all the same.
    daemon.signal(Signal::SIGHUP);
    site.wait_own("configuration reloaded");
    daemon.stop();
}

#[test]
fn a_daemon_lets_go_of_the_terminal_and_of_inherited_streams() {
    let site = Site::new();
    // `start` reads standard output and error to their ends: a daemon that held one open would
    // keep it from returning.
    let daemon = site.start();
    let session = nix::unistd::getsid(Some(common::pid_of(daemon.pid))).unwrap();
    assert_ne!(session, nix::unistd::getsid(None).unwrap(), "a session of its own");
    if cfg!(target_os = "linux") {
        let directory = fs::read_link(format!("/proc/{}/cwd", daemon.pid)).unwrap();
        assert_eq!(directory.to_str(), Some("/"), "it keeps no file system busy");
    }
    let output =
        Command::new("ps").args(["-o", "tty=,pid=", "-p", &daemon.pid.to_string()]).output();
    let line = text(&output.unwrap().stdout);
    assert!(line.trim().starts_with(['?', '-']), "no terminal: {line:?}");
    daemon.stop();
}

#[test]
fn in_the_foreground_standard_error_can_be_the_target() {
    let site = Site::new();
    let pipe = format!(
        "[[pipe]]\nname = \"in\"\npath = \"{}\"\n[pipe.log]\ntarget = \"stderr\"\n",
        site.pipe().display()
    );
    site.configure(&(site.head() + &pipe));
    let mut daemon = site.start_foreground();
    let stderr = daemon.child.as_mut().unwrap().stderr.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stderr));
    // More than a pipe holds, so that the daemon has to wait for this reader.
    let mut writer = site.open_pipe("in.pipe");
    let sender = std::thread::spawn(move || {
        for number in 0..5000 {
            writer.write_all(format!("{number} {:0100}\n", 0).as_bytes()).unwrap();
        }
    });
    for number in 0..5000 {
        let line = common::Line::parse(&lines.next().unwrap().unwrap());
        assert_eq!((line.origin.as_str(), line.text), ("in.info", format!("{number} {:0100}", 0)));
    }
    sender.join().unwrap();
    assert!(daemon.stop().unwrap().success());
}

#[test]
fn while_nobody_reads_standard_error_other_pipes_go_on() {
    let site = Site::new();
    let stderr = format!(
        "[[pipe]]\nname = \"err\"\npath = \"{}\"\n[pipe.log]\ntarget = \"stderr\"\n",
        site.path("err.pipe").display()
    );
    site.configure(&(site.plain() + &stderr));
    let mut daemon = site.start_foreground();
    let mut writer = site.open_pipe("err.pipe");
    let lines = 5000;
    let sender = std::thread::spawn(move || {
        for number in 0..lines {
            writer.write_all(format!("{number} {:0100}\n", 0).as_bytes()).unwrap();
        }
    });
    site.wait_own("target stderr: it takes nothing more; its pipes wait until it is back");
    site.write("goes on\n");
    assert_eq!(site.wait_texts("in.log", 1), ["goes on"]);
    let stderr = daemon.child.as_mut().unwrap().stderr.take().unwrap();
    let read = std::io::BufRead::lines(std::io::BufReader::new(stderr)).take(lines);
    assert_eq!(read.map(Result::unwrap).count(), lines);
    sender.join().unwrap();
    assert!(daemon.stop().unwrap().success());
}

#[test]
fn a_symlink_to_a_file_is_not_followed() {
    for name in ["pid", "in.log", "own.log", "in.pipe.lock"] {
        let site = Site::new();
        let elsewhere = Site::new();
        let precious = elsewhere.path("precious.log");
        // What each of them would take if it were there itself.
        fs::write(&precious, "1\n").unwrap();
        let before = fs::metadata(&precious).unwrap();
        symlink(&precious, site.path(name)).unwrap();
        let (code, stderr) = site.fail_to_start(&[]);
        assert_eq!(code, EX_CANTCREAT, "{name}: {stderr}");
        assert!(stderr.contains("is a symlink, not a regular file"), "{name}: {stderr}");
        let after = fs::metadata(&precious).unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "1\n", "{name}");
        assert_eq!((before.mode(), before.ctime()), (after.mode(), after.ctime()), "{name}");
        assert!(fs::symlink_metadata(site.path(name)).unwrap().is_symlink(), "{name}");
    }
}

#[test]
fn a_daemon_with_files_it_may_not_write_does_not_start() {
    // Root may write everywhere: this one is for everybody else.
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let site = Site::new();
    fs::write(site.path("in.log"), "").unwrap();
    fs::set_permissions(site.path("in.log"), PermissionsExt::from_mode(0o400)).unwrap();
    let (code, stderr) = site.fail_to_start(&[]);
    assert_eq!(code, EX_CANTCREAT);
    assert!(stderr.contains("Permission denied"), "{stderr}");
    assert_eq!(site.leftovers(), [""; 0]);
}

#[test]
fn a_file_at_the_pid_files_path_that_is_none_is_left_as_it_is() {
    let site = Site::new();
    fs::write(site.pid_file(), "a secret\n").unwrap();
    fs::set_permissions(site.pid_file(), fs::Permissions::from_mode(0o600)).unwrap();
    let (code, stderr) = site.fail_to_start(&[]);
    assert_eq!(code, EX_CANTCREAT);
    assert!(stderr.contains("something else in it than a pid"), "{stderr}");
    assert_eq!((site.read("pid").as_str(), mode(&site.pid_file())), ("a secret\n", 0o600));
}
