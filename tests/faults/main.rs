//! The fault suite: what bdaemon promises, tried against real components that fail.
//!
//! A counted, checksummed load runs through each fault; afterwards what was written is compared
//! with what arrived, and the outcome with what is promised. Each fault gives a row of
//! `docs/reliability.md`; one that breaks its promise fails its test.
//!
//! To add a fault: write a function in the module of its kind that starts a [`load::Load`], makes
//! things fail, mends them, ends the load, reads what arrived into a [`load::Tally`], and gives it to
//! [`table::Row::judge`] with what is promised. Call it from a test. A new kind is a module here and
//! a heading in [`table::KINDS`].
//!
//! `BDAEMON_FAULTS` says how far it goes: `short`, the default, in `make check`; `middle` in CI;
//! `whole` in `make check-faults`, which also writes the table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod daemon;
mod files;
mod load;
mod resources;
mod soak;
mod syslog_daemons;
mod table;
mod twins;
mod writers;

/// How far the faults go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Short,
    Middle,
    Whole,
}

impl Extent {
    fn wanted() -> Self {
        match std::env::var("BDAEMON_FAULTS").as_deref() {
            Err(_) | Ok("short") => Self::Short,
            Ok("middle") => Self::Middle,
            Ok("whole") => Self::Whole,
            Ok(other) => panic!("BDAEMON_FAULTS is short, middle or whole, and not {other}"),
        }
    }
}

/// A count or a time that depends on how far the faults go.
fn scaled<T>(short: T, middle: T, whole: T) -> T {
    match Extent::wanted() {
        Extent::Short => short,
        Extent::Middle => middle,
        Extent::Whole => whole,
    }
}

/// Another number each time; what is drawn is printed by a test that fails.
fn drawn(below: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(below) % below
}
