//! What the fuzz targets check, with the kept corpus and with random input: what was once found is
//! never found again, and a run without cargo-fuzz looks a little further each time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod properties;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn the_kept_corpus_breaks_no_promise() {
    for (target, check) in properties::ALL {
        let corpus = corpus(target);
        assert!(corpus.len() > 10, "{target} has a corpus");
        for (path, bytes) in corpus {
            // The name of the file is what a failure needs.
            if let Err(panic) = std::panic::catch_unwind(|| check(&bytes)) {
                eprintln!("with {}", path.display());
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// Any bytes, and those of the corpus with some of them changed, left out or doubled.
fn input(target: &str) -> impl Strategy<Value = Vec<u8>> {
    let kept: Vec<_> = corpus(target).into_iter().map(|(_, bytes)| bytes).collect();
    let places = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 0..6);
    let changed = (proptest::sample::select(kept), places).prop_map(|(mut bytes, places)| {
        for (place, byte, what) in places {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.extend_from_within(at..bytes.len().min(at + usize::from(byte))),
            }
        }
        bytes
    });
    prop_oneof![1 => proptest::collection::vec(any::<u8>(), 0..300), 4 => changed]
}

fn random_input_breaks_no_promise(target: &str) {
    let (_, check) = properties::ALL.into_iter().find(|(name, _)| *name == target).unwrap();
    let config = ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() };
    TestRunner::new(config)
        .run(&input(target), |bytes| {
            check(&bytes);
            Ok(())
        })
        .unwrap();
}

#[test]
fn random_bytes_are_framed_as_promised() {
    random_input_breaks_no_promise("framer");
}

#[test]
fn random_configurations_are_understood_or_refused() {
    random_input_breaks_no_promise("config");
}

#[test]
fn random_lines_are_understood_or_refused_by_the_control_protocol() {
    random_input_breaks_no_promise("control");
}

#[test]
fn random_records_are_formatted_as_promised() {
    random_input_breaks_no_promise("format");
}
