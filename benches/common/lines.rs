//! What is written: the same bytes in every run and on every machine.

use std::fmt::Write as _;

/// So many lines, each with its newline, no two alike.
pub(crate) struct Lines {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: usize,
}

impl Lines {
    /// Lines of 100 bytes.
    pub(crate) fn plain(count: usize) -> Self {
        Self::of_size("lines of 100 bytes", count, 100)
    }

    /// Numbered lines of `size` bytes, the newline among them.
    pub(crate) fn of_size(name: &'static str, count: usize, size: usize) -> Self {
        let alphabet = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 ";
        let filler: String = alphabet.chars().cycle().take(size).collect();
        let mut text = String::with_capacity(count * size);
        for number in 0..count {
            let begin = text.len();
            write!(text, "{number:07} ").unwrap();
            let end = begin + size - 2;
            text.push_str(&filler[..end.saturating_sub(text.len())]);
            // No target has a reason to take a blank off this end.
            text.push_str(".\n");
        }
        Self { name, bytes: text.into_bytes(), count }
    }

    /// Lines as a web server, sshd, cron, a kernel, a mail server and a Java program write them,
    /// mixed: 30 to 900 bytes, half of them below 110.
    pub(crate) fn log_like(count: usize) -> Self {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let mut text = String::with_capacity(count * 160);
        for number in 0..count {
            log_line(&mut text, number, &mut dice);
            writeln!(text, " #{number}").unwrap();
        }
        Self { name: "lines as in a log", bytes: text.into_bytes(), count }
    }

    /// Each line without its newline.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1])
    }

    pub(crate) fn last(&self) -> &[u8] {
        let end = self.bytes.len() - 1;
        let begin = memchr::memrchr(b'\n', &self.bytes[..end]).map_or(0, |at| at + 1);
        &self.bytes[begin..end]
    }

    /// Bytes of the first line with its newline.
    pub(crate) fn first_length(&self) -> usize {
        memchr::memchr(b'\n', &self.bytes).unwrap() + 1
    }
}

/// Numbers that look drawn and are the same every time: xorshift64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

fn log_line(text: &mut String, number: usize, dice: &mut Dice) {
    let host = format!("10.{}.{}.{}", dice.below(4), dice.below(256), dice.below(256));
    let user = dice.pick(&["root", "alice", "bob", "www", "postgres", "deploy"]);
    let written = match dice.below(100) {
        0..40 => write!(
            text,
            "{host} - {user} \"GET /{}/{}?id={} HTTP/1.1\" {} {} \"https://www.example.org/{}\" \"Mozilla/5.0 (X11; FreeBSD amd64; rv:{}.0) Gecko/20100101\"",
            dice.pick(&["static", "api/v1", "images", "articles"]),
            dice.pick(&["index.html", "list", "search", "logo.svg"]),
            dice.below(1_000_000),
            dice.pick(&["200", "304", "404", "500"]),
            dice.below(100_000),
            "a/".repeat(dice.below(20) as usize),
            dice.below(120)
        ),
        40..60 => write!(
            text,
            "sshd[{}]: Accepted publickey for {user} from {host} port {} ssh2",
            dice.below(99_999),
            dice.below(65_536)
        ),
        60..75 => write!(text, "cron[{}]: ({user}) CMD (/usr/libexec/atrun)", dice.below(99_999)),
        75..85 => {
            write!(text, "em0: link state changed to {}", dice.pick(&["UP", "DOWN"]))
        }
        85..95 => write!(
            text,
            "postfix/smtp[{}]: {number:X}: to=<{user}@example.org>, relay=mx.example.org[{host}]:25, delay={}, status={}",
            dice.below(99_999),
            dice.below(60),
            dice.pick(&["sent (250 2.0.0 Ok)", "deferred (connection timed out)"])
        ),
        _ => write!(
            text,
            "java.lang.IllegalStateException: no session for {user} at {}",
            "org.example.server.Handler.handle(Handler.java:214) "
                .repeat(2 + dice.below(14) as usize)
        ),
    };
    written.unwrap();
}
