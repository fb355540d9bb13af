//! Resources that run out: descriptors, processes, memory; and a clock that is set back and forth.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use crate::common::control::Talk;
use crate::common::{BDAEMON, Daemon, Site, described, is_there_or_skip, read_pid, text, wait_for};
use crate::load::{Load, Plan, Tally};
use crate::table::{Allowed, Row};
use crate::{drawn, scaled};

fn row(key: &str, fault: String, promise: &str) -> Row {
    let promise = promise.to_owned();
    Row { key: format!("5-{key}"), fault, promise, allowed: Allowed::NOTHING }
}

fn tally_of(site: &Site) -> Tally {
    let mut tally = Tally::default();
    tally.take_file(&site.path("in.log"));
    tally
}

/// The program under limits that the words of a shell set.
fn under_limits(site: &Site, limits: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{limits} && exec \"$0\" -c \"$1\""));
    command.arg(BDAEMON).arg(site.config());
    command
}

/// Runs a start under limits that may be too narrow; one that fails must say so in a line and leave
/// nothing.
fn try_to_start<'a>(site: &'a Site, command: &mut Command) -> Option<Daemon<'a>> {
    let output = command.output().unwrap();
    if output.status.success() {
        let pid = read_pid(&site.pid_file()).expect("a pid file after the start");
        return Some(Daemon { site, pid, child: None });
    }
    let said = text(&output.stderr);
    assert!(said.lines().count() == 1 && said.starts_with("bdaemon: "), "{}", described(&output));
    let left: Vec<_> =
        fs::read_dir(site.directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["bdaemon.toml"], "nothing is left behind: {said}");
    None
}

#[test]
fn descriptors_that_run_out_stop_no_pipe() {
    // Fewer than that, and the program itself cannot be loaded.
    const FEWEST: u32 = 5;
    const CLIENTS: usize = 40;
    const REFUSED: &str = "control socket: accept: ";
    let site = Site::new();
    let start = |most| try_to_start(&site, &mut under_limits(&site, &format!("ulimit -n {most}")));
    let (most, daemon) = (FEWEST..).find_map(|most| Some((most, start(most)?))).unwrap();
    let load = Load::start(&[site.pipe()], Plan::default());
    load.wait_more(100);
    let begun = Instant::now();
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| UnixStream::connect(site.socket()).unwrap()).collect();
    site.wait_own(REFUSED);
    load.wait_more(1000);
    // Nothing can be opened, and nothing that is open suffers.
    daemon.signal(Signal::SIGHUP);
    site.wait_own("configuration not reloaded");
    thread::sleep(scaled(1, 5, 60) * Duration::from_secs(1));
    load.wait_more(1000);
    // It does not try again all the time: at most once a poll interval.
    let (refused, halves) = (site.read("own.log").matches(REFUSED).count(), begun.elapsed() * 2);
    assert!(refused as u64 <= halves.as_secs() + 2, "{refused} times in {halves:?} / 2");
    drop(clients);
    wait_for("the control socket to be served", || {
        let output = site.bdaemonctl(&["status"]).output().unwrap();
        output.status.success().then_some(())
    });
    load.wait_more(1000);
    let written = load.end();
    assert_eq!(site.leftovers(), ["in.pipe", "in.pipe.lock", "pid", "sock"], "as it was");
    daemon.stop();
    row(
        "1",
        format!(
            "{} starts with too few descriptors, and one with just enough ({most}), of which {CLIENTS} clients take what is left; a reload meanwhile",
            most - FEWEST
        ),
        "a start without them fails and leaves nothing; the pipes go on, clients wait; nothing lost",
    )
    .judge(&written, &tally_of(&site), 0);
    let own = site.read("own.log");
    assert!(!own.contains("was removed or replaced"), "nothing was:\n{own}");
}

#[test]
fn a_start_that_may_not_fork_leaves_nothing_and_the_next_one_gets_what_was_waiting() {
    let site = Site::new();
    // Root may fork all the same; a user that nobody else is has no other processes.
    let user = geteuid().is_root().then(|| 60_000 + u32::try_from(drawn(5000)).unwrap());
    if let Some(user) = user {
        std::os::unix::fs::chown(site.directory(), Some(user), Some(user)).unwrap();
    }
    let load = Load::start(&[site.pipe()], Plan::default());
    let start = |most: Option<u32>| {
        // What a shell calls it depends on the shell.
        let limits = most.map_or_else(
            || "true".to_owned(),
            |most| format!("{{ ulimit -u {most} 2>/dev/null || ulimit -p {most}; }}"),
        );
        let mut command = under_limits(&site, &limits);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        try_to_start(&site, &mut command)
    };
    // It forks twice; how many processes others of an ordinary user has is not known.
    let fails: &[u32] = if user.is_some() { &[1, 2] } else { &[1] };
    for most in fails {
        assert!(start(Some(*most)).is_none(), "it may have {most} processes, and started");
    }
    let daemon = start(user.map(|_| 3)).expect("a daemon");
    load.wait_more(1000);
    let written = load.end();
    daemon.stop();
    row(
        "2",
        format!("{} starts whose fork(2) fails, and one that may", fails.len()),
        "a start without it fails and leaves nothing; the writers wait; nothing lost",
    )
    .judge(&written, &tally_of(&site), 0);
}

/// The most that is held, after the section MEMORY of bdaemon.toml(5).
fn most_memory(pipes: u64, targets: u64, clients: u64) -> u64 {
    const RECORD: u64 = 8 << 10;
    // What stands before a text, and the shortest message.
    const HEAD: u64 = 128;
    const SHORTEST: u64 = 48;
    // A message of its own, and what surrounds a record in JSON.
    const OWN: u64 = 512;
    const AROUND: u64 = 128;
    let pipe = (64 << 10) + RECORD + 7 + 4 * RECORD;
    let backlog = (128 << 10) + HEAD + 4 * RECORD;
    let target = 2 * backlog + 24 * (128 << 10) / SHORTEST;
    let recent = (256 << 10) + 1024 * AROUND;
    let client = (64 << 10) + (64 << 10) + 2 * (256 << 10) + 1024 * AROUND;
    // Up to twice as much may be set aside.
    2 * (pipes * pipe + targets * target + 256 * OWN + recent + clients * client)
}

/// What a process has mapped, in KiB, as ps(1) says.
fn mapped(daemon: &Daemon<'_>) -> u64 {
    let output = Command::new("ps").args(["-o", "vsz=", "-p", &daemon.pid.to_string()]).output();
    text(&output.unwrap().stdout).trim().parse().unwrap()
}

/// Writes the worst records into a pipe: with nothing but characters that have to be replaced, and
/// the shortest there are.
fn write_the_worst(pipe: &Path, count: usize) {
    let mut pipe = OpenOptions::new().write(true).open(pipe).unwrap();
    for _ in 0..count {
        pipe.write_all(
            &[b"\x01".repeat(8 << 10).as_slice(), b"\n", &b"a\n".repeat(16 << 10)].concat(),
        )
        .unwrap();
    }
}

/// Receives what a target sends, once it is told to, until nothing more comes.
fn receive(socket: &UnixDatagram, tally: &mut Tally, over: &AtomicBool) {
    let mut buffer = vec![0; 16 << 10];
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => tally.take(&text(&buffer[..length])),
            Err(_) if over.load(Ordering::SeqCst) => return,
            Err(_) => {}
        }
    }
}

/// Clients that ask for the last records again and again, and do not read the answers.
fn greedy_clients(site: &Site, count: u64) -> Vec<Talk> {
    let greedy = |_| {
        let mut talk = Talk::connect(site);
        for _ in 0..8 {
            talk.say("{\"command\":\"tail\",\"lines\":1024}\n").unwrap();
        }
        talk
    };
    (0..count).map(greedy).collect()
}

/// Runs a load on a daemon that may take no more memory than is documented, with a target that takes
/// nothing, the worst records, and so many clients.
fn stays_within_its_memory(key: &str, clients: u64) {
    // In KiB, of each client, of the more that waits for it.
    const UNREAD: u64 = 64;
    let site = Site::new();
    let stuck = UnixDatagram::bind(site.syslog_socket()).unwrap();
    let syslog =
        site.syslog_section("stuck").replace("syslog.log\"", "syslog.log\"\nformat = \"rfc3164\"");
    site.configure(&(site.plain() + &site.pipe_section("worst", "") + &syslog));
    let idle = site.start();
    let before = mapped(&idle);
    idle.stop();
    // Four targets: own.log as well.
    let more = most_memory(3, 4, clients) >> 10;
    let limits = format!("ulimit -v {}", before + more);
    let daemon = site.start_with(&mut under_limits(&site, &limits));
    let pipes = [site.pipe(), site.path("stuck.pipe")];
    let load = Load::start(&pipes, Plan { longest: 400, ..Plan::default() });
    write_the_worst(&site.path("worst.pipe"), scaled(10, 100, 1000));
    load.wait_more(1000);
    let greedy = greedy_clients(&site, clients);
    let most = wait_for("answers that nobody reads", || {
        let now = mapped(&daemon);
        (now >= before + clients * UNREAD).then_some(now)
    });
    load.wait_more(1000);
    drop(greedy);
    let mut tally = Tally::default();
    let over = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&stuck, &mut tally, &over));
        let written = load.end();
        daemon.stop();
        over.store(true, Ordering::SeqCst);
        receiver.join().unwrap();
        written
    });
    tally.take_file(&site.path("in.log"));
    row(
        key,
        format!(
            "address space limited to what it has when idle and {more} KiB more ({} KiB were taken), with a target that takes nothing, the longest, worst and shortest records, and {clients} clients that ask and do not read",
            most.saturating_sub(before)
        ),
        "lives on with what is documented; nothing lost",
    )
    .judge(&written, &tally, 0);
}

#[test]
fn the_documented_memory_is_enough() {
    stays_within_its_memory("3", 0);
}

#[test]
fn the_documented_memory_is_enough_for_the_greediest_clients_too() {
    stays_within_its_memory("4", 32);
}

/// The library that lets a program see another time.
fn faketime_or_skip() -> Option<PathBuf> {
    let directories = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let library = directories
        .map(|directory| directory.join("faketime/libfaketime.so.1"))
        .find(|path| path.exists());
    is_there_or_skip("libfaketime", library.is_some());
    library
}

/// A clock that is so many seconds off.
fn set_clock(site: &Site, seconds: i64) {
    let (new, clock) = (site.path("new-clock.log"), site.path("clock.log"));
    fs::write(&new, format!("{seconds:+}\n")).unwrap();
    fs::rename(&new, &clock).unwrap();
}

#[test]
fn a_clock_that_is_set_back_and_forth_disturbs_nothing() {
    const DAY: i64 = 86_400;
    let Some(library) = faketime_or_skip() else { return };
    let times = scaled(4, 40, 400);
    let site = Site::new();
    site.configure(&(site.plain() + &site.pipe_section("tails", "")));
    set_clock(&site, 0);
    let mut start = site.bdaemon(&[]);
    // The monotonic clock goes on, as it does when an administrator sets the time.
    start.env("LD_PRELOAD", library).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    start.env("FAKETIME_TIMESTAMP_FILE", site.path("clock.log")).env("FAKETIME_NO_CACHE", "1");
    let daemon = site.start_with(&mut start);
    let load = Load::start(&[site.pipe()], Plan::default());
    let mut tails = site.open_pipe("tails.pipe");
    let mut expected = Vec::new();
    for place in 0..times {
        // A year at least, so that it shows.
        let off = 366 + i64::try_from(drawn(8 * 365)).unwrap();
        // Away and back by seconds as well as by years; a new year, a leap day or none.
        let off = [off * DAY, -off * DAY, off, -off][place % 4];
        set_clock(&site, off);
        load.wait_more(200);
        // What waits for silence, and who asks, notices nothing.
        write!(tails, "tail {place}").unwrap();
        expected.push(format!("tail {place}"));
        assert_eq!(site.wait_texts("tails.log", expected.len()), expected);
        assert_eq!(site.status()["pid"], daemon.pid);
    }
    set_clock(&site, 0);
    load.wait_more(200);
    let written = load.end();
    daemon.stop();
    row(
        "5",
        format!(
            "the time of day set back and forth by up to nine years, {times} times (with libfaketime, for the daemon alone)"
        ),
        "nothing lost; tails and commands take no longer",
    )
    .judge(&written, &tally_of(&site), 0);
    let years: std::collections::BTreeSet<_> =
        site.read("in.log").lines().map(|line| line[..4].to_owned()).collect();
    assert!(years.len() > 2, "it did see other times: {years:?}");
}
