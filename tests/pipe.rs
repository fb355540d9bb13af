//! What stands at the pipe's path: made exactly, adopted when ours, otherwise refused and left.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, mkfifo};

use common::{Site, inode, is_fifo, is_root_or_skip, mode, wait_for};

const EX_CANTCREAT: i32 = 73;

#[test]
fn the_mode_is_exact_whatever_the_umask() {
    for umask in ["000", "022", "077", "777"] {
        let site = Site::new();
        site.configure(&(site.head() + &site.pipe_section("in", "mode = \"0662\"")));
        let daemon = site.start_with(std::process::Command::new("sh").arg("-c").arg(format!(
            "umask {umask}; exec {} -c {}",
            common::BDAEMON,
            site.config().display()
        )));
        assert!(is_fifo(&site.pipe()));
        assert_eq!(mode(&site.pipe()), 0o662, "under umask {umask}");
        assert_eq!(mode(&site.pid_file()), 0o644, "under umask {umask}");
        assert_eq!(mode(&site.path("in.log")), 0o640, "under umask {umask}");
        daemon.stop();
    }
}

#[test]
fn what_is_not_a_fifo_is_refused_and_left_untouched() {
    let refused = |make: &dyn Fn(&Path), kind: &str| {
        let site = Site::new();
        make(&site.pipe());
        let before = fs::symlink_metadata(site.pipe()).unwrap();
        let (code, stderr) = site.fail_to_start(&[]);
        assert_eq!(code, EX_CANTCREAT, "{stderr}");
        assert!(stderr.contains(kind) && stderr.contains("in.pipe"), "{stderr}");
        let after = fs::symlink_metadata(site.pipe()).unwrap();
        assert_eq!(
            (before.ino(), before.mode(), before.ctime()),
            (after.ino(), after.mode(), after.ctime())
        );
        assert_eq!(site.leftovers(), ["in.pipe"], "nothing else is left behind");
        let (foreground_code, _) = site.fail_to_start(&["-f"]);
        assert_eq!(foreground_code, code);
        assert_eq!(site.leftovers(), ["in.pipe"]);
        site
    };
    let site = refused(&|path| fs::write(path, "precious").unwrap(), "a regular file");
    assert_eq!(site.read("in.pipe"), "precious");
    refused(&|path| fs::create_dir(path).unwrap(), "a directory");
    refused(&|path| drop(UnixListener::bind(path).unwrap()), "a socket");
    refused(&|path| symlink("/nowhere/at/all", path).unwrap(), "a symlink");
    // Not even a symlink to what would have been adopted.
    refused(
        &|path| {
            let real = path.with_file_name("real.log");
            mkfifo(&real, Mode::S_IRWXU).unwrap();
            symlink(real, path).unwrap();
        },
        "a symlink",
    );
}

#[test]
fn a_fifo_of_another_owner_is_refused_and_left_untouched() {
    if !is_root_or_skip() {
        return;
    }
    let site = Site::new();
    mkfifo(&site.pipe(), Mode::from_bits_truncate(0o600)).unwrap();
    chown(&site.pipe(), Some(Uid::from_raw(12345)), Some(Gid::from_raw(12345))).unwrap();
    let (code, stderr) = site.fail_to_start(&[]);
    assert_eq!(code, EX_CANTCREAT);
    assert!(stderr.contains("belongs to user 12345"), "{stderr}");
    let metadata = fs::metadata(site.pipe()).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (12345, 0o600));
    assert_eq!(site.leftovers(), ["in.pipe"]);
}

#[test]
fn a_fifo_that_a_crash_left_is_adopted_and_gets_its_mode_back() {
    let site = Site::new();
    let mut daemon = site.start();
    let before = inode(&site.pipe());
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    assert_eq!(site.leftovers(), ["in.pipe", "in.pipe.lock", "pid", "sock"], "what a crash leaves");
    fs::set_permissions(site.pipe(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    let daemon = site.start();
    assert_eq!(inode(&site.pipe()), before, "the same FIFO");
    assert_eq!(mode(&site.pipe()), 0o620);
    site.write("after the crash\n");
    assert_eq!(site.wait_texts("in.log", 1), ["after the crash"]);
    daemon.stop();
}

#[test]
fn a_second_daemon_on_the_same_pipe_is_refused_and_told_who_has_it() {
    let site = Site::new();
    let daemon = site.start();
    let (code, stderr) = site.fail_to_start(&["-p", site.path("other-pid").to_str().unwrap()]);
    assert_eq!(code, EX_CANTCREAT);
    assert!(stderr.contains(&format!("pid {}", daemon.pid)), "{stderr}");
    site.write("still served\n");
    assert_eq!(site.wait_texts("in.log", 1), ["still served"]);
    daemon.stop();
}

#[test]
fn a_pipe_that_somebody_else_reads_is_refused() {
    let site = Site::new();
    mkfifo(&site.pipe(), Mode::S_IRWXU).unwrap();
    let reader =
        OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(site.pipe());
    let (_, stderr) = site.fail_to_start(&[]);
    assert!(stderr.contains("read by another process"), "{stderr}");
    drop(reader);
    // A child that another test has just forked has it too, until it executes something.
    wait_for("the reader to be gone", || {
        let writer =
            OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(site.pipe());
        writer.is_err().then_some(())
    });
    site.start().stop();
}

#[test]
fn a_removed_pipe_is_made_again_and_what_was_in_the_old_one_is_not_lost() {
    let site = Site::new();
    let daemon = site.start();
    let mut old_writer = site.open_pipe("in.pipe");
    old_writer.write_all(b"before\n").unwrap();
    let old = inode(&site.pipe());
    fs::remove_file(site.pipe()).unwrap();
    old_writer.write_all(b"into the nameless one\n").unwrap();
    wait_for("the pipe to be made again", || is_fifo(&site.pipe()).then_some(()));
    site.wait_own("was removed or replaced; made again");
    assert_ne!(inode(&site.pipe()), old);
    assert_eq!(mode(&site.pipe()), 0o620);
    site.write("into the new one\n");
    site.wait_lines("in.log", 3);
    // The old writer is served for as long as it holds the old pipe open.
    old_writer.write_all(b"still into the old one\n").unwrap();
    let mut texts = site.wait_texts("in.log", 4);
    texts.sort();
    assert_eq!(
        texts,
        ["before", "into the nameless one", "into the new one", "still into the old one"]
    );
    drop(old_writer);
    site.wait_own("all writers of");
    daemon.stop();
}

#[test]
fn half_a_record_in_a_removed_pipe_is_joined_by_its_other_half() {
    let site = Site::new();
    site.configure(&(site.head() + &site.pipe_section("in", "flush_after = \"1h\"")));
    let daemon = site.start();
    let mut old_writer = site.open_pipe("in.pipe");
    old_writer.write_all(b"whole\nhalf a ").unwrap();
    site.wait_lines("in.log", 1);
    fs::remove_file(site.pipe()).unwrap();
    site.wait_own("was removed or replaced; made again");
    site.write("new\n");
    site.wait_lines("in.log", 2);
    old_writer.write_all(b"record\n").unwrap();
    assert_eq!(site.wait_texts("in.log", 3), ["whole", "new", "half a record"]);
    drop(old_writer);
    daemon.stop();
}

#[test]
fn whatever_takes_a_pipes_place_is_kept_under_another_name() {
    let site = Site::new();
    let daemon = site.start();
    let aside = site.path("aside.log");
    for number in 1..=3 {
        fs::write(&aside, format!("written while the pipe was missing, {number}\n")).unwrap();
        fs::rename(&aside, site.pipe()).unwrap();
        wait_for("the pipe to be made again", || is_fifo(&site.pipe()).then_some(()));
    }
    for number in 1..=3 {
        let displaced = format!("in.pipe.displaced.{number}");
        assert_eq!(
            site.read(&displaced),
            format!("written while the pipe was missing, {number}\n")
        );
        fs::remove_file(site.path(&displaced)).unwrap();
    }
    site.write("on it goes\n");
    assert_eq!(site.wait_texts("in.log", 1), ["on it goes"]);
    daemon.stop();
}

#[test]
fn a_pipe_whose_directory_goes_is_complained_of_once_and_made_again_when_that_is_back() {
    let site = Site::new();
    let directory = site.path("run");
    fs::create_dir(&directory).unwrap();
    site.configure(&site.plain().replace("in.pipe", "run/in.pipe"));
    let daemon = site.start();
    fs::remove_dir_all(&directory).unwrap();
    site.wait_own("in.pipe was removed or replaced, and making it again failed");
    fs::create_dir(&directory).unwrap();
    site.wait_own("in.pipe was removed or replaced; made again");
    site.open_pipe("run/in.pipe").write_all(b"goes on\n").unwrap();
    assert_eq!(site.wait_texts("in.log", 1), ["goes on"]);
    assert_eq!(site.read("own.log").matches("making it again failed").count(), 1, "said once");
    daemon.signal(Signal::SIGTERM);
    wait_for("the pipe's name to go", || (!site.path("run/in.pipe").exists()).then_some(()));
}

#[test]
fn a_removed_lock_is_made_again() {
    let site = Site::new();
    let daemon = site.start();
    let lock = site.path("in.pipe.lock");
    assert_eq!(mode(&lock), 0o640, "readable for those who may write to the pipe");
    fs::remove_file(&lock).unwrap();
    wait_for("the lock", || (common::read_pid(&lock) == Some(daemon.pid)).then_some(()));
    // So is one that something else was put in the place of.
    fs::remove_file(&lock).unwrap();
    fs::write(&lock, "").unwrap();
    wait_for("the lock", || (common::read_pid(&lock) == Some(daemon.pid)).then_some(()));
    daemon.stop();
}
