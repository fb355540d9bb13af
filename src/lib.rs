//! bdaemon carries lines from named pipes to syslog or to log files without losing any, and
//! bdaemonctl is the administrator's hand on it. This library is both; the two programs parse
//! their arguments and call it.
//!
//! Data goes one way: bytes are read from a pipe, framed into [records](record), given their time
//! and tag as a line, and handed in batches to a target. The [daemon] is one thread around poll(2)
//! that moves them, and that stops reading a pipe whose target is away, so that writers wait and
//! nothing is lost.

#![forbid(unsafe_code)]

pub mod config;
pub mod control;
pub mod ctl;
pub mod daemon;
pub mod exit;
pub mod priority;
pub mod record;

#[doc(hidden)]
pub mod bench;

mod cli;

mod batch;
mod line;
mod pipe;
mod sys;
mod target;
