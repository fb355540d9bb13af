//! The load: writers with numbered, checksummed records, and the counting of what became of them.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc::{ENXIO, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::common::{self, wait_for};

/// What every record begins with, wherever it arrives.
pub(crate) const MARK: &str = "#load ";

/// The longest that every system writes atomically, newline included.
pub(crate) const PIPE_BUF_LEAST: usize = 512;

/// The text of record `number` of `writer`: its length varies, and its end is the checksum of
/// what stands before it.
pub(crate) fn record(writer: usize, number: u64, longest: usize) -> String {
    let head = format!("{MARK}{writer} {number} ");
    let room = longest - head.len() - " 0123456789abcdef".len();
    let spread = number.wrapping_mul(7919) + 104_729 * writer as u64;
    let filler = 1 + usize::try_from(spread % room as u64).unwrap();
    let letter = b'a' + u8::try_from((writer as u64 + number) % 26).unwrap();
    let text = head + &char::from(letter).to_string().repeat(filler);
    format!("{text} {:016x}", checksum(&text))
}

fn checksum(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Writer and number of the record that ends a line; none if it is not whole.
fn parse(line: &str) -> Option<(usize, u64)> {
    let (text, sum) = line[line.find(MARK)?..].rsplit_once(' ')?;
    if u64::from_str_radix(sum, 16) != Ok(checksum(text)) {
        return None;
    }
    let mut words = text[MARK.len()..].split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// How the writers write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Writers to each pipe.
    pub(crate) writers: usize,
    /// The longest record, its newline not counted.
    pub(crate) longest: usize,
    /// What each waits for between two records; none: as fast as it can.
    pub(crate) pause: Option<Duration>,
    /// Whether each opens the pipe for every record, as a shell's `>` does.
    pub(crate) opens_each_time: bool,
    /// Whether each writes its records byte by byte. They mix with what others write.
    pub(crate) byte_by_byte: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            writers: 4,
            longest: PIPE_BUF_LEAST - 1,
            pause: None,
            opens_each_time: false,
            byte_by_byte: false,
        }
    }
}

impl Plan {
    /// As a column of the table has it.
    fn describe(&self, pipes: usize) -> String {
        let writers = self.writers * pipes;
        let pace = self.pause.map_or("at full speed".to_owned(), |pause| {
            format!("one each {} ms", pause.as_millis())
        });
        let opening = if self.opens_each_time { ", opening each time" } else { "" };
        let bytes = if self.byte_by_byte { ", byte by byte" } else { "" };
        format!("{writers} writers, {pace}{opening}{bytes}")
    }
}

/// Writers at work, ended when this goes out of scope.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<u64>>>,
    plan: Plan,
    pipes: usize,
    pub(crate) begun: Instant,
}

struct Shared {
    over: AtomicBool,
    /// Nothing is to be written for now.
    held_back: AtomicBool,
    /// Not even what was begun is to be finished.
    given_up: AtomicBool,
    writers: Vec<Progress>,
}

#[derive(Default)]
struct Progress {
    written: AtomicU64,
    /// The next record does not go in just now.
    waits: AtomicBool,
}

impl Load {
    /// Starts `plan.writers` writers to each of the pipes: the first ones write to the first pipe.
    pub(crate) fn start(pipes: &[PathBuf], plan: Plan) -> Self {
        let count = plan.writers * pipes.len();
        let writers = (0..count).map(|_| Progress::default()).collect();
        let shared = Arc::new(Shared {
            over: AtomicBool::new(false),
            held_back: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            writers,
        });
        let threads = (0..count)
            .map(|id| {
                let pipe = pipes[id / plan.writers].clone();
                let writer = Writer {
                    id,
                    pipe,
                    file: None,
                    plan,
                    shared: shared.clone(),
                    unsure: Vec::new(),
                };
                thread::spawn(move || writer.run())
            })
            .collect();
        Self { shared, threads, plan, pipes: pipes.len(), begun: Instant::now() }
    }

    /// Records written so far.
    pub(crate) fn written(&self) -> u64 {
        self.shared.writers.iter().map(|writer| writer.written.load(Ordering::SeqCst)).sum()
    }

    /// Waits until so many more have been written.
    pub(crate) fn wait_more(&self, count: u64) {
        let goal = self.written() + count;
        wait_for(format!("{goal} records to be written"), || {
            (self.written() >= goal).then_some(())
        });
    }

    /// Waits until the writers wait: nothing has gone in for a while.
    pub(crate) fn wait_blocked(&self) {
        const WHILE: Duration = Duration::from_millis(200);
        let mut last = (self.written(), Instant::now());
        wait_for("the writers to wait", || {
            let written = self.written();
            let waits =
                self.shared.writers.iter().all(|writer| writer.waits.load(Ordering::SeqCst));
            if written != last.0 || !waits {
                last = (written, Instant::now());
            }
            (last.1.elapsed() >= WHILE).then_some(())
        });
    }

    /// Lets the writers pause, each after a whole record, or go on.
    pub(crate) fn hold_back(&self, yes: bool) {
        self.shared.held_back.store(yes, Ordering::SeqCst);
    }

    /// Ends the writers, each after a whole record.
    pub(crate) fn end(mut self) -> Written {
        self.shared.over.store(true, Ordering::SeqCst);
        wait_for("the writers to end", || {
            self.threads.iter().all(JoinHandle::is_finished).then_some(())
        });
        let threads = std::mem::take(&mut self.threads);
        let unsure = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let counts = self.shared.writers.iter().map(|w| w.written.load(Ordering::SeqCst)).collect();
        Written { plan: self.plan, pipes: self.pipes, counts, unsure, begun: self.begun }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.shared.given_up.store(true, Ordering::SeqCst);
        for thread in std::mem::take(&mut self.threads) {
            let _ = thread.join();
        }
    }
}

struct Writer {
    id: usize,
    pipe: PathBuf,
    file: Option<File>,
    plan: Plan,
    shared: Arc<Shared>,
    unsure: Vec<u64>,
}

impl Writer {
    fn run(mut self) -> Vec<u64> {
        for number in 0.. {
            while self.shared.held_back.load(Ordering::SeqCst) && !self.is_over(false) {
                thread::sleep(Duration::from_millis(1));
            }
            let line = record(self.id, number, self.plan.longest) + "\n";
            let piece = if self.plan.byte_by_byte { 1 } else { line.len() };
            let mut pieces = line.as_bytes().chunks(piece).enumerate();
            if !pieces.all(|(place, piece)| self.write(piece, place > 0)) {
                break;
            }
            // Looked at after the write: if the name is still there, the write was over before it
            // went. A writer that keeps the pipe open does not know, and writes on.
            if !self.is_in_place() {
                self.unsure.push(number);
            }
            if self.plan.opens_each_time {
                self.file = None;
            }
            self.progress().written.store(number + 1, Ordering::SeqCst);
            if let Some(pause) = self.plan.pause {
                thread::sleep(pause);
            }
        }
        self.unsure
    }

    fn progress(&self) -> &Progress {
        &self.shared.writers[self.id]
    }

    /// Whether nothing more is to be written; a record that was begun is finished before.
    fn is_over(&self, begun: bool) -> bool {
        let end = if begun { &self.shared.given_up } else { &self.shared.over };
        end.load(Ordering::SeqCst)
    }

    /// Writes a record or a piece of it in one write(2) as soon as the pipe takes it, or gives up
    /// when all is over. A pipe takes all of so few bytes or nothing.
    fn write(&mut self, line: &[u8], begun: bool) -> bool {
        while !self.is_over(begun) {
            let Some(mut file) = self.file.take().or_else(|| self.open()) else {
                self.progress().waits.store(true, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            match file.write(line) {
                Ok(count) => {
                    assert_eq!(count, line.len(), "a pipe takes it whole");
                    self.file = Some(file);
                    self.progress().waits.store(false, Ordering::SeqCst);
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.progress().waits.store(true, Ordering::SeqCst);
                    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                    poll(&mut fds, PollTimeout::from(20_u8)).unwrap();
                    self.file = Some(file);
                }
                // Nobody reads it: a daemon that is restarted will, unless it makes another pipe.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.progress().waits.store(true, Ordering::SeqCst);
                    self.file = Some(file);
                    if !self.is_in_place() {
                        self.file = None;
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("writing to {}: {error}", self.pipe.display()),
            }
        }
        false
    }

    fn open(&self) -> Option<File> {
        let file = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(&self.pipe);
        match file {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Nobody reads it.
            Err(error) if error.raw_os_error() == Some(ENXIO) => None,
            Err(error) => panic!("opening {}: {error}", self.pipe.display()),
        }
    }

    /// Whether the pipe's name leads to what is open.
    fn is_in_place(&self) -> bool {
        let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let open = self.file.as_ref().and_then(|file| file.metadata().ok()).map(id);
        open.is_some() && fs::symlink_metadata(&self.pipe).ok().map(id) == open
    }
}

/// What the writers of a load have written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    plan: Plan,
    pipes: usize,
    /// By writer: its records are numbered from 0.
    counts: Vec<u64>,
    /// By writer: records after whose write the pipe's name was no longer there.
    unsure: Vec<Vec<u64>>,
    pub(crate) begun: Instant,
}

impl Written {
    /// As a column of the table has it.
    pub(crate) fn described(&self) -> String {
        self.plan.describe(self.pipes)
    }
}

/// What became of a load, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Records that write(2) took.
    pub(crate) written: u64,
    /// Different ones that arrived.
    pub(crate) delivered: u64,
    /// Those that were neither delivered nor lost when the count was taken.
    pub(crate) held: u64,
    pub(crate) lost: u64,
    /// Records that arrived once more.
    pub(crate) duplicated: u64,
    /// Lines that are no whole record.
    pub(crate) torn: u64,
    /// Records that arrived after a later one of the same writer.
    pub(crate) disordered: u64,
    /// Of the lost ones, those after whose write the pipe's name was no longer there.
    pub(crate) lost_nameless: u64,
    /// Bytes of the lost ones, as they were written.
    pub(crate) lost_bytes: u64,
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.delivered += other.delivered;
        self.held += other.held;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.torn += other.torn;
        self.disordered += other.disordered;
        self.lost_nameless += other.lost_nameless;
        self.lost_bytes += other.lost_bytes;
    }
}

/// Counts records as they are found where they were to go.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    writers: Vec<Seen>,
    torn: u64,
    /// The first few of them, for whoever looks into it.
    pub(crate) torn_lines: Vec<String>,
    /// How many faults there were so far.
    faults: usize,
    /// What was missing after a fault.
    pub(crate) gaps: Vec<Gap>,
}

/// Records of a writer that are missing between two that arrived.
#[derive(Debug)]
pub(crate) struct Gap {
    pub(crate) writer: usize,
    /// The number of the first that is missing, and of the first that is not.
    missing: (u64, u64),
    /// How many faults there were before, and how many until then.
    pub(crate) faults: (usize, usize),
}

impl Gap {
    pub(crate) fn bytes(&self, written: &Written) -> u64 {
        (self.missing.0..self.missing.1)
            .map(|number| record(self.writer, number, written.plan.longest).len() as u64 + 1)
            .sum()
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// By number, how often it came.
    times: Vec<u8>,
    last: Option<u64>,
    /// How many faults there were when it came.
    faults: usize,
    disordered: u64,
}

impl Tally {
    /// Counts what a line has. A line that has no whole record is torn.
    pub(crate) fn take(&mut self, line: &str) {
        let Some((writer, number)) = parse(line) else {
            self.torn += 1;
            if self.torn_lines.len() < 5 {
                self.torn_lines.push(line.to_owned());
            }
            return;
        };
        if self.writers.len() <= writer {
            self.writers.resize_with(writer + 1, Seen::default);
        }
        let seen = &mut self.writers[writer];
        let index = usize::try_from(number).unwrap();
        if seen.times.len() <= index {
            seen.times.resize(index + 1, 0);
        }
        seen.times[index] = seen.times[index].saturating_add(1);
        seen.disordered += u64::from(seen.last.is_some_and(|last| number < last));
        let expected = seen.last.map_or(0, |last| last + 1);
        if number > expected {
            let (missing, faults) = ((expected, number), (seen.faults, self.faults));
            self.gaps.push(Gap { writer, missing, faults });
        }
        seen.last = Some(number);
        seen.faults = self.faults;
    }

    /// Notes that a fault comes after all that was counted so far.
    pub(crate) fn note_fault(&mut self) {
        self.faults += 1;
    }

    /// What comes next is in an order of its own.
    pub(crate) fn forget_order(&mut self) {
        self.writers.iter_mut().for_each(|seen| seen.last = None);
    }

    /// Counts a whole file. An unterminated end is a line as well.
    pub(crate) fn take_file(&mut self, path: &Path) {
        let end = self.take_lines(path, 0);
        if end < fs::metadata(path).unwrap().len() {
            self.take("an unterminated end");
        }
    }

    /// Counts the lines of a file that begin at this place or later and have an end; says where
    /// the last of them ends.
    pub(crate) fn take_lines(&mut self, path: &Path, from: u64) -> u64 {
        let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.take_open(file, from)
    }

    /// Counts those of an open file, which may have no name.
    pub(crate) fn take_open(&mut self, mut file: File, from: u64) -> u64 {
        io::Seek::seek(&mut file, io::SeekFrom::Start(from)).unwrap();
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let (mut place, mut line) = (from, Vec::new());
        while reader.read_until(b'\n', &mut line).unwrap() > 0 && line.ends_with(b"\n") {
            place += line.len() as u64;
            self.take(common::text(&line).trim_end_matches('\n'));
            line.clear();
        }
        place
    }

    /// Different records so far.
    pub(crate) fn delivered(&self) -> u64 {
        let times = self.writers.iter().flat_map(|seen| &seen.times);
        times.filter(|times| **times > 0).count() as u64
    }

    /// Compares what arrived with what was written, and with what is still held.
    pub(crate) fn outcome(&self, written: &Written, held: u64) -> Outcome {
        let mut outcome = Outcome {
            written: written.counts.iter().sum(),
            delivered: self.delivered(),
            torn: self.torn,
            disordered: self.writers.iter().map(|seen| seen.disordered).sum(),
            ..Outcome::default()
        };
        for (writer, count) in written.counts.iter().enumerate() {
            let times: &[u8] = self.writers.get(writer).map_or(&[], |seen| &seen.times);
            assert!(times.len() as u64 <= *count, "what nobody wrote has arrived");
            outcome.duplicated += times.iter().map(|t| u64::from(t.saturating_sub(1))).sum::<u64>();
            for number in 0..*count {
                if times.get(usize::try_from(number).unwrap()).is_some_and(|times| *times > 0) {
                    continue;
                }
                outcome.lost += 1;
                outcome.lost_bytes += record(writer, number, written.plan.longest).len() as u64 + 1;
                outcome.lost_nameless +=
                    u64::from(written.unsure[writer].binary_search(&number).is_ok());
            }
        }
        outcome.held = held.min(outcome.lost);
        outcome.lost -= outcome.held;
        outcome
    }
}

#[test]
fn a_record_is_known_again_and_a_damaged_one_is_not() {
    for (writer, number) in [(0, 0), (3, 17), (7, 123_456)] {
        let text = record(writer, number, 200);
        assert!(text.len() <= 200);
        assert_eq!(parse(&format!("Nov 22 13:00:00 bdaemon[1]: {text}")), Some((writer, number)));
        assert_eq!(parse(&text[..text.len() - 1]), None, "cut");
        assert_eq!(parse(&text[1..]), None, "its beginning is missing");
        assert_eq!(parse(&text.replacen(' ', " 1", 1)), None, "another number");
    }
}

#[test]
fn what_is_lost_doubled_torn_or_out_of_order_is_counted() {
    let plan = Plan { longest: 100, ..Plan::default() };
    let written = Written {
        plan,
        pipes: 1,
        counts: vec![4, 2],
        unsure: vec![vec![3], vec![]],
        begun: Instant::now(),
    };
    let mut tally = Tally::default();
    for (writer, number) in [(0, 0), (0, 2), (0, 0), (1, 1), (0, 2)] {
        tally.take(&record(writer, number, 100));
    }
    tally.take(&record(1, 0, 100)[1..]);
    let lost = [(0, 1), (0, 3), (1, 0)].map(|(w, n)| record(w, n, 100).len() as u64 + 1);
    let expected = Outcome {
        written: 6,
        delivered: 3,
        held: 0,
        lost: 3,
        duplicated: 2,
        torn: 1,
        disordered: 1,
        lost_nameless: 1,
        lost_bytes: lost.iter().sum(),
    };
    assert_eq!(tally.outcome(&written, 0), expected);
}
