//! Writers that are killed in the middle of a record, never close, open and close all the time, are
//! very many, write byte by byte or nothing at all, or hold the lock of a pipe.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::common::{Line, Site, wait_for};
use crate::load::{Load, MARK, Plan, Tally};
use crate::table::{Allowed, Row};
use crate::{drawn, scaled};

fn row(key: &str, fault: String, promise: &str) -> Row {
    Row { key: format!("4-{key}"), fault, promise: promise.to_owned(), allowed: Allowed::NOTHING }
}

fn tally_of(site: &Site, names: &[&str]) -> Tally {
    let mut tally = Tally::default();
    for name in names {
        tally.take_file(&site.path(&format!("{name}.log")));
    }
    tally
}

/// How long a fault that is not counted lasts.
fn a_while() -> Duration {
    scaled(Duration::from_millis(300), Duration::from_secs(5), Duration::from_secs(60))
}

/// A process that writes one letter into a pipe without ever ending its record, killed when this
/// goes out of scope.
struct Endless(Child);

impl Endless {
    fn start(letter: char, pipe: &Path) -> Self {
        let mut tr = Command::new("tr");
        tr.args(["\\0", &letter.to_string()]).stdin(File::open("/dev/zero").unwrap());
        Self(tr.stdout(OpenOptions::new().write(true).open(pipe).unwrap()).spawn().unwrap())
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks at what comes to a log file from now on.
struct Watch(BufReader<File>);

impl Watch {
    fn from_now_on(path: &Path) -> Self {
        let mut file = File::open(path).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        Self(BufReader::new(file))
    }

    fn wait_for_letter(&mut self, letter: char) {
        let wanted = letter.to_string().repeat(100);
        let mut line = Vec::new();
        wait_for(format!("{wanted} in the log"), || {
            // The log may grow faster than it is read: without a bound, nobody would give up.
            for _ in 0..1000 {
                line.clear();
                self.0.read_until(b'\n', &mut line).unwrap();
                if memchr::memmem::find(&line, wanted.as_bytes()).is_some() {
                    return Some(());
                }
            }
            None
        });
    }
}

/// Counts the records of the load, and gives what else there is: the parts of a record that was
/// split are put together before that, and a record of the load ends its line, whatever came before.
fn take_beside(path: &Path, tally: &mut Tally) -> String {
    let (mut others, mut joined) = (String::new(), String::new());
    for line in BufReader::new(File::open(path).unwrap()).lines() {
        let text = Line::parse(&line.unwrap()).text;
        let text = text.strip_prefix("[...] ").unwrap_or(&text);
        if let Some(part) = text.strip_suffix(" [...]") {
            joined += part;
            continue;
        }
        joined += text;
        match joined.find(MARK) {
            Some(place) => {
                tally.take(&joined[place..]);
                others += &joined[..place];
            }
            None => others += &joined,
        }
        joined.clear();
    }
    others + &joined
}

#[test]
fn a_writer_that_is_killed_in_the_middle_of_a_record_costs_no_other_writer_anything() {
    let times = scaled(2, 20, 200);
    let site = Site::new();
    let daemon = site.start();
    let load = Load::start(&[site.pipe()], Plan::default());
    load.wait_more(100);
    let letters: Vec<_> = ('A'..='Z').cycle().take(times).collect();
    for (place, letter) in letters.iter().enumerate() {
        let mut watch = Watch::from_now_on(&site.path("in.log"));
        let endless = Endless::start(*letter, &site.pipe());
        watch.wait_for_letter(*letter);
        // Every other time, it waits in a write(2) for certain.
        if place % 2 == 0 {
            daemon.signal(Signal::SIGSTOP);
            load.wait_blocked();
            drop(endless);
            daemon.signal(Signal::SIGCONT);
        } else {
            thread::sleep(Duration::from_millis(drawn(20)));
            drop(endless);
        }
        load.wait_more(100);
    }
    let written = load.end();
    daemon.stop();
    let mut tally = Tally::default();
    let others = take_beside(&site.path("in.log"), &mut tally);
    let bytes = others.len();
    let mut killed: Vec<_> = others.chars().collect();
    killed.dedup();
    row(
        "1",
        format!(
            "another writer killed in the middle of a record without end, {times} times; {bytes} bytes of these arrived"
        ),
        "what it had written is logged, before the record that came next; nothing of the others lost",
    )
    .judge(&written, &tally, 0);
    assert_eq!(killed, letters, "of each, in order, and nothing else");
}

#[test]
fn writers_that_never_close_cost_nobody_anything_and_keep_no_daemon_from_stopping() {
    let count = scaled(100, 200, 200);
    let site = Site::new();
    // A stop that waited for them would be noticed.
    site.configure(&format!("stop_timeout = \"1h\"\n{}", site.plain()));
    let daemon = site.start();
    let idle: Vec<_> = (0..count).map(|_| site.open_pipe("in.pipe")).collect();
    let load = Load::start(&[site.pipe()], Plan::default());
    load.wait_more(scaled(5000, 500_000, 2_000_000));
    let written = load.end();
    // Nothing is left over that would have to be given up after the stop timeout.
    daemon.stop();
    drop(idle);
    row(
        "2",
        format!("{count} other writers that open the pipe and never close it; TERM while they have it open"),
        "nothing lost; it stops as ever",
    )
    .judge(&written, &tally_of(&site, &["in"]), 0);
    assert!(site.read("own.log").ends_with(" info: all done\n"), "{}", site.read("own.log"));
}

#[test]
fn writers_that_open_and_close_all_the_time_lose_nothing() {
    let site = Site::new();
    let daemon = site.start();
    let load = Load::start(&[site.pipe()], Plan { opens_each_time: true, ..Plan::default() });
    thread::sleep(a_while());
    load.wait_more(1000);
    let (written, seconds) = (load.written(), load.begun.elapsed().as_secs_f64());
    let written_in_all = load.end();
    daemon.stop();
    // Both are far below the limits of an f64.
    #[allow(clippy::cast_precision_loss)]
    let rate = written as f64 / seconds;
    let fault = format!("the pipe opened, written to and closed {rate:.0} times a second");
    row("3", fault, "nothing lost").judge(&written_in_all, &tally_of(&site, &["in"]), 0);
}

/// Lets this process open as many files as it may, and checks that these are so many.
fn want_descriptors(count: u32) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    assert!(most > count.into(), "too few descriptors for this test");
}

#[test]
fn a_thousand_writers_at_once_lose_nothing() {
    const WRITERS: usize = 1000;
    want_descriptors(2000);
    let site = Site::new();
    let daemon = site.start();
    let load = Load::start(&[site.pipe()], Plan { writers: WRITERS, ..Plan::default() });
    load.wait_more(scaled(5000, 500_000, 2_000_000));
    let written = load.end();
    daemon.stop();
    let fault = format!("{WRITERS} writers at once");
    row("4", fault, "nothing lost").judge(&written, &tally_of(&site, &["in"]), 0);
}

#[test]
fn records_that_are_written_byte_by_byte_are_whole() {
    const PIPES: [&str; 3] = ["one", "two", "three"];
    let site = Site::new();
    // A busy machine may let a writer wait between two bytes.
    let sections = PIPES.map(|name| site.pipe_section(name, "flush_after = \"1h\""));
    site.configure(&(site.head() + &sections.concat()));
    let daemon = site.start();
    let pipes = PIPES.map(|name| site.path(&format!("{name}.pipe")));
    let load = Load::start(&pipes, Plan { writers: 1, byte_by_byte: true, ..Plan::default() });
    load.wait_more(scaled(200, 5000, 50_000));
    let written = load.end();
    daemon.stop();
    let fault = "every byte written by a write(2) of its own".to_owned();
    row("5", fault, "nothing lost, no record torn").judge(&written, &tally_of(&site, &PIPES), 0);
}

/// Opens and closes pipes without writing a record until this is over; says how often.
fn write_nothing(pipe: &Path, over: &AtomicBool, times: &AtomicU64) {
    for what in ["", "\n", "\0", "\r\n", "\n\n\0\n"].iter().cycle() {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let mut file = OpenOptions::new().write(true).open(pipe).unwrap();
        // Nothing that is empty is a record; nothing at all is not even a write(2) for a File.
        assert_eq!(nix::unistd::write(&file, what.as_bytes()).unwrap(), what.len());
        file.flush().unwrap();
        times.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn writers_that_write_nothing_leave_no_trace() {
    let site = Site::new();
    let daemon = site.start();
    let (over, times) = (AtomicBool::new(false), AtomicU64::new(0));
    let written = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| write_nothing(&site.pipe(), &over, &times));
        }
        let load = Load::start(&[site.pipe()], Plan { writers: 2, ..Plan::default() });
        thread::sleep(a_while());
        load.wait_more(100);
        over.store(true, Ordering::SeqCst);
        load.end()
    });
    daemon.stop();
    let times = times.into_inner();
    assert!(times > 0, "they did what they were to do");
    row(
        "6",
        format!(
            "two other writers that open, write nothing or empty records and close, {times} times"
        ),
        "nothing lost, and no record of these",
    )
    .judge(&written, &tally_of(&site, &["in"]), 0);
}

/// The longest that nothing was read, as the stamps in a log have it.
fn longest_gap(path: &Path) -> Duration {
    let (mut last, mut longest) = (None, Duration::ZERO);
    for line in BufReader::new(File::open(path).unwrap()).lines() {
        let stamp: jiff::Timestamp = Line::parse(&line.unwrap()).time.parse().unwrap();
        if let Some(last) = last {
            longest = longest.max(stamp.duration_since(last).unsigned_abs());
        }
        last = Some(stamp);
    }
    longest
}

/// Locks that are held as a writer holds them that sends a long record.
fn hold_locks(pipes: &[PathBuf]) -> Vec<Flock<File>> {
    let lock = |pipe: &PathBuf| {
        let lock = pipe.with_extension("pipe.lock");
        let file = File::options().create(true).write(true).truncate(false).open(lock).unwrap();
        Flock::lock(file, FlockArg::LockExclusive).unwrap()
    };
    pipes.iter().map(lock).collect()
}

#[test]
fn writers_that_hold_the_locks_of_pipes_keep_the_other_pipes_of_a_running_daemon_waiting_for_nothing()
 {
    // A daemon that waited for each would be away for much longer than a busy machine makes it.
    const LOCKED: usize = 30;
    const NO_WAIT: Duration = Duration::from_secs(15);
    let site = Site::new();
    let names: Vec<_> = (0..LOCKED).map(|number| format!("locked{number}")).collect();
    let pipes: Vec<_> = names.iter().map(|name| site.path(&format!("{name}.pipe"))).collect();
    let sections: String = names.iter().map(|name| site.pipe_section(name, "")).collect();
    let daemon = site.start();
    let load = Load::start(&[site.pipe()], Plan::default());
    load.wait_more(100);
    let locks = hold_locks(&pipes);
    // Taken up by a reload,
    site.configure(&(site.plain() + &sections));
    site.ctl(&["reload"]);
    load.wait_more(100);
    // and made again.
    for pipe in &pipes {
        fs::remove_file(pipe).unwrap();
    }
    wait_for("the pipes", || pipes.iter().all(|pipe| pipe.exists()).then_some(()));
    load.wait_more(100);
    let written = load.end();
    drop(locks);
    daemon.stop();
    let gap = longest_gap(&site.path("in.log"));
    row(
        "7",
        format!(
            "the locks of {LOCKED} other pipes held by writers while a reload adds them and while they are removed; longest pause {:.2} s",
            gap.as_secs_f64()
        ),
        "the pipe goes on; nothing lost",
    )
    .judge(&written, &tally_of(&site, &["in"]), 0);
    assert!(gap < NO_WAIT, "nothing was read for {gap:?}");
}
