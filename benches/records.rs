//! Framing and formatting alone, without any system call: `cargo bench --bench records`. The time
//! is that of a portion as large as a read, and the rate that of what was read.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/lines.rs"]
#[allow(dead_code, clippy::cast_possible_truncation)]
mod lines;

use bdaemon::bench::Formatter;
use bdaemon::record::{Framer, Tail};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};

use lines::Lines;

/// As much as a pipe holds, in whole lines.
const PORTION: usize = 64 << 10;

fn main() {
    divan::main();
}

/// What is read at once.
#[derive(Clone, Copy, Debug)]
enum Input {
    /// Lines as in a log.
    Log,
    /// Lines of 16 bytes.
    Short,
    /// Lines of 4 KiB.
    Long,
    /// Lines in which a byte has to be escaped.
    Escaped,
}

const INPUTS: [Input; 4] = [Input::Log, Input::Short, Input::Long, Input::Escaped];

impl Input {
    fn bytes(self) -> Vec<u8> {
        let lines = match self {
            Self::Log | Self::Escaped => Lines::log_like(PORTION / 64),
            Self::Short => Lines::of_size("", PORTION / 16, 16),
            Self::Long => Lines::of_size("", PORTION / 4096, 4096),
        };
        let mut bytes = lines.bytes;
        bytes.truncate(PORTION);
        let end = memchr::memrchr(b'\n', &bytes).unwrap() + 1;
        bytes.truncate(end);
        if let Self::Escaped = self {
            bytes.iter_mut().filter(|byte| **byte == b':').for_each(|byte| *byte = 0x1b);
        }
        bytes
    }
}

/// A framer with what has been read.
fn fill(framer: &mut Framer, bytes: &[u8]) {
    framer.space()[..bytes.len()].copy_from_slice(bytes);
    framer.filled(bytes.len());
}

#[divan::bench(args = INPUTS)]
fn frame(bencher: Bencher<'_, '_>, input: Input) {
    let bytes = input.bytes();
    let mut framer = Framer::new(8 << 10);
    bencher.counter(BytesCount::of_slice(&bytes)).bench_local(|| {
        fill(&mut framer, &bytes);
        while let Some(record) = framer.next(Tail::Open) {
            black_box(record);
        }
    });
}

/// Framing is a part of it.
fn format(bencher: Bencher<'_, '_>, input: Input, mut formatter: Formatter) {
    let bytes = input.bytes();
    let mut framer = Framer::new(8 << 10);
    bencher.counter(BytesCount::of_slice(&bytes)).bench_local(|| {
        fill(&mut framer, &bytes);
        while let Some(record) = framer.next(Tail::Open) {
            formatter.append(&record);
        }
        formatter.deliver()
    });
}

#[divan::bench(args = INPUTS)]
fn text(bencher: Bencher<'_, '_>, input: Input) {
    format(bencher, input, Formatter::text());
}

#[divan::bench(args = INPUTS)]
fn json(bencher: Bencher<'_, '_>, input: Input) {
    format(bencher, input, Formatter::json());
}

#[divan::bench(args = INPUTS)]
fn rfc3164(bencher: Bencher<'_, '_>, input: Input) {
    format(bencher, input, Formatter::rfc3164());
}

#[divan::bench(args = INPUTS)]
fn rfc5424(bencher: Bencher<'_, '_>, input: Input) {
    format(bencher, input, Formatter::rfc5424());
}
