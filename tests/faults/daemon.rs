//! Faults of the daemon itself: stopped, killed, ended and reconfigured at random moments.

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::Site;
use crate::load::{Load, Plan, Tally};
use crate::table::{Allowed, Row};
use crate::{drawn, scaled};

#[test]
fn a_daemon_that_is_suspended_and_continued_loses_nothing() {
    let times = scaled(2, 20, 100);
    let site = Site::new();
    let daemon = site.start();
    let load = Load::start(&[site.pipe()], Plan::default());
    for _ in 0..times {
        load.wait_more(1000);
        thread::sleep(Duration::from_millis(drawn(20)));
        daemon.signal(Signal::SIGSTOP);
        load.wait_blocked();
        daemon.signal(Signal::SIGCONT);
    }
    load.wait_more(1000);
    let written = load.end();
    daemon.stop();
    let mut tally = Tally::default();
    tally.take_file(&site.path("in.log"), 0);
    let row = Row {
        key: "3-4".to_owned(),
        fault: format!("SIGSTOP, SIGCONT: {times} times"),
        promise: "the writers wait; nothing lost".to_owned(),
        allowed: Allowed::NOTHING,
    };
    row.judge(&written, &tally, 0);
}
