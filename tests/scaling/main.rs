//! The set-ups of `docs/scaling.md`: each is run with the configuration that the page shows, on real
//! daemons, and each suffers the failures that the page tells of. Only addresses and paths are
//! changed.
//!
//! `make bench-scaling` runs the module [`figures`], which writes the measured figures of the page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]
#![allow(clippy::cast_precision_loss)]

#[path = "../common/mod.rs"]
mod common;
/// The load and the counting are those of the fault suite; a part of them is used here.
#[path = "../faults/load.rs"]
#[allow(dead_code)]
mod load;

mod daemons;
mod figures;
mod jails;
mod page;
mod place;
mod setups;
