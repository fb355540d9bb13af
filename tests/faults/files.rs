//! Files whose disk is full, whose directory cannot be written to, that are removed, renamed,
//! truncated or replaced under the daemon, and that cannot be synced.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{User, chown, geteuid};

use crate::common::{BDAEMON, Daemon, Site, has_program_or_skip, is_root_or_skip, wait_for};
use crate::load::{Load, Plan, Tally};
use crate::scaled;
use crate::table::{Allowed, Row};

/// How many of the shortest lines the daemon writes at a time, at most.
const BATCH: u64 = (128 << 10) / 100;

/// What was being written when a file was removed may be in that one and comes in the next one, too.
fn once_more(times: u64) -> Allowed {
    Allowed { duplicated: times * BATCH, ..Allowed::NOTHING }
}

const HELD: &str = "held until it can be written again; nothing lost, no line torn";

fn row(key: &str, fault: String, promise: &str, allowed: Allowed) -> Row {
    Row { key: format!("2-{key}"), fault, promise: promise.to_owned(), allowed }
}

/// A site whose log file is `in.log` in a directory of its own.
fn site() -> (Site, PathBuf) {
    let site = Site::new();
    let directory = site.path("files.log");
    fs::create_dir(&directory).unwrap();
    let plain = site.plain().replace("in.log", "files.log/in.log");
    site.configure(&plain);
    (site, directory)
}

fn load(site: &Site) -> Load {
    Load::start(&[site.pipe()], Plan::default())
}

/// A load that does not fill a small file system at once.
fn slow_load(site: &Site) -> Load {
    let pause = Some(Duration::from_millis(1));
    Load::start(&[site.pipe()], Plan { pause, ..Plan::default() })
}

/// Waits until the log says so once more than before.
fn wait_said(site: &Site, text: &str, before: usize) {
    wait_for(format!("{text:?} in own.log"), || {
        (site.read("own.log").matches(text).count() > before).then_some(())
    });
}

fn said(site: &Site, text: &str) -> usize {
    site.read("own.log").matches(text).count()
}

const WAITS: &str = "its pipes wait until it is back";

fn reopen(site: &Site, daemon: &Daemon<'_>) {
    let before = said(site, "targets reopened");
    daemon.signal(Signal::SIGUSR1);
    wait_said(site, "targets reopened", before);
}

/// A small file system, unmounted when this goes out of scope.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m,mode=0755", "none"]);
        assert!(mount.arg(at).status().unwrap().success());
        Self(at)
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Leaves little room: 256 KiB.
    fn fill(&self) {
        let log = fs::metadata(self.0.join("in.log")).map_or(0, |metadata| metadata.len());
        fs::write(self.ballast(), vec![0; (4 << 20) - (256 << 10) - usize::try_from(log).unwrap()])
            .unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let force = if cfg!(target_os = "linux") { "-l" } else { "-f" };
        let _ = Command::new("umount").arg(force).arg(self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_holds_the_records_until_it_is_freed() {
    if !is_root_or_skip() {
        return;
    }
    let times = scaled(2, 5, 20);
    let (site, directory) = site();
    let disk = Disk::mount(&directory);
    let daemon = site.start();
    let mut tally = Tally::default();
    let mut read = 0;
    let load = slow_load(&site);
    for _ in 0..times {
        disk.fill();
        wait_for("a full disk", || site.read("own.log").contains("No space left").then_some(()));
        load.wait_blocked();
        // Half a line may be there, and is to become whole.
        disk.free();
        load.wait_more(500);
        // What was counted makes room again.
        daemon.signal(Signal::SIGSTOP);
        load.wait_blocked();
        let log = directory.join("in.log");
        read = tally.take_lines(&log, read);
        if read == fs::metadata(&log).unwrap().len() {
            File::options().write(true).truncate(true).open(&log).unwrap();
            read = 0;
        }
        daemon.signal(Signal::SIGCONT);
        load.wait_more(100);
    }
    let written = load.end();
    daemon.stop();
    assert_eq!(
        tally.take_lines(&directory.join("in.log"), read),
        fs::metadata(directory.join("in.log")).unwrap().len()
    );
    let fault = format!("disk full, then freed, {times} times");
    row("1", fault, HELD, Allowed::NOTHING).judge(&written, &tally, 0);
}

#[test]
fn a_file_at_its_size_limit_holds_the_records_until_it_is_rotated() {
    let (site, directory) = site();
    let mut command = Command::new("sh");
    // In blocks of 512 bytes.
    command.args(["-c", r#"ulimit -f 2000; exec "$0" -c "$1""#, BDAEMON]).arg(site.config());
    let daemon = site.start_with(&mut command);
    let times = scaled(2, 5, 20);
    let load = load(&site);
    for number in 0..times {
        wait_for("a file at its limit", || (said(&site, WAITS) > 0).then_some(()));
        load.wait_blocked();
        fs::rename(directory.join("in.log"), directory.join(format!("{number}.log"))).unwrap();
        reopen(&site, &daemon);
        load.wait_more(100);
    }
    load.wait_blocked();
    let written = load.end();
    fs::rename(directory.join("in.log"), directory.join("last.log")).unwrap();
    reopen(&site, &daemon);
    daemon.stop();
    let mut tally = Tally::default();
    for number in 0..times {
        tally.take_file(&directory.join(format!("{number}.log")));
    }
    tally.take_file(&directory.join("last.log"));
    tally.take_file(&directory.join("in.log"));
    let fault = format!("size limit of files reached (RLIMIT_FSIZE), then rotated, {times} times");
    // The half line that did not fit stays in the old file, and the whole one is in the new.
    let allowed = Allowed { torn: times + 1, ..Allowed::NOTHING };
    let promise = "held until it is rotated; nothing lost; the old file may end in half a line, which is whole in the new one";
    row("2", fault, promise, allowed).judge(&written, &tally, 0);
}

/// Suspends the daemon, counts what its file has, lets `happen` take that away, and goes on.
fn with_all_counted(
    daemon: &Daemon<'_>,
    load: &Load,
    log: &Path,
    tally: &mut Tally,
    happen: impl FnOnce(),
) {
    daemon.signal(Signal::SIGSTOP);
    load.wait_blocked();
    let read = tally.take_lines(log, 0);
    assert_eq!(read, fs::metadata(log).unwrap().len(), "the last line has an end");
    happen();
    daemon.signal(Signal::SIGCONT);
}

/// Makes the file's place unusable while it has no file, and usable again.
fn goes_missing(key: &str, what: &str, spoil: impl Fn(&Path), mend: impl Fn(&Path)) {
    let times = scaled(2, 5, 20);
    let (site, directory) = site();
    give_to_nobody(&site, &directory);
    let log = directory.join("in.log");
    let daemon = site.start();
    let load = load(&site);
    let mut tally = Tally::default();
    for _ in 0..times {
        load.wait_more(500);
        wait_for("the file", || log.exists().then_some(()));
        with_all_counted(&daemon, &load, &log, &mut tally, || {
            fs::remove_file(&log).unwrap();
            spoil(&log);
        });
        tally.forget_order();
        wait_for("the target to be missed", || (said(&site, WAITS) > 0).then_some(()));
        load.wait_blocked();
        mend(&log);
    }
    load.wait_more(500);
    let written = load.end();
    daemon.stop();
    tally.take_file(&log);
    let promise = "held until there can be another file; nothing lost; what was being written when it was removed may be in both";
    row(key, format!("{what}, {times} times"), promise, once_more(times))
        .judge(&written, &tally, 0);
}

/// Root may write everywhere: a daemon that it starts becomes somebody else.
fn give_to_nobody(site: &Site, directory: &Path) {
    if !geteuid().is_root() {
        return;
    }
    let nobody = User::from_name("nobody").unwrap().expect("the user nobody");
    for path in [site.directory(), directory] {
        chown(path, Some(nobody.uid), Some(nobody.gid)).unwrap();
    }
    let text = fs::read_to_string(site.config()).unwrap();
    site.configure(&format!("user = \"nobody\"\n{text}"));
}

#[test]
fn a_directory_that_cannot_be_written_to_holds_the_records() {
    let set_mode = |log: &Path, mode| {
        fs::set_permissions(log.parent().unwrap(), Permissions::from_mode(mode)).unwrap();
    };
    goes_missing(
        "3",
        "file removed and its directory made read-only, then writable",
        |log| set_mode(log, 0o555),
        |log| set_mode(log, 0o755),
    );
}

#[test]
fn a_directory_in_the_files_place_holds_the_records() {
    goes_missing(
        "4",
        "file removed and a directory put in its place, then taken away",
        |log| fs::create_dir(log).unwrap(),
        |log| fs::remove_dir(log).unwrap(),
    );
}

#[test]
fn a_file_that_is_removed_under_load_is_made_again() {
    let times = scaled(3, 20, 200);
    let (site, directory) = site();
    let log = directory.join("in.log");
    let daemon = site.start();
    let load = load(&site);
    let mut removed = Vec::new();
    for _ in 0..times {
        load.wait_more(200);
        let file = wait_for("the file", || File::open(&log).ok());
        fs::remove_file(&log).unwrap();
        removed.push(file);
    }
    load.wait_more(200);
    let written = load.end();
    daemon.stop();
    let mut tally = Tally::default();
    for file in removed {
        tally.take_open(file, 0);
        tally.forget_order();
    }
    tally.take_file(&log);
    assert!(fs::metadata(&log).unwrap().len() > 0, "the last file has the rest");
    let fault = format!("file removed under load, {times} times");
    let promise = "in the removed file or in the next one; what was being written when it was removed may be in both";
    row("5", fault, promise, once_more(times)).judge(&written, &tally, 0);
}

#[test]
fn a_file_that_is_renamed_is_left_at_the_signal() {
    let times = scaled(3, 20, 200);
    let (site, directory) = site();
    let log = directory.join("in.log");
    let daemon = site.start();
    let load = load(&site);
    let old = |number| directory.join(format!("{number}.log"));
    for number in 0..times {
        load.wait_more(200);
        fs::rename(&log, old(number)).unwrap();
        // As long as there is something in its place, the old one stays in use.
        fs::create_dir(&log).unwrap();
        let before = said(&site, "the old one stays in use");
        daemon.signal(Signal::SIGUSR1);
        wait_said(&site, "the old one stays in use", before);
        load.wait_more(200);
        fs::remove_dir(&log).unwrap();
        reopen(&site, &daemon);
    }
    load.wait_more(200);
    let written = load.end();
    daemon.stop();
    let mut tally = Tally::default();
    (0..times).for_each(|number| tally.take_file(&old(number)));
    tally.take_file(&log);
    let fault = format!(
        "file renamed, USR1 with a directory in its place, then USR1 without, {times} times"
    );
    row("6", fault, "each record in one of the files", Allowed::NOTHING).judge(&written, &tally, 0);
}

#[test]
fn a_file_that_is_truncated_is_written_on_from_its_new_end() {
    let times = scaled(3, 20, 200);
    let (site, directory) = site();
    let log = directory.join("in.log");
    let daemon = site.start();
    let load = load(&site);
    let mut tally = Tally::default();
    for _ in 0..times {
        load.wait_more(200);
        wait_for("the file", || log.exists().then_some(()));
        with_all_counted(&daemon, &load, &log, &mut tally, || {
            File::options().write(true).truncate(true).open(&log).unwrap();
        });
    }
    load.wait_more(200);
    let written = load.end();
    daemon.stop();
    tally.take_file(&log);
    let fault = format!("file truncated, {times} times");
    let promise = "what was written before is gone (counted before), the rest follows";
    row("7", fault, promise, Allowed::NOTHING).judge(&written, &tally, 0);
}

/// Makes system calls of the daemon fail, until this goes out of scope: strace(1) lets them return
/// an error without doing anything.
struct Sabotage(Child);

impl Sabotage {
    fn begin(daemon: &Daemon<'_>, call: &str, rule: &str, path: &Path) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-o", "/dev/null", "-p", &daemon.pid.to_string()]);
        strace.arg("-e").arg(format!("trace={call}")).arg("-P").arg(path);
        strace.arg("-e").arg(format!("inject={call}:{rule}"));
        let sabotage = Self(strace.stdin(Stdio::null()).spawn().unwrap());
        wait_for("strace to be attached", || is_traced_on_linux(daemon.pid).then_some(()));
        sabotage
    }
}

impl Drop for Sabotage {
    fn drop(&mut self) {
        // It lets go of the daemon when it is asked to end, and not when it is killed.
        let _ = nix::sys::signal::kill(crate::common::pid_of(self.0.id()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn is_traced_on_linux(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status
        .lines()
        .any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}

/// Runs a load while system calls fail.
fn suffers_errors(key: &str, what: &str, sync: &str, call: &str, rule: &str, told: &str) {
    if !is_root_or_skip() || !has_strace_or_skip() {
        return;
    }
    let (site, directory) = site();
    let log = directory.join("in.log");
    let text = fs::read_to_string(site.config()).unwrap();
    site.configure(&format!("{text}sync = \"{sync}\"\n"));
    let daemon = site.start();
    let load = load(&site);
    load.wait_more(100);
    let sabotage = Sabotage::begin(&daemon, call, rule, &log);
    wait_said(&site, told, 0);
    load.wait_more(scaled(500, 5000, 20_000));
    drop(sabotage);
    load.wait_more(500);
    let written = load.end();
    daemon.stop();
    let mut tally = Tally::default();
    tally.take_file(&log);
    row(key, what.to_owned(), "held and tried again; nothing lost, none twice", Allowed::NOTHING)
        .judge(&written, &tally, 0);
}

fn has_strace_or_skip() -> bool {
    cfg!(target_os = "linux") && has_program_or_skip("strace")
}

#[test]
fn what_could_not_be_synced_is_held_and_not_written_twice() {
    suffers_errors(
        "8",
        "every other fsync(2) fails (EIO), sync = \"always\"",
        "always",
        "fsync",
        "error=EIO:when=1+2",
        "fsync: I/O error; its pipes wait",
    );
}

#[test]
fn what_could_not_be_written_is_held_and_not_written_twice() {
    suffers_errors(
        "9",
        "every other write(2) to the file fails (EIO)",
        "never",
        "write",
        "error=EIO:when=1+2",
        "write: I/O error; its pipes wait",
    );
}
