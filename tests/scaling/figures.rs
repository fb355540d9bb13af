//! The measured figures of the page. `make bench-scaling` runs it; `BENCH_LINES` (500000),
//! `BENCH_RUNS` (3) and `BENCH_OUTPUT` (docs) make a shorter run, or one that is not to be kept.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::sys::time::TimeValLike;

use crate::common::{self, Daemon};
use crate::daemons::{Kind, Syslogd};
use crate::jails;
use crate::place::Place;
use crate::setups::{base_syslogd, collector, forwarder, shipper, straight_to};

/// Bytes of a line, its newline among them.
const LINE: usize = 100;

/// Bytes of a write: what most programs with a buffer write at most.
const BULK: usize = 64 << 10;

/// Bytes that each of many pipes gets before the next has its turn: forty lines.
const PORTION: usize = 40 * LINE;

/// Nothing more is on its way when nothing has arrived for so long.
const QUIET: Duration = Duration::from_secs(5);

const BEGIN: &str = "<!-- The figures begin: written by make bench-scaling. -->\n";
const END: &str = "<!-- The figures end. -->";

/// The daemons besides bdaemon, and bdaemon configured for them.
type Daemons = for<'a> fn(&'a Place) -> Vec<Syslogd<'a>>;

const WAYS: &[(&str, Daemons)] = &[
    ("1a: syslogd forwards, UDP", |place| vec![collector(place), base_syslogd(place)]),
    ("1b: rsyslog forwards, TCP", |place| vec![collector(place), forwarder(place)]),
    ("2: straight to rsyslog, TCP", |place| vec![straight_to(Kind::Rsyslog, place)]),
    ("2: straight to syslog-ng, TCP", |place| vec![straight_to(Kind::SyslogNg, place)]),
    ("3: files, rsyslog ships, RELP", |place| vec![collector(place), shipper(place)]),
];

const PIPES: &[usize] = &[1, 8, JAILS];

const JAILS: usize = 64;

/// One run.
#[derive(Clone, Copy)]
struct Sample {
    arrived: usize,
    /// From the first write to the last arrival.
    seconds: f64,
    /// CPU seconds of bdaemon, from its start to its end.
    cpu: f64,
    /// Resident bytes of bdaemon, when all had arrived.
    resident: u64,
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| {
        value.parse().unwrap_or_else(|_| panic!("{name}: not a number: {value}"))
    })
}

#[test]
#[ignore = "measures, and writes docs/scaling.md; make bench-scaling runs it"]
fn the_figures_are_written() {
    let (count, runs) = (number("BENCH_LINES", 500_000), number("BENCH_RUNS", 3));
    let lines = lines(count);
    let mut ways: Vec<_> = WAYS.iter().map(|(name, _)| ((*name).to_owned(), Vec::new())).collect();
    let name = |pipes: &usize| {
        format!("{pipes} pipes, a reader that only counts").replace("1 pipes", "1 pipe")
    };
    let mut pipes: Vec<_> = PIPES.iter().map(|pipes| (name(pipes), Vec::new())).collect();
    let mut logged = (format!("{JAILS} pipes, rsyslog to a file"), Vec::new());
    for _ in 0..runs {
        for ((name, samples), (_, daemons)) in ways.iter_mut().zip(WAYS) {
            samples.push(way(*daemons, &lines));
            eprintln!("{}", row(name, samples, count));
        }
        for ((name, samples), pipes) in pipes.iter_mut().zip(PIPES) {
            samples.push(counted(*pipes, &lines));
            eprintln!("{}", row(name, samples, count));
        }
        logged.1.push(logged_by_rsyslog(JAILS, &lines));
        eprintln!("{}", row(&logged.0, &logged.1, count));
    }
    pipes.push(logged);
    let mut figures = format!(
        "\n{count} lines; of {runs} runs the median, and the fewest lines that arrived; on {} on {}.\n",
        jiff::Zoned::now().date(),
        system()
    );
    for (heading, rows) in [("Ways to a collector", ways), ("Pipes of one bdaemon", pipes)] {
        let rows: Vec<_> = rows.iter().map(|(name, samples)| row(name, samples, count)).collect();
        write!(
            figures,
            "\n| {heading} | arrived | lines a second | CPU of bdaemon a line | its memory |\n\
             |---|--:|--:|--:|--:|\n{}\n",
            rows.join("\n")
        )
        .unwrap();
    }
    write_page(&figures);
}

/// Puts the figures into the page.
fn write_page(figures: &str) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = fs::read_to_string(docs.join("scaling.md")).unwrap();
    let (head, rest) = page.split_once(BEGIN).expect("where the figures begin");
    let (_, tail) = rest.split_once(END).expect("where the figures end");
    let output = std::env::var_os("BENCH_OUTPUT").map_or(docs, PathBuf::from);
    let page = output.join("scaling.md");
    fs::write(&page, format!("{head}{BEGIN}{figures}\n{END}{tail}")).unwrap();
    eprintln!("wrote {}", page.display());
}

/// A row of a table: the medians of the runs, and the fewest that arrived.
fn row(name: &str, samples: &[Sample], count: usize) -> String {
    let median = |value: fn(&Sample) -> f64| {
        let mut values: Vec<_> = samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let share = |arrived: usize| 100.0 * arrived as f64 / count as f64;
    let arrived = samples.iter().map(|sample| sample.arrived).min().unwrap();
    let arrived =
        if arrived == count { "all".to_owned() } else { format!("{:.1} %", share(arrived)) };
    let rate = median(|sample| sample.arrived as f64 / sample.seconds);
    let micros = median(|sample| sample.cpu) * 1e6 / count as f64;
    let mib = median(|sample| sample.resident as f64) / f64::from(1 << 20);
    format!("| {name} | {arrived} | {rate:.0} | {micros:.2} µs | {mib:.1} MiB |")
}

/// Numbered lines.
fn lines(count: usize) -> Vec<u8> {
    let filler = "abcdefghijklmnopqrstuvwxyz ".repeat(LINE);
    let mut lines = Vec::with_capacity(count * LINE);
    for number in 0..count {
        writeln!(lines, "{number:09} {}.", &filler[..LINE - 12]).unwrap();
    }
    assert_eq!(lines.len(), count * LINE);
    lines
}

fn way(daemons: Daemons, lines: &[u8]) -> Sample {
    let place = Place::new();
    let _daemons = daemons(&place);
    let daemon = place.bdaemon();
    let mut pipe = OpenOptions::new().write(true).open(place.pipe()).unwrap();
    // bdaemon's own messages have another facility.
    let mut arrivals = Arrivals::new(place.site.path("log/hosts"), b" local3.");
    let begin = Instant::now();
    thread::scope(|scope| {
        // A thread of its own, since the writer may have to wait.
        scope.spawn(|| lines.chunks(BULK).for_each(|chunk| pipe.write_all(chunk).unwrap()));
        let (arrived, seconds) = watch(begin, lines.len() / LINE, || arrivals.count());
        finish(daemon, arrived, seconds)
    })
}

/// The pipes of so many jails, to be written to.
fn pipes(place: &Place, count: usize) -> Vec<File> {
    let names = jails::names(count);
    let open = |jail: &String| OpenOptions::new().write(true).open(jails::pipe(place, jail));
    names.iter().map(|jail| open(jail).unwrap()).collect()
}

/// Writes the lines in turn to these pipes.
fn write_in_turn(pipes: &mut [File], lines: &[u8]) {
    let count = pipes.len();
    for (number, portion) in lines.chunks(PORTION).enumerate() {
        pipes[number % count].write_all(portion).unwrap();
    }
}

/// So many pipes, as jails have them, and a local syslogd that writes to a file.
fn logged_by_rsyslog(count: usize, lines: &[u8]) -> Sample {
    let place = Place::new();
    let _syslogd = jails::syslogd(&place);
    jails::configure(&place, &jails::names(count));
    let daemon = place.bdaemon();
    let mut pipes = pipes(&place, count);
    let mut arrivals = Arrivals::new(place.site.path("log"), b" jail-");
    let begin = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| write_in_turn(&mut pipes, lines));
        let (arrived, seconds) = watch(begin, lines.len() / LINE, || arrivals.count());
        finish(daemon, arrived, seconds)
    })
}

/// So many pipes, as jails have them, and a reader of the local socket that only counts.
fn counted(count: usize, lines: &[u8]) -> Sample {
    let place = Place::new();
    let socket = UnixDatagram::bind(place.site.path("run/log")).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    jails::configure(&place, &jails::names(count));
    let daemon = place.bdaemon();
    let mut pipes = pipes(&place, count);
    let (arrived, over) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut message = [0; 8192];
            while over.load(Ordering::Relaxed) == 0 {
                let Ok(length) = socket.recv(&mut message) else { continue };
                // bdaemon's own have another tag.
                if memchr::memmem::find(&message[..length], b" jail-").is_some() {
                    arrived.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let begin = Instant::now();
        scope.spawn(|| write_in_turn(&mut pipes, lines));
        let (arrived, seconds) =
            watch(begin, lines.len() / LINE, || arrived.load(Ordering::Relaxed));
        let sample = finish(daemon, arrived, seconds);
        over.store(1, Ordering::Relaxed);
        sample
    })
}

/// Waits until all have arrived, or no more do; says how many that were, and when the last came.
fn watch(begin: Instant, goal: usize, mut count: impl FnMut() -> usize) -> (usize, f64) {
    let mut last = (0, Instant::now());
    while last.0 < goal && (last.0 == 0 || last.1.elapsed() < QUIET) {
        assert!(begin.elapsed() < Duration::from_secs(600), "lines do not arrive");
        thread::sleep(Duration::from_millis(5));
        let arrived = count();
        if arrived != last.0 {
            last = (arrived, Instant::now());
        }
    }
    (last.0, (last.1 - begin).as_secs_f64())
}

/// Ends bdaemon; the others still run, so that only its time is added to that of the children.
fn finish(mut daemon: Daemon<'_>, arrived: usize, seconds: f64) -> Sample {
    let resident = daemon.resident();
    let before = children();
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().unwrap().success());
    Sample { arrived, seconds, cpu: children() - before, resident }
}

/// CPU seconds of all children that have ended.
fn children() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(micros.try_into().unwrap()).as_secs_f64()
}

/// The lines in a collector's files, each looked at once.
struct Arrivals {
    directory: PathBuf,
    /// What each line of the load has, and no other.
    mark: &'static [u8],
    /// By file: up to where it was read, and how many lines were found.
    seen: HashMap<PathBuf, (u64, usize)>,
}

impl Arrivals {
    fn new(directory: PathBuf, mark: &'static [u8]) -> Self {
        Self { directory, mark, seen: HashMap::new() }
    }

    fn count(&mut self) -> usize {
        let entries = fs::read_dir(&self.directory).unwrap().map(|entry| entry.unwrap().path());
        for path in entries.filter(|path| path.is_file()) {
            let mut file = File::open(&path).unwrap();
            let (place, count) = self.seen.entry(path).or_default();
            file.seek(SeekFrom::Start(*place)).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            let end = memchr::memrchr(b'\n', &bytes).map_or(0, |last| last + 1);
            *count += memchr::memmem::find_iter(&bytes[..end], self.mark).count();
            *place += end as u64;
        }
        self.seen.values().map(|(_, count)| count).sum()
    }
}

/// The system, and the programs that took part.
fn system() -> String {
    let processors = thread::available_parallelism().unwrap();
    let mut parts = vec![format!("{} with {processors} processors", common::system())];
    parts.extend([Kind::Rsyslog, Kind::SyslogNg].iter().filter_map(|kind| kind.version()));
    parts.join(", ")
}
