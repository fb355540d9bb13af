//! The rows of the table in `docs/reliability.md`.
//!
//! Each row goes into a file of its own in the directory that `BDAEMON_FAULTS_ROWS` names, so that
//! tests which run at the same time do not disturb each other; [`the_table_is_written`] puts them
//! together.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::common;
use crate::load::{Outcome, Tally, Written};
use crate::syslog_daemons;

/// The kinds of faults, in the order of the table: the first word of a row's key, and a heading.
pub(crate) const KINDS: &[(&str, &str)] = &[
    ("1", "Syslog daemons and collectors"),
    ("2", "Files"),
    ("3", "The daemon itself"),
    ("4", "Writers"),
    ("5", "Resources"),
    ("7", "Two daemons at once"),
];

/// A fault, and what is promised of it.
pub(crate) struct Row {
    /// What kind it is of, and where it stands among them: rows are sorted by it.
    pub(crate) key: String,
    /// What was done.
    pub(crate) fault: String,
    /// What that comes to, in words.
    pub(crate) promise: String,
    pub(crate) allowed: Allowed,
}

/// The most that may happen without a promise being broken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    /// Records whose write was over before the pipe's name went.
    pub(crate) lost: u64,
    /// Records that were written when the pipe had no name any more.
    pub(crate) lost_nameless: u64,
    pub(crate) lost_bytes: u64,
    pub(crate) duplicated: u64,
    pub(crate) torn: u64,
    pub(crate) disordered: u64,
}

impl Allowed {
    /// No record is lost, none comes twice, none is torn or out of order.
    pub(crate) const NOTHING: Self = Self::to_lose(0);

    /// So many records may be lost.
    pub(crate) const fn to_lose(records: u64) -> Self {
        Self {
            lost: records,
            lost_nameless: records,
            lost_bytes: u64::MAX,
            duplicated: 0,
            torn: 0,
            disordered: 0,
        }
    }

    /// Records of so many bytes may be lost.
    pub(crate) const fn to_lose_bytes(bytes: u64) -> Self {
        Self { lost_bytes: bytes, ..Self::to_lose(u64::MAX) }
    }

    fn covers(&self, outcome: &Outcome) -> bool {
        outcome.lost - outcome.lost_nameless <= self.lost
            && outcome.lost_nameless <= self.lost_nameless
            && outcome.lost_bytes <= self.lost_bytes
            && outcome.duplicated <= self.duplicated
            && outcome.torn <= self.torn
            && outcome.disordered <= self.disordered
    }
}

impl Row {
    /// Compares what was written with what arrived, notes the row, and fails if the promise was
    /// not kept.
    pub(crate) fn judge(&self, written: &Written, tally: &Tally, held: u64) -> Outcome {
        let outcome = tally.outcome(written, held);
        self.judge_outcome(&written.described(), written.begun, &outcome, &tally.torn_lines);
        outcome
    }

    /// As [`Row::judge`], of what was counted already.
    pub(crate) fn judge_outcome(
        &self,
        load: &str,
        begun: Instant,
        outcome: &Outcome,
        torn_lines: &[String],
    ) {
        self.note(load, begun, outcome);
        assert!(outcome.delivered > 0, "{}: nothing arrived at all", self.fault);
        assert!(
            self.allowed.covers(outcome),
            "{}: promised is: {}\n{outcome:?}\n{torn_lines:?}",
            self.fault,
            self.promise,
        );
    }

    /// Notes what was measured.
    pub(crate) fn note(&self, load: &str, begun: Instant, outcome: &Outcome) {
        let kept = if self.allowed.covers(outcome) { "kept" } else { "**broken**" };
        let Outcome { written, delivered, held, lost, duplicated, torn, disordered, .. } = outcome;
        let line = format!(
            "| {} | {load} | {written} | {delivered} | {held} | {lost} | {duplicated} | {torn} | {disordered} | {} | {kept} | {:.1} |\n",
            self.fault,
            self.promise,
            begun.elapsed().as_secs_f64()
        );
        eprint!("{line}");
        if let Some(directory) = rows() {
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(&self.key), line).unwrap();
        }
    }
}

fn rows() -> Option<PathBuf> {
    std::env::var_os("BDAEMON_FAULTS_ROWS").map(PathBuf::from)
}

const HEAD: &str = "\
| fault | load | written | delivered | held | lost | twice | torn | out of order | promised | verdict | seconds |
|---|---|--:|--:|--:|--:|--:|--:|--:|---|---|--:|
";

const BEGIN: &str = "<!-- The table begins: written by make check-faults. -->\n";
const END: &str = "<!-- The table ends. -->\n";

#[test]
#[ignore = "writes docs/reliability.md; make check-faults runs it when all else has passed"]
fn the_table_is_written() {
    let rows = rows().expect("BDAEMON_FAULTS_ROWS names the directory of the rows");
    let mut keys: Vec<_> = fs::read_dir(&rows)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    keys.sort();
    for key in &keys {
        let known = KINDS.iter().any(|(kind, _)| key.split('-').next() == Some(kind));
        assert!(known, "{key} is of no kind");
    }
    let mut table = format!("\nMeasured on {} on {}.\n", today(), system());
    for (kind, heading) in KINDS {
        let of_kind = |key: &&String| key.split('-').next() == Some(kind);
        let lines: String = keys
            .iter()
            .filter(of_kind)
            .map(|key| fs::read_to_string(rows.join(key)).unwrap())
            .collect();
        assert!(!lines.is_empty(), "no row of kind {kind}: it was left out");
        write!(table, "\n### {heading}\n\n{HEAD}{lines}").unwrap();
    }
    table.push('\n');
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let before = fs::read_to_string(&page).unwrap();
    let (head, rest) = before.split_once(BEGIN).expect("where the table begins");
    let (_, tail) = rest.split_once(END).expect("where the table ends");
    fs::write(&page, format!("{head}{BEGIN}{table}{END}{tail}")).unwrap();
}

fn today() -> String {
    jiff::Zoned::now().date().to_string()
}

/// The system, and the programs that took part.
fn system() -> String {
    let mut parts = vec![common::system()];
    parts.extend(syslog_daemons::versions());
    parts.join(", ")
}
