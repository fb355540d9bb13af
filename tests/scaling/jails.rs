//! One bdaemon with a pipe for each of many jails, configured by the script of the page.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::common::{
    Syslogd, described, inode, is_fifo, is_root_or_skip, mode, syslog_text, text, wait_for,
};
use crate::daemons::{self, Kind, Ready, are_here_or_skip};
use crate::load::{Load, Plan, Tally};
use crate::page;
use crate::place::Place;
use crate::setups::LOCAL_INPUT;

/// Names of jails.
pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("jail-{number:02}")).collect()
}

/// The pipe of a jail.
pub(crate) fn pipe(place: &Place, jail: &str) -> PathBuf {
    place.site.path(&format!("spool/bdaemon/{jail}/log.pipe"))
}

/// Runs the script with these names.
fn script(place: &Place, names: &[String]) -> Output {
    let script =
        page::block("jails.sh: jails' names on standard input, bdaemon.toml on standard output");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(place.here(&script));
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let names = names.join("\n") + "\n";
    shell.stdin.take().unwrap().write_all(names.as_bytes()).unwrap();
    shell.wait_with_output().unwrap()
}

/// Takes what the script writes for the configuration of bdaemon.
pub(crate) fn configure(place: &Place, names: &[String]) {
    let output = script(place, names);
    assert!(output.status.success(), "{}", described(&output));
    place.site.configure(&text(&output.stdout));
    place.check();
}

/// The local syslogd, with the rule of the page for jails.
pub(crate) fn syslogd(place: &Place) -> daemons::Syslogd<'_> {
    let config = LOCAL_INPUT.to_owned() + &page::block("syslog.conf for jails");
    let ready = Ready::Socket("run/log");
    daemons::Syslogd::start_with(Kind::Rsyslog, place, "local", &config, ready)
}

/// As a shell's `>` writes, without making a file where there is no pipe.
fn write(pipe: &Path, line: &str) {
    OpenOptions::new().write(true).open(pipe).unwrap().write_all(line.as_bytes()).unwrap();
}

/// The next message that is a record, and not bdaemon's own.
fn record(syslogd: &Syslogd) -> String {
    loop {
        let message = syslogd.next();
        if !message.contains(" bdaemon[") {
            return message;
        }
    }
}

#[test]
fn each_of_64_jails_has_a_pipe_a_tag_and_a_facility() {
    page::says("Nobody else gets at the pipe");
    let place = Place::new();
    let syslogd = Syslogd::bind(&place.site.path("run/log"));
    let names = names(64);
    configure(&place, &names);
    let _daemon = place.bdaemon();
    for (number, jail) in names.iter().enumerate() {
        let pipe = pipe(&place, jail);
        assert!(is_fifo(&pipe));
        assert_eq!(mode(&pipe), 0o622);
        assert_eq!(mode(pipe.parent().unwrap()), 0o755);
        write(&pipe, &format!("hello from {number}\n"));
        let message = record(&syslogd);
        let priority = (16 + number % 8) * 8 + 6;
        assert!(message.starts_with(&format!("<{priority}>")), "{message}");
        assert!(message.contains(&format!(" {jail}[")), "{message}");
        assert_eq!(syslog_text(&message), format!("hello from {number}"));
    }
    write(&pipe(&place, "jail-07"), "<0>I am jail-08\n");
    let message = record(&syslogd);
    assert!(message.contains(" jail-07["), "no other tag can be had: {message}");
    assert!(message.starts_with("<184>"), "its own facility: {message}");
}

#[test]
fn a_rule_of_syslogd_has_the_lines_of_all_jails() {
    if !are_here_or_skip(&[Kind::Rsyslog]) {
        return;
    }
    page::says("**Who wrote it** is told by the tag");
    let place = Place::new();
    let _syslogd = syslogd(&place);
    let names = names(16);
    configure(&place, &names);
    let _daemon = place.bdaemon();
    for jail in &names {
        write(&pipe(&place, jail), "hello\n");
    }
    for jail in &names {
        wait_for(format!("the line of {jail}"), || {
            let log = fs::read_to_string(place.site.path("log/jails.log")).unwrap_or_default();
            let mut lines = log.lines();
            lines.any(|line| line.contains(&format!(" {jail}["))).then_some(())
        });
    }
}

#[test]
fn a_jail_that_comes_leaves_the_pipes_of_the_others_alone() {
    page::says("reload does not touch the pipes that stay as they are");
    let place = Place::new();
    let syslogd = Syslogd::bind(&place.site.path("run/log"));
    let mut names = names(3);
    configure(&place, &names);
    let daemon = place.bdaemon();
    let pipes: Vec<_> = names.iter().map(|jail| pipe(&place, jail)).collect();
    let before: Vec<_> = pipes.iter().map(|pipe| inode(pipe)).collect();
    let mut held = OpenOptions::new().write(true).open(&pipes[1]).unwrap();
    names.push("new".to_owned());
    configure(&place, &names);
    daemon.signal(Signal::SIGHUP);
    let new = pipe(&place, "new");
    wait_for("the new pipe", || is_fifo(&new).then_some(()));
    let after: Vec<_> = pipes.iter().map(|pipe| inode(pipe)).collect();
    assert_eq!(before, after);
    held.write_all(b"still here\n").unwrap();
    assert!(record(&syslogd).ends_with("still here"));
    write(&new, "I am new\n");
    assert!(record(&syslogd).ends_with("I am new"));
}

#[test]
fn a_name_that_is_none_for_a_pipe_is_refused() {
    let place = Place::new();
    for name in ["inner.outer", "../../etc", "a\"b", ""] {
        let output = script(&place, &[name.to_owned()]);
        assert_eq!(output.status.code(), Some(65), "{}", described(&output));
        let said = format!("jails.sh: not a name for a pipe: {name}\n");
        assert_eq!(text(&output.stderr), said);
    }
    assert_eq!(fs::read_dir(place.site.path("spool/bdaemon")).unwrap().count(), 0);
}

#[test]
fn a_syslogd_that_restarts_under_64_jails_loses_nothing() {
    let place = Place::new();
    let syslogd = Syslogd::bind(&place.site.path("run/log"));
    let names = names(64);
    configure(&place, &names);
    let _daemon = place.bdaemon();
    let pipes: Vec<_> = names.iter().map(|jail| pipe(&place, jail)).collect();
    let pause = Some(Duration::from_millis(5));
    let load = Load::start(&pipes, Plan { writers: 1, pause, ..Plan::default() });
    load.wait_more(2000);
    let mut messages = syslogd.close();
    fs::remove_file(place.site.path("run/log")).unwrap();
    load.wait_blocked();
    let syslogd = Syslogd::bind(&place.site.path("run/log"));
    load.wait_more(2000);
    let written = load.end();
    for (number, pipe) in pipes.iter().enumerate() {
        write(pipe, &format!("#end {number}\n"));
    }
    let mut ends = 0;
    while ends < pipes.len() {
        let message = record(&syslogd);
        if message.contains("#end") {
            ends += 1;
        } else {
            messages.push(message);
        }
    }
    let mut tally = Tally::default();
    for message in messages.iter().filter(|message| !message.contains(" bdaemon[")) {
        tally.take(message);
    }
    let outcome = tally.outcome(&written, 0);
    let bad = (outcome.lost, outcome.duplicated, outcome.torn, outcome.disordered);
    assert_eq!(bad, (0, 0, 0, 0), "{outcome:?}");
}

/// What nullfs is to FreeBSD, a bind mount is to Linux.
#[test]
fn a_pipe_can_be_written_to_through_a_directory_that_is_mounted_read_only() {
    if !is_root_or_skip() || !cfg!(target_os = "linux") {
        return;
    }
    let place = Place::new();
    let syslogd = Syslogd::bind(&place.site.path("run/log"));
    configure(&place, &names(1));
    let _daemon = place.bdaemon();
    let jail = place.site.path("jail");
    fs::create_dir(&jail).unwrap();
    let script = "mount --bind \"$1\" \"$2\" && mount -o remount,bind,ro \"$2\" && \
                  echo through >\"$2\"/log.pipe && ! rm -f \"$2\"/log.pipe 2>/dev/null && \
                  ! touch \"$2\"/file 2>/dev/null";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]);
    let output =
        command.arg(pipe(&place, "jail-00").parent().unwrap()).arg(&jail).output().unwrap();
    assert!(output.status.success(), "{}", described(&output));
    assert!(record(&syslogd).ends_with("through"));
    assert!(is_fifo(&pipe(&place, "jail-00")));
}
