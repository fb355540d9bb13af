//! Rates out of counters, for `top`: what came between two looks, and a short history of it.

use std::collections::{BTreeMap, VecDeque};

use crate::control::protocol::Status;

/// How many looks a graph goes back.
const HISTORY: usize = 30;

/// The rates of the pipes and of the targets, in records a second.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// When the daemon was last looked at, by its own clock.
    uptime: f64,
    pipes: BTreeMap<String, Rate>,
    targets: BTreeMap<String, Rate>,
}

#[derive(Debug, Default)]
struct Rate {
    count: u64,
    history: VecDeque<f64>,
}

impl Rate {
    fn look(&mut self, count: u64, seconds: f64) {
        // A count that is smaller is that of another daemon.
        let new = count.saturating_sub(self.count);
        self.count = count;
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(per_second(new, seconds));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

impl Rates {
    /// Takes the counters of another look. The first one only sets the marks.
    pub(super) fn look(&mut self, status: &Status) {
        let first = self.uptime == 0.0 || status.uptime_seconds < self.uptime;
        let seconds = if first { 0.0 } else { status.uptime_seconds - self.uptime };
        self.uptime = status.uptime_seconds;
        // A pipe that was replaced and is still read has the name of its successor.
        let mut pipes: BTreeMap<&str, u64> = BTreeMap::new();
        for pipe in &status.pipes {
            *pipes.entry(&pipe.name).or_default() += pipe.records;
        }
        for (name, records) in pipes {
            self.pipes.entry(name.to_owned()).or_default().look(records, seconds);
        }
        for target in &status.targets {
            self.targets.entry(target.name.clone()).or_default().look(target.delivered, seconds);
        }
    }

    /// Records a second that came through a pipe.
    pub(super) fn of_pipe(&self, name: &str) -> f64 {
        self.pipes.get(name).and_then(|rate| rate.history.back()).copied().unwrap_or(0.0)
    }

    /// Records a second that were delivered to a target.
    pub(super) fn of_target(&self, name: &str) -> f64 {
        self.targets.get(name).and_then(|rate| rate.history.back()).copied().unwrap_or(0.0)
    }

    /// The rates of a pipe over time, the highest a full block.
    pub(super) fn graph(&self, name: &str) -> String {
        const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let Some(rate) = self.pipes.get(name) else { return String::new() };
        let highest = rate.history.iter().copied().fold(0.0, f64::max);
        let block = |rate: &f64| {
            let fits = |(eighths, _): &(u8, char)| *rate <= highest * f64::from(*eighths) / 8.0;
            let block = (1..).zip(BLOCKS).find(fits).map_or('█', |(_, block)| block);
            if *rate > 0.0 { block } else { ' ' }
        };
        rate.history.iter().map(block).collect()
    }
}

/// A rate or a size in three digits: `0`, `1.5`, `999`, `1.2k`, `34k`.
pub(super) fn short(number: f64) -> String {
    let (number, unit) = match number {
        n if n < 999.5 => (n, ""),
        n if n < 999.5e3 => (n / 1e3, "k"),
        n if n < 999.5e6 => (n / 1e6, "M"),
        n => (n / 1e9, "G"),
    };
    if number >= 9.95 || number.fract() == 0.0 {
        format!("{number:.0}{unit}")
    } else {
        format!("{number:.1}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (1.54, "1.5"),
            (10.4, "10"),
            (999.4, "999"),
            (999.6, "1.0k"),
            (1234.0, "1.2k"),
            (34_567.0, "35k"),
            (2_500_000.0, "2.5M"),
            (7e9, "7G"),
        ] {
            assert_eq!(short(number), text);
        }
    }

    #[test]
    fn a_pipe_that_was_replaced_and_is_still_read_counts_with_its_successor() {
        let look = |uptime: f64, records: [u64; 2]| -> Status {
            let pipe = |(records, state): (u64, &str)| {
                json!({
                    "name": "in", "path": "/in", "target": "stderr", "state": state,
                    "records": records, "bytes": 0, "splits": 0, "escapes": 0,
                })
            };
            let pipes: Vec<_> = records.into_iter().zip(["reading", "retired"]).map(pipe).collect();
            let status = json!({
                "version": "", "pid": 1, "user": "", "started": "", "uptime_seconds": uptime,
                "peak_resident_bytes": 0, "log_level": "info", "reloads": 0,
                "failed_reloads": 0, "clients": 1, "pipes": pipes, "targets": [],
            });
            serde_json::from_value(status).unwrap()
        };
        let mut rates = Rates::default();
        for (uptime, records) in [(1.0, [1000, 0]), (2.0, [1004, 3]), (3.0, [1006, 5])] {
            rates.look(&look(uptime, records));
        }
        let history = &rates.pipes["in"].history;
        assert_eq!(history.iter().map(|rate| short(*rate)).collect::<Vec<_>>(), ["0", "7", "4"]);
    }

    #[test]
    fn a_graph_shows_the_highest_as_a_full_block() {
        let mut rate = Rate::default();
        for (count, seconds) in [(0, 0.0), (80, 1.0), (80, 1.0), (120, 1.0), (130, 1.0)] {
            rate.look(count, seconds);
        }
        let rates = Rates { pipes: BTreeMap::from([("in".to_owned(), rate)]), ..Rates::default() };
        assert_eq!(rates.graph("in"), " █ ▄▁");
        assert!((rates.of_pipe("in") - 10.0).abs() < 1e-9);
        assert_eq!(rates.graph("none"), "");
    }
}
