//! What came out: whether the last line is there, and whether every line is.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::common::lines::Lines;
use crate::common::site::Site;
use crate::consumers::{Consumer, Form, Output};

/// Longer than any line with what a consumer puts around it.
const TAIL: u64 = 8 << 10;

/// Where the lines of a consumer arrive.
pub(crate) enum Arrivals {
    Files { directory: PathBuf, form: Form },
    Socket(Receiver),
}

impl Arrivals {
    pub(crate) fn of(consumer: &Consumer, site: &Site, lines: &Arc<Lines>) -> Self {
        match consumer.output {
            Output::Files => Self::Files { directory: site.output(), form: consumer.form },
            Output::Socket => Self::Socket(Receiver::bind(&site.socket(), Arc::clone(lines))),
        }
    }

    /// Whether the `number`th line, `line`, is there as the last one.
    pub(crate) fn has(&self, number: usize, line: &[u8]) -> bool {
        match self {
            Self::Files { directory, form } => {
                last_line(directory).is_some_and(|last| carries(&last, line, *form))
            }
            Self::Socket(receiver) => receiver.count() >= number,
        }
    }

    /// Checks that every line is there once and in order, and nothing else.
    pub(crate) fn check(self, lines: &Lines) {
        match self {
            Self::Files { directory, form } => check_files(&directory, form, lines),
            Self::Socket(receiver) => assert_eq!(receiver.finish(), lines.count),
        }
    }
}

/// The log files in a directory, in the order in which they were written: names with a time in
/// them, and then `current`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let named =
        |path: &PathBuf, test: fn(&str) -> bool| test(&path.file_name().unwrap().to_string_lossy());
    let mut files: Vec<_> = entries
        .filter(|path| named(path, |name| name == "current" || name.starts_with('@')))
        .collect();
    files.sort_by_key(|path| (named(path, |name| name == "current"), path.clone()));
    files
}

/// The last line there is, unless it is being written or the files are being rotated.
fn last_line(directory: &Path) -> Option<Vec<u8>> {
    files(directory).iter().rev().find_map(|path| {
        let mut file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).ok()?;
        let lines = tail.strip_suffix(b"\n")?;
        let begin = memchr::memrchr(b'\n', lines).map_or(0, |at| at + 1);
        Some(lines[begin..].to_vec())
    })
}

/// Whether an output line carries what was written, and little else.
fn carries(output: &[u8], line: &[u8], form: Form) -> bool {
    match form {
        Form::Text => output.ends_with(line) && output.len() < line.len() + 200,
        Form::Json => serde_json::from_slice::<serde_json::Value>(output)
            .is_ok_and(|object| object["message"].as_str().map(str::as_bytes) == Some(line)),
    }
}

fn check_files(directory: &Path, form: Form, lines: &Lines) {
    let mut expected = lines.iter();
    let mut output = Vec::new();
    for path in files(directory) {
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).unwrap());
        while file.read_until(b'\n', &mut output).unwrap() > 0 {
            assert_eq!(output.pop(), Some(b'\n'), "half a line");
            let line = expected.next().expect("no more lines than were written");
            assert!(
                carries(&output, line, form),
                "{:?} where {:?} was written",
                String::from_utf8_lossy(&output),
                String::from_utf8_lossy(line)
            );
            output.clear();
        }
    }
    assert_eq!(expected.count(), 0, "lines are missing");
}

/// A datagram socket that plays syslogd and compares each message with what was written.
pub(crate) struct Receiver {
    count: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Receiver {
    fn bind(path: &Path, lines: Arc<Lines>) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; TAIL as usize];
            for line in lines.iter() {
                let length = receive(&socket, &mut buffer).expect("a message");
                assert!(carries(&buffer[..length], line, Form::Text), "another message");
                counted.fetch_add(1, Ordering::Relaxed);
            }
            socket.set_nonblocking(true).unwrap();
            let more = receive(&socket, &mut buffer);
            assert!(more.is_err(), "no more messages than were written");
        });
        Self { count, thread }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn finish(self) -> usize {
        self.thread.join().expect("every message is as it was written");
        self.count.load(Ordering::Relaxed)
    }
}

/// A machine that is suspended for a moment interrupts a call that has a timeout.
fn receive(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.recv(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            length => return length,
        }
    }
}
