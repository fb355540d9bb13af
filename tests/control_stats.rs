//! `bdaemonctl stats`: the counters right after known input, in each of the forms.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde_json::Value;

use common::Site;

/// A sample's name and labels.
type Series = (String, BTreeMap<String, String>);

/// Reads the Prometheus text exposition format, version 0.0.4, and accepts nothing that is not
/// wholly in order.
fn exposition(text: &str) -> BTreeMap<Series, f64> {
    assert!(text.ends_with('\n'), "the last line ends too");
    let mut samples = BTreeMap::new();
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
    let mut family = String::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a text");
            assert!(is_name(name) && !help.is_empty(), "{line}");
            assert!(helped.insert(name.to_owned()), "each family stands together: {line}");
            name.clone_into(&mut family);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert_eq!(name, family, "the type follows the help");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert_eq!(typed.insert(name.to_owned(), kind.to_owned()), None, "{line}");
        } else {
            let (series, value) = sample(line);
            assert_eq!(series.0, family, "a sample stands with its family");
            assert!(typed.contains_key(&family), "the type stands before the samples");
            let kind = &typed[&family];
            assert!(value.is_finite() && (kind == "gauge" || value >= 0.0), "{line}");
            assert_eq!(samples.insert(series, value), None, "a series stands once: {line}");
        }
    }
    let with_samples: BTreeSet<_> = samples.keys().map(|(name, _)| name.clone()).collect();
    assert_eq!(helped, with_samples, "no family without samples");
    samples
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `name{label="value",…} number`
fn sample(line: &str) -> (Series, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line:?}"));
    let name = line[..end].to_owned();
    assert!(is_name(&name), "{line:?}");
    let mut labels = BTreeMap::new();
    let mut rest = &line[end..];
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, value) = inside.split_once("=\"").unwrap_or_else(|| panic!("{line:?}"));
            assert!(is_name(label), "{line:?}");
            let (value, after) = quoted(value);
            assert_eq!(labels.insert(label.to_owned(), value), None, "{line:?}");
            match after.strip_prefix(',') {
                Some(after) => inside = after,
                None => {
                    rest = after.strip_prefix('}').unwrap_or_else(|| panic!("{line:?}"));
                    break;
                }
            }
        }
    }
    let number = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line:?}"));
    ((name, labels), number.parse().unwrap_or_else(|_| panic!("{line:?}")))
}

/// A label's value up to its closing quote, and what is after that.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, c @ ('\\' | '"'))) => c,
                other => panic!("not an escape: {other:?} in {text:?}"),
            }),
            c => value.push(c),
        }
    }
    panic!("no end: {text:?}")
}

/// A site with a file whose name needs escapes as a label.
fn site() -> Site {
    let site = Site::new();
    let odd = site.pipe_section("odd", "").replace("odd.log", r#"odd \\ and \" too.log"#);
    site.configure(&(site.plain() + &odd));
    site
}

/// Seven records into `in` and one into `odd`: two with escapes, one split in two; says how many
/// bytes went into `in`.
fn feed(site: &Site) -> u64 {
    let long = "x".repeat(10_000);
    let records = ["plain", "tab\tis text", "\x01control", "b\u{7f}", &long, "", "last"];
    let mut bytes = 0;
    for record in records {
        site.write(format!("{record}\n"));
        bytes += record.len() as u64 + 1;
    }
    site.wait_lines("in.log", 7);
    site.ctl(&["send", "--wait", "through the socket"]);
    site.ctl(&["send", "--wait", "-n", "odd", "odd"]);
    bytes + "through the socket".len() as u64
}

#[test]
fn the_prometheus_form_is_in_order_and_counts_what_was_written() {
    let site = site();
    let daemon = site.start();
    let bytes = feed(&site);
    let samples = exposition(&site.ctl(&["stats", "--format", "prometheus"]));
    let of = |name: &str, label: &str, value: &str| {
        let labels = BTreeMap::from([(label.to_owned(), value.to_owned())]);
        samples[&(format!("bdaemon_{name}"), labels)]
    };
    let plain = |name: &str| samples[&(format!("bdaemon_{name}"), BTreeMap::new())];
    let equal = |value: f64, count: u64| {
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let count = count as f64;
        assert!((value - count).abs() < f64::EPSILON, "{value} is not {count}");
    };
    equal(of("pipe_records_total", "pipe", "in"), 7);
    equal(of("pipe_bytes_total", "pipe", "in"), bytes);
    equal(of("pipe_splits_total", "pipe", "in"), 1);
    equal(of("pipe_escapes_total", "pipe", "in"), 2);
    equal(of("pipe_records_total", "pipe", "odd"), 1);
    let target = |end: &str| {
        let mut labels = samples.keys().filter_map(|(_, labels)| labels.get("target"));
        labels.find(|name| name.ends_with(end)).unwrap().clone()
    };
    equal(of("target_delivered_total", "target", &target("/in.log")), 7);
    equal(of("target_delivered_total", "target", &target(r#"/odd \ and " too.log"#)), 1);
    equal(of("target_stalled", "target", &target("/in.log")), 0);
    equal(of("info", "version", env!("CARGO_PKG_VERSION")), 1);
    equal(plain("reloads_total"), 0);
    equal(plain("control_clients"), 1);
    assert!(plain("uptime_seconds") > 0.0);
    daemon.stop();
}

#[test]
fn the_other_forms_say_the_same() {
    let site = site();
    let daemon = site.start();
    let bytes = feed(&site);
    let text = site.ctl(&["stats"]);
    let has = |name: &str, of: &str, value: u64| {
        text.lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words == [name, of, &value.to_string()]
        })
    };
    assert!(has("pipe_records_total", "in", 7), "{text}");
    assert!(has("pipe_bytes_total", "in", bytes), "{text}");
    assert!(has("pipe_splits_total", "in", 1), "{text}");
    assert!(has("pipe_escapes_total", "in", 2), "{text}");
    for args in [&["stats", "--json"][..], &["stats", "--format", "json"]] {
        let stats: Value = serde_json::from_str(&site.ctl(args)).unwrap();
        let pipe = &stats["pipes"][0];
        assert_eq!((pipe["records"].as_u64(), pipe["bytes"].as_u64()), (Some(7), Some(bytes)));
        assert_eq!((pipe["splits"].as_u64(), pipe["escapes"].as_u64()), (Some(1), Some(2)));
        let delivered: u64 = stats["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|target| target["delivered"].as_u64().unwrap())
            .sum();
        assert_eq!(delivered, 8);
    }
    daemon.stop();
}

#[test]
fn a_pipe_that_was_replaced_and_is_still_read_is_no_second_series() {
    let site = site();
    let daemon = site.start();
    let mut writer = site.open_pipe("in.pipe");
    site.ctl(&["send", "--wait", "before"]);
    std::fs::remove_file(site.pipe()).unwrap();
    site.wait_own("was removed or replaced; made again");
    site.ctl(&["send", "--wait", "after"]);
    let pipes = site.status()["pipes"].clone();
    let states: Vec<_> = pipes.as_array().unwrap().iter().map(|pipe| &pipe["state"]).collect();
    assert_eq!(states, ["reading", "reading", "retired"]);
    let records = || {
        let samples = exposition(&site.ctl(&["stats", "--format", "prometheus"]));
        let labels = BTreeMap::from([("pipe".to_owned(), "in".to_owned())]);
        samples[&("bdaemon_pipe_records_total".to_owned(), labels)]
    };
    assert!((records() - 2.0).abs() < f64::EPSILON, "{}", records());
    writer.write_all(b"through the old one\n").unwrap();
    site.wait_lines("in.log", 3);
    assert!((records() - 3.0).abs() < f64::EPSILON, "{}", records());
    // A counter never becomes less, as if the daemon had been started again.
    drop(writer);
    common::wait_for("the end of the old one", || {
        (site.status()["pipes"].as_array().unwrap().len() == 2).then_some(())
    });
    assert!((records() - 3.0).abs() < f64::EPSILON, "{}", records());
    daemon.stop();
}

#[test]
fn another_parser_reads_the_prometheus_form() {
    let site = Site::new();
    let daemon = site.start();
    site.write("one\ntwo\n");
    site.wait_lines("in.log", 2);
    let printed = site.ctl(&["stats", "--format", "prometheus"]);
    let parsed = openmetrics_parser::prometheus::parse_prometheus(&printed).unwrap();
    let headings = printed.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(parsed.families.len(), headings, "{:?}", parsed.families.keys());
    let records = &parsed.families["bdaemon_pipe_records_total"];
    assert!(records.to_string().contains("bdaemon_pipe_records_total{pipe=\"in\"} 2"), "{records}");
    daemon.stop();
}
