//! Targets that fill up, come and go, or end in half a line.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use common::{DEADLINE, Daemon, Line, Site, described, syslog_text, wait_for, whole_lines};

/// Far more than `ulimit -f` lets into the file, and still less than a pipe and the daemon hold.
const LINES: usize = 150;

fn line(number: usize) -> String {
    format!("{number} {:050}", 0)
}

/// A daemon whose files cannot grow beyond 10 KiB, which stands for a full disk; it has written
/// the beginning of a line when this returns.
fn full(site: &Site) -> Daemon<'_> {
    let mut command = Command::new("sh");
    let script = r#"ulimit -f 20; exec "$0" -c "$1""#;
    command.args(["-c", script, common::BDAEMON]).arg(site.config());
    let daemon = site.start_with(&mut command);
    let lines: String = (0..LINES).map(|number| line(number) + "\n").collect();
    site.write(lines);
    site.wait_own("in.log: write: File too large; its pipes wait until it is back");
    assert!(!site.read("in.log").ends_with('\n'), "half a line");
    daemon
}

fn texts(log: &str) -> Vec<String> {
    whole_lines(log).map(|line| Line::parse(line).text).collect()
}

fn expected() -> Vec<String> {
    (0..LINES).map(line).collect()
}

#[test]
fn a_full_disk_holds_the_records_and_no_line_is_torn() {
    let site = Site::new();
    let daemon = full(&site);
    // Opening the same file again must not begin the half line anew.
    daemon.signal(Signal::SIGUSR1);
    site.wait_own("targets reopened");
    let mut log = site.read("in.log");
    File::options().write(true).truncate(true).open(site.path("in.log")).unwrap();
    wait_for("the rest", || site.read("in.log").contains(&line(LINES - 1)).then_some(()));
    daemon.stop();
    log += &site.read("in.log");
    assert_eq!(texts(&log), expected(), "each once, whole and in order");
    assert_eq!(site.read("own.log").matches("its pipes wait until").count(), 1, "said once");
}

#[test]
fn a_rotation_of_a_full_file_puts_the_half_line_whole_into_the_new_one() {
    let site = Site::new();
    let daemon = full(&site);
    fs::rename(site.path("in.log"), site.path("old.log")).unwrap();
    daemon.signal(Signal::SIGUSR1);
    wait_for("the rest", || site.read("in.log").contains(&line(LINES - 1)).then_some(()));
    daemon.stop();
    let mut all = texts(&site.read("old.log"));
    all.extend(texts(&site.read("in.log")));
    assert_eq!(all, expected(), "each whole in exactly one of the files");
}

#[test]
fn a_reload_with_other_settings_for_a_full_file_keeps_the_order() {
    let site = Site::new();
    let daemon = full(&site);
    site.configure(&(site.plain() + "sync = \"always\"\n"));
    daemon.signal(Signal::SIGHUP);
    site.wait_own("configuration reloaded");
    let mut log = site.read("in.log");
    File::options().write(true).truncate(true).open(site.path("in.log")).unwrap();
    site.write("after the reload\n");
    wait_for("the rest", || site.read("in.log").contains("after the reload").then_some(()));
    daemon.stop();
    log += &site.read("in.log");
    let mut expected = expected();
    expected.push("after the reload".to_owned());
    assert_eq!(texts(&log), expected);
}

#[test]
fn half_a_line_from_before_is_ended_before_the_next_record() {
    let site = Site::new();
    fs::write(site.path("in.log"), "half a li").unwrap();
    let daemon = site.start();
    site.write("whole\n");
    site.wait_lines("in.log", 2);
    daemon.stop();
    let log = site.read("in.log");
    let (half, rest) = log.split_once('\n').unwrap();
    assert_eq!((half, texts(rest)), ("half a li", vec!["whole".to_owned()]));
}

#[test]
fn with_sync_always_everything_arrives_too() {
    let site = Site::new();
    site.configure(&(site.plain() + "sync = \"always\"\n"));
    let daemon = site.start();
    for number in 0..LINES {
        site.write(line(number) + "\n");
    }
    daemon.stop();
    assert_eq!(site.texts("in.log"), expected());
}

#[test]
fn a_smaller_max_record_cuts_the_tail_that_waits() {
    let site = Site::new();
    let with = |keys| site.head() + &site.pipe_section("in", keys);
    site.configure(&with("max_record = \"1MiB\"\nflush_after = \"1h\""));
    let daemon = site.start();
    let mut writer = site.open_pipe("in.pipe");
    writer.write_all(&vec![b'x'; 300_000]).unwrap();
    site.configure(&with("max_record = \"1KiB\"\nflush_after = \"1h\""));
    daemon.signal(Signal::SIGHUP);
    site.wait_own("configuration reloaded");
    writer.write_all(b"more\nnext\n").unwrap();
    wait_for("the next record", || site.texts("in.log").iter().any(|t| t == "next").then_some(()));
    daemon.stop();
    let texts = site.texts("in.log");
    let count = texts.iter().flat_map(|text| text.bytes()).filter(|byte| *byte == b'x').count();
    // Besides what was written, `next` has one.
    assert_eq!(count, 300_000 + 1);
    assert!(texts.iter().all(|text| text.len() <= 1024));
}

#[test]
fn standard_error_cannot_be_taken_up_in_the_background() {
    let site = Site::new();
    let daemon = site.start();
    let stderr = format!(
        "[[pipe]]\npath = \"{}\"\n[pipe.log]\ntarget = \"stderr\"\n",
        site.pipe().display()
    );
    site.configure(&(site.head() + &stderr));
    daemon.signal(Signal::SIGHUP);
    site.wait_own("stays as it was: target = \"stderr\" goes nowhere in the background");
    site.write("as before\n");
    assert_eq!(site.wait_texts("in.log", 1), ["as before"]);
    daemon.stop();
}

fn tcp(site: &Site, collector: &TcpListener) {
    let pipe = format!(
        "[[pipe]]\npath = \"{}\"\n[pipe.log]\ntarget = \"syslog\"\naddress = \"tcp:127.0.0.1:{}\"\n",
        site.pipe().display(),
        collector.local_addr().unwrap().port()
    );
    site.configure(&(site.head() + &pipe));
}

#[test]
fn a_collector_that_comes_and_goes_is_told_of_once() {
    let site = Site::new();
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp(&site, &collector);
    let daemon = site.start();
    site.write("for nobody\n");
    for _ in 0..8 {
        drop(collector.accept().unwrap());
    }
    let own = site.read("own.log");
    assert_eq!(own.matches("wait until it is back").count(), 1, "{own}");
    assert!(!own.contains("delivering again"), "{own}");
    daemon.signal(Signal::SIGKILL);
}

#[test]
fn a_collector_that_talks_is_not_listened_to_for_long() {
    let site = Site::new();
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp(&site, &collector);
    let daemon = site.start();
    site.write("0\n");
    let stream = collector.accept().unwrap().0;
    let mut talk = stream.try_clone().unwrap();
    let talker = thread::spawn(move || while talk.write_all(&[0; 8 << 10]).is_ok() {});
    let mut stream = BufReader::new(stream);
    stream.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
    for number in 0..100 {
        let mut length = Vec::new();
        std::io::BufRead::read_until(&mut stream, b' ', &mut length).unwrap();
        let mut message = vec![0; common::text(&length).trim().parse().unwrap()];
        stream.read_exact(&mut message).unwrap();
        assert_eq!(syslog_text(&common::text(&message)), number.to_string());
        site.write(format!("{}\n", number + 1));
    }
    daemon.stop();
    talker.join().unwrap();
}

#[test]
fn own_messages_that_cannot_be_said_keep_no_daemon_from_stopping() {
    let site = Site::new();
    let syslogd = common::Syslogd::bind(&site.path("syslog.log"));
    let own =
        format!("target = \"syslog\"\naddress = \"unix:{}\"", site.path("syslog.log").display());
    let file = format!("target = \"file\"\npath = \"{}\"", site.path("own.log").display());
    site.configure(&format!("stop_timeout = \"1h\"\n{}", site.plain().replace(&file, &own)));
    let mut daemon = site.start_foreground();
    syslogd.close();
    fs::remove_file(site.path("syslog.log")).unwrap();
    site.write("delivered\n");
    site.wait_lines("in.log", 1);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().unwrap().success(), "no record was lost");
    assert_eq!(site.texts("in.log"), ["delivered"]);
}

#[test]
fn a_refused_start_leaves_the_lock_of_the_running_daemon_alone() {
    let site = Site::new();
    site.configure(&(site.head() + &site.pipe_section("in", "mode = \"0622\"")));
    let daemon = site.start();
    let before = fs::metadata(site.path("in.pipe.lock")).unwrap();
    site.configure(&(site.head() + &site.pipe_section("in", "mode = \"0600\"")));
    site.fail_to_start(&["-p", site.path("other").to_str().unwrap()]);
    assert_eq!(common::mode(&site.path("in.pipe.lock")), 0o644);
    assert_eq!(
        before.modified().unwrap(),
        fs::metadata(site.path("in.pipe.lock")).unwrap().modified().unwrap()
    );
    daemon.stop();
}

#[test]
fn a_file_that_happens_to_have_the_locks_name_is_not_overwritten() {
    let site = Site::new();
    fs::write(site.path("in.pipe.lock"), "somebody's notes").unwrap();
    let (_, stderr) = site.fail_to_start(&[]);
    assert!(stderr.contains("has something else in it than a pid"), "{stderr}");
    assert_eq!(site.read("in.pipe.lock"), "somebody's notes");
    fs::remove_file(site.path("in.pipe.lock")).unwrap();
    // Nor is one that has the pid file's.
    for notes in ["pid: 12", "12 and more"] {
        fs::write(site.path("pid"), notes).unwrap();
        let (_, stderr) = site.fail_to_start(&[]);
        assert!(stderr.contains("pid: has something else in it than a pid"), "{stderr}");
        assert_eq!(site.read("pid"), notes);
    }
}

#[test]
fn the_pid_file_of_the_command_line_is_no_path_that_something_else_uses() {
    let site = Site::new();
    for name in ["in.pipe", "in.pipe.lock", "in.log", "own.log", "sock"] {
        for check in [&[][..], &["-t"]] {
            let path = site.path(name);
            let (code, stderr) =
                site.fail_to_start(&[check, &["-p", path.to_str().unwrap()]].concat());
            assert_eq!(code, 64, "{stderr}");
            assert!(stderr.contains("is used for something else; choose another"), "{stderr}");
        }
    }
    let checked = site.bdaemon(&["-t", "-p", "/somewhere/else.pid"]).output().unwrap();
    assert!(common::text(&checked.stdout).contains("pid_file = \"/somewhere/else.pid\""));
}

#[test]
fn a_start_that_fails_leaves_an_adopted_pipe_as_it_was() {
    let site = Site::new();
    nix::unistd::mkfifo(&site.pipe(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let bad = site.pipe_section("bad", "").replace("bad.pipe", "no/bad.pipe");
    site.configure(&(site.plain() + &bad));
    site.fail_to_start(&[]);
    assert_eq!(site.leftovers(), ["in.pipe"]);
}

#[test]
fn a_refusal_never_names_the_pid_of_a_daemon_that_has_died() {
    let site = Site::new();
    fs::write(site.pid_file(), "1\n").unwrap();
    // A writer that holds the lock keeps the first daemon starting for a while.
    fs::write(site.path("in.pipe.lock"), "").unwrap();
    let lock = File::open(site.path("in.pipe.lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let first = site.bdaemon(&["-f"]).spawn().unwrap();
    let mut first = Daemon { site: &site, pid: first.id(), child: Some(first) };
    wait_for("the pid file to be taken", || site.read("pid").is_empty().then_some(()));
    let (_, stderr) = site.fail_to_start(&[]);
    assert!(stderr.contains(&format!("already running as pid {}:", first.pid)), "{stderr}");
    drop(lock);
    first.signal(Signal::SIGTERM);
    assert!(first.wait().unwrap().success());
}

#[test]
fn a_sender_follows_no_symlink_and_waits_for_no_fifo_in_the_locks_place() {
    let site = Site::new();
    let daemon = site.start();
    fs::remove_file(site.path("in.pipe.lock")).unwrap();
    nix::unistd::mkfifo(&site.path("in.pipe.lock"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let output = site.bdaemonctl(&["send", "through"]).output().unwrap();
    assert!(output.status.success(), "{}", described(&output));
    assert_eq!(site.wait_texts("in.log", 1), ["through"]);
    fs::remove_file(site.path("in.pipe.lock")).unwrap();
    daemon.stop();
}

#[test]
fn a_target_that_is_away_is_tried_less_and_less_often_up_to_once_a_poll_interval() {
    const RETRIES: usize = 12;
    let site = Site::new();
    let syslogd = common::Syslogd::bind(&site.path("syslog.log"));
    let pipe = format!(
        "[[pipe]]\npath = \"{}\"\n[pipe.log]\ntarget = \"syslog\"\naddress = \"unix:{}\"\n",
        site.pipe().display(),
        site.path("syslog.log").display()
    );
    site.configure(&(site.head().replace("500ms", "200ms") + &pipe));
    let daemon = site.start();
    syslogd.close();
    fs::remove_file(site.path("syslog.log")).unwrap();
    let begin = Instant::now();
    site.write("held\n");
    // Were the pauses not bounded, the last of so many would be minutes long.
    wait_for("retries", || {
        daemon.signal(Signal::SIGUSR2);
        let own = site.read("own.log");
        let report = own.lines().rfind(|line| line.contains("syslog.log: 0 delivered"))?;
        let retries = report.rsplit_once(" retries")?.0.rsplit_once(' ')?.1;
        (retries.parse::<usize>().unwrap() >= RETRIES).then_some(())
    });
    // 50 ms, 100 ms, and then 200 ms each.
    assert!(begin.elapsed() > Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(site.read("own.log").matches("its pipes wait until").count(), 1, "said once");
    daemon.signal(Signal::SIGKILL);
}
