//! Started as root, it becomes somebody else and can still do its work.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, User, chown};

use common::{Daemon, Site, is_fifo, is_root_or_skip, wait_for};

/// An account that every system has.
fn nobody() -> User {
    User::from_name("nobody").unwrap().expect("nobody is an account everywhere")
}

/// A site whose directory belongs to `nobody`, with a daemon that is to run as that user.
fn site() -> Site {
    let site = Site::new();
    let nobody = nobody();
    chown(site.directory(), Some(nobody.uid), Some(nobody.gid)).unwrap();
    site.configure(&format!("user = \"nobody\"\n{}", site.plain()));
    site
}

/// Real, effective and saved ids, and the supplementary groups, as ps(1) or the kernel say.
fn ids(daemon: &Daemon<'_>) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
    let numbers =
        |text: &str| text.split_whitespace().map(|n| n.parse().unwrap()).collect::<Vec<u32>>();
    if cfg!(target_os = "linux") {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid)).unwrap();
        let field =
            |name: &str| numbers(status.lines().find_map(|line| line.strip_prefix(name)).unwrap());
        // The fourth is the id for file systems.
        return (field("Uid:"), field("Gid:"), field("Groups:"));
    }
    let keys = "ruid=,uid=,svuid=,rgid=,svgid=";
    let pid = daemon.pid.to_string();
    let ps = |keys| {
        common::text(
            &std::process::Command::new("ps")
                .args(["-o", keys, "-p", &pid])
                .output()
                .unwrap()
                .stdout,
        )
    };
    let all = numbers(&ps(keys));
    let groups =
        ps("groups=").split([',', ' ', '\n']).filter_map(|group| group.parse().ok()).collect();
    (all[..3].to_vec(), all[3..].to_vec(), groups)
}

#[test]
fn it_becomes_the_user_with_its_groups_and_none_of_roots() {
    if !is_root_or_skip() {
        return;
    }
    let site = site();
    let daemon = site.start();
    let nobody = nobody();
    let (uids, gids, groups) = ids(&daemon);
    assert!(uids.iter().all(|uid| *uid == nobody.uid.as_raw()), "{uids:?}");
    assert!(gids.iter().all(|gid| *gid == nobody.gid.as_raw()), "{gids:?}");
    assert_eq!(groups, [nobody.gid.as_raw()], "supplementary groups");
    daemon.stop();
}

#[test]
fn a_group_of_its_own_can_be_given_by_number() {
    if !is_root_or_skip() {
        return;
    }
    let site = site();
    site.configure(&format!("user = \"nobody\"\ngroup = \"12321\"\n{}", site.plain()));
    let daemon = site.start();
    let (_, gids, groups) = ids(&daemon);
    assert!(gids.iter().all(|gid| *gid == 12321), "{gids:?}");
    assert!(!groups.contains(&0), "{groups:?}");
    daemon.stop();
}

#[test]
fn what_it_makes_belongs_to_the_user_and_can_be_made_again_and_removed() {
    if !is_root_or_skip() {
        return;
    }
    let site = site();
    let daemon = site.start();
    let nobody = nobody();
    let owner = |name: &str| {
        let metadata = fs::metadata(site.path(name)).unwrap();
        (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()))
    };
    for name in ["in.pipe", "in.pipe.lock", "in.log", "own.log"] {
        assert_eq!(owner(name), (nobody.uid, nobody.gid), "{name}");
    }
    fs::remove_file(site.pipe()).unwrap();
    site.wait_own("was removed or replaced; made again");
    assert!(is_fifo(&site.pipe()));
    assert_eq!(owner("in.pipe"), (nobody.uid, nobody.gid));
    fs::rename(site.path("in.log"), site.path("old.log")).unwrap();
    daemon.signal(Signal::SIGUSR1);
    wait_for("the log to be made again", || site.path("in.log").exists().then_some(()));
    site.write("after all that\n");
    assert_eq!(site.wait_texts("in.log", 1), ["after all that"]);
    daemon.stop();
}

#[test]
fn the_pipe_can_belong_to_a_group_of_writers() {
    if !is_root_or_skip() {
        return;
    }
    let site = Site::new();
    site.configure(
        &(site.head() + &site.pipe_section("in", "owner = \"nobody\"\ngroup = \"54321\"")),
    );
    let daemon = site.start();
    let metadata = fs::metadata(site.pipe()).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (nobody().uid.as_raw(), 54321));
    assert_eq!(metadata.mode() & 0o7777, 0o620);
    daemon.stop();
}

#[test]
fn a_group_that_is_no_longer_configured_is_taken_from_the_pipe() {
    if !is_root_or_skip() {
        return;
    }
    let site = Site::new();
    let group = || {
        let pipe = fs::metadata(site.pipe()).unwrap().gid();
        assert_eq!(fs::metadata(site.path("in.pipe.lock")).unwrap().gid(), pipe);
        pipe
    };
    let with_group = site.head() + &site.pipe_section("in", "group = \"54321\"");
    site.configure(&with_group);
    let mut daemon = site.start();
    assert_eq!(group(), 54321);
    site.configure(&site.plain());
    daemon.signal(Signal::SIGHUP);
    site.wait_own("configuration reloaded");
    let plain = group();
    assert_eq!(plain, fs::metadata(site.path("own.log")).unwrap().gid(), "as any new file");
    // So does a start that adopts what a crash has left.
    site.configure(&with_group);
    daemon.signal(Signal::SIGHUP);
    wait_for("the second reload", || (group() == 54321).then_some(()));
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    site.configure(&site.plain());
    let daemon = site.start();
    assert_eq!(group(), plain);
    daemon.stop();
}

#[test]
fn an_unknown_user_or_group_keeps_it_from_starting() {
    if !is_root_or_skip() {
        return;
    }
    let site = Site::new();
    site.configure(&format!("user = \"no-such-user\"\n{}", site.plain()));
    let (code, stderr) = site.fail_to_start(&[]);
    assert_eq!(
        (code, stderr.as_str()),
        (78, "bdaemon: no user `no-such-user` on this system; make it, for instance with pw(8)\n")
    );
    site.configure(&(site.head() + &site.pipe_section("in", "group = \"no-such-group\"")));
    let (code, stderr) = site.fail_to_start(&[]);
    assert_eq!(code, 78);
    assert!(stderr.contains("no group `no-such-group`"), "{stderr}");
    assert_eq!(site.leftovers(), [""; 0]);
}

#[test]
fn a_directory_that_the_user_cannot_work_in_is_warned_of() {
    if !is_root_or_skip() {
        return;
    }
    let site = Site::new();
    site.configure(&format!("user = \"nobody\"\n{}", site.plain()));
    let checked = site.bdaemon(&["-t"]).output().unwrap();
    let stderr = common::text(&checked.stderr);
    let warning = format!(
        "{} is not owned by nobody, who cannot remove or remake files there",
        site.directory().display()
    );
    assert!(stderr.contains(&warning), "{stderr}");
}

#[test]
fn files_linked_into_the_users_directory_are_not_touched() {
    if !is_root_or_skip() {
        return;
    }
    // Whoever owns the directory could link a file of root's there under the name of the log or
    // of the pid file, and have root write into it.
    let precious = Site::new();
    fs::write(precious.path("precious"), "root's\n").unwrap();
    let names = ["pid", "in.log", "in.pipe.lock"];
    for (name, sticky) in names.into_iter().flat_map(|name| [(name, false), (name, true)]) {
        let site = if sticky { Site::new() } else { site() };
        if sticky {
            fs::set_permissions(site.directory(), fs::Permissions::from_mode(0o1777)).unwrap();
        }
        fs::hard_link(precious.path("precious"), site.path(name)).unwrap();
        let (code, stderr) = site.fail_to_start(&[]);
        assert_eq!(code, 73);
        assert!(stderr.contains("has a second name"), "{stderr}");
        assert_eq!(precious.read("precious"), "root's\n");
        assert_eq!(fs::metadata(precious.path("precious")).unwrap().uid(), 0);
    }
}

#[test]
fn user_without_root_is_said_to_have_no_effect() {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let site = Site::new();
    site.configure(&format!("user = \"nobody\"\n{}", site.plain()));
    let daemon = site.start();
    site.wait_own("user = \"nobody\" has no effect: only root can become somebody else");
    daemon.stop();
}

#[test]
fn what_the_user_could_not_make_or_open_again_is_warned_of() {
    if !is_root_or_skip() {
        return;
    }
    let site = site();
    fs::write(site.path("in.log"), "").unwrap();
    let keys = "owner = \"daemon\"\ngroup = \"54321\"";
    let pipe = site.pipe_section("in", keys);
    let head = site.head().replace("[control]", "[control]\ngroup = \"54322\"");
    site.configure(&format!("user = \"nobody\"\n{head}{pipe}"));
    let checked = site.bdaemon(&["-t"]).output().unwrap();
    let stderr = common::text(&checked.stderr);
    for warning in [
        "pipe in: nobody could not make it again for its owner daemon; leave `owner` out",
        "pipe in: nobody could not make it again for the group 54321; make nobody a member",
        "in.log: nobody could not open it again after a rotation; give it to that user",
        "control socket: nobody could not make it again for the group 54322; make nobody a member",
    ] {
        assert!(stderr.contains(warning), "{warning:?} in {stderr:?}");
    }
    // A group that is given as that of the daemon is one that it has.
    let pipe = site.pipe_section("in", "group = \"54321\"");
    fs::set_permissions(site.path("in.log"), fs::Permissions::from_mode(0o660)).unwrap();
    chown(&site.path("in.log"), None, Some(Gid::from_raw(54321))).unwrap();
    site.configure(&format!("user = \"nobody\"\ngroup = \"54321\"\n{}{pipe}", site.head()));
    let checked = site.bdaemon(&["-t"]).output().unwrap();
    assert_eq!(common::text(&checked.stderr), "");
    let pipe = site.pipe_section("in", keys);
    site.configure(&format!("user = \"nobody\"\n{}{pipe}", site.head()));
    // It starts all the same; that the pipe cannot be made again is said once.
    let daemon = site.start();
    fs::remove_file(site.pipe()).unwrap();
    site.wait_own("making it again failed");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(site.read("own.log").matches("making it again failed").count(), 1);
    drop(daemon);
}
