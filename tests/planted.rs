//! What others put at the paths that bdaemon uses, or swap them for between a look and its use:
//! nothing of anybody else's is opened, changed, given away or removed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, User, chown, mkfifo};

use common::control::run;
use common::{Site, is_fifo, is_root_or_skip, pid_of, read_pid, wait_for};

const EX_CANTCREAT: i32 = 73;

/// What an attacker would have bdaemon change: a file, a FIFO, a socket and a directory that only
/// their owner may touch.
struct Precious {
    directory: tempfile::TempDir,
    before: Vec<String>,
}

impl Precious {
    fn new() -> Self {
        // Beside the others: a hard link stays on its file system.
        let directory = tempfile::Builder::new().prefix("precious").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "precious\n").unwrap();
        // A pid file of somebody else's: even its contents look right.
        fs::write(at("pid"), "1\n").unwrap();
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        // Nobody serves it, as after a crash.
        drop(UnixListener::bind(at("socket")).unwrap());
        fs::create_dir(at("directory")).unwrap();
        for name in ["file", "pid", "fifo", "socket"] {
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut precious = Self { directory, before: Vec::new() };
        precious.before = precious.described();
        precious
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// All that must not change: which files there are, and what is in them, who owns them, and
    /// who may do what. How many names a file has is the attacker's.
    fn described(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut directories = vec![self.directory.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let contents = metadata.is_file().then(|| fs::read(&path).unwrap());
                let (uid, gid, mode) = (metadata.uid(), metadata.gid(), metadata.mode());
                all.push(format!("{} {uid} {gid} {mode:o} {contents:?}", path.display()));
                if metadata.is_dir() {
                    directories.push(path);
                }
            }
        }
        all.sort();
        all
    }

    fn is_untouched(&self, where_it_was: &str) {
        assert_eq!(self.described(), self.before, "{where_it_was}");
    }
}

/// Does something over and over until this goes out of scope.
struct Attacker {
    over: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Attacker {
    fn new(mut round: impl FnMut(u64) + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let (ended, counted) = (over.clone(), rounds.clone());
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                round(counted.fetch_add(1, Ordering::Relaxed));
            }
        });
        Self { over, rounds, thread: Some(thread) }
    }

    /// Waits until it has come round so often since this was called.
    fn wait_rounds(&self, rounds: u64) {
        let goal = self.rounds.load(Ordering::Relaxed) + rounds;
        wait_for("the attacker's turn", || {
            (self.rounds.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Symbolic,
    Hard,
}

/// Puts `precious` at `path` by a link, takes it away again, leaves the name to the daemon for a
/// moment, and begins anew. Sometimes it takes away what the daemon has made, sometimes it lays its
/// link over that.
fn flips(path: &Path, precious: &Path, link: Link) -> Attacker {
    flips_with_pauses(path, precious, link, true)
}

fn flips_with_pauses(path: &Path, precious: &Path, link: Link, pauses: bool) -> Attacker {
    let (path, precious) = (path.to_owned(), precious.to_owned());
    let mut aside = path.as_os_str().to_owned();
    aside.push(".aside");
    Attacker::new(move |round| {
        let aside = Path::new(&aside);
        match link {
            Link::Symbolic => symlink(&precious, aside).unwrap(),
            Link::Hard => fs::hard_link(&precious, aside).unwrap(),
        }
        fs::rename(aside, &path).unwrap();
        if aside.exists() {
            // Two names of one file: a rename leaves both.
            let _ = fs::remove_file(aside);
        }
        if pauses && round % 3 == 0 {
            thread::yield_now();
        }
        let _ = fs::remove_file(&path);
        if pauses && round % 2 == 0 {
            thread::sleep(Duration::from_micros(round % 50));
        }
    })
}

/// Starts the daemon, however that goes, and ends it.
fn start_and_end(site: &Site) -> Output {
    let output = site.bdaemon(&["-f"]).stderr(Stdio::piped()).spawn().map(|mut child| {
        let pid = child.id();
        // It has become ready, or has ended.
        let ready = || {
            let log = site.read("own.log");
            log.contains(&format!("bdaemon[{pid}]")).then_some(())
        };
        wait_for("the start", || {
            ready().or_else(|| child.try_wait().unwrap().is_some().then_some(()))
        });
        let _ = kill(pid_of(pid), Signal::SIGTERM);
        child.wait_with_output().unwrap()
    });
    output.unwrap()
}

fn nobody() -> User {
    User::from_name("nobody").unwrap().expect("nobody is an account everywhere")
}

/// A site in whose directory somebody else may do as they like.
fn open_site(bits: u32) -> Site {
    let site = Site::new();
    fs::set_permissions(site.directory(), fs::Permissions::from_mode(bits)).unwrap();
    site
}

/// The paths of the plain configuration, each with what an attacker would have stand there.
const TRAPS: [(&str, &str); 8] = [
    ("in.pipe", "file"),
    ("in.pipe", "fifo"),
    ("in.pipe.lock", "file"),
    ("in.pipe.lock", "pid"),
    ("pid", "file"),
    ("pid", "pid"),
    ("in.log", "file"),
    ("sock", "socket"),
];

fn a_name_that_flips_leads_nowhere(site: &Site, link: Link) {
    for (name, target) in TRAPS.into_iter().chain([("sock", "file")]) {
        let precious = Precious::new();
        let attacker = flips(&site.path(name), &precious.path(target), link);
        let mut started = 0;
        for _ in 0..6 {
            started += u32::from(start_and_end(site).status.success());
        }
        drop(attacker);
        precious.is_untouched(&format!("{name}, {target}, {link:?}, {started} starts went well"));
        let _ = fs::remove_file(site.path(name));
    }
}

#[test]
fn a_name_that_flips_to_a_symlink_while_it_starts_leads_nowhere() {
    let site = Site::new();
    site.configure(&site.plain().replace("500ms", "10ms"));
    a_name_that_flips_leads_nowhere(&site, Link::Symbolic);
}

#[test]
fn nothing_of_roots_is_given_away_by_a_link_that_flips() {
    if !is_root_or_skip() {
        return;
    }
    // Each as the owner of the directory could do it.
    for link in [Link::Symbolic, Link::Hard] {
        let site = Site::new();
        let nobody = nobody();
        chown(site.directory(), Some(nobody.uid), Some(nobody.gid)).unwrap();
        let plain = site.plain().replace("500ms", "10ms");
        site.configure(&format!("user = \"nobody\"\n{plain}"));
        a_name_that_flips_leads_nowhere(&site, link);
    }
}

#[test]
fn a_socket_that_is_swapped_while_it_is_made_gives_nothing_away() {
    if !is_root_or_skip() {
        return;
    }
    let site = Site::new();
    let nobody = nobody();
    chown(site.directory(), Some(nobody.uid), Some(nobody.gid)).unwrap();
    site.configure(&format!("user = \"nobody\"\n{}", site.plain()));
    for target in ["file", "socket"] {
        let precious = Precious::new();
        // As fast as can be: it takes the moment between bind(2) and chown(2).
        let sock = site.path("sock");
        let attacker = flips_with_pauses(&sock, &precious.path(target), Link::Hard, false);
        for _ in 0..40 {
            start_and_end(&site);
        }
        drop(attacker);
        precious.is_untouched(target);
        let _ = fs::remove_file(sock);
    }
}

#[test]
fn nothing_of_roots_is_given_away_where_everybody_may_write() {
    if !is_root_or_skip() {
        return;
    }
    for bits in [0o777, 0o1777] {
        let site = open_site(bits);
        let plain = site.plain().replace("500ms", "10ms");
        site.configure(&plain.replace("[control]", "[control]\ngroup = \"54321\""));
        a_name_that_flips_leads_nowhere(&site, Link::Hard);
    }
}

#[test]
fn a_running_daemon_is_not_led_astray_by_names_that_flip() {
    let root = nix::unistd::geteuid().is_root();
    let links = if root { vec![Link::Symbolic, Link::Hard] } else { vec![Link::Symbolic] };
    for link in links {
        let site = open_site(0o777);
        let configured = |bits: &str| {
            site.head().replace("500ms", "10ms")
                + &site.pipe_section("in", &format!("mode = \"{bits}\""))
        };
        site.configure(&configured("0620"));
        let precious = Precious::new();
        let daemon = site.start();
        for (name, target) in [
            ("in.pipe", "fifo"),
            ("in.pipe", "file"),
            ("in.pipe.lock", "file"),
            ("in.pipe.lock", "pid"),
            ("in.log", "file"),
            ("sock", "socket"),
            ("sock", "file"),
        ] {
            let attacker = flips(&site.path(name), &precious.path(target), link);
            for round in 0..10 {
                // Another mode is set on the pipe and on its lock.
                site.configure(&configured(["0620", "0622"][round % 2]));
                daemon.signal([Signal::SIGUSR1, Signal::SIGHUP][round / 2 % 2]);
                attacker.wait_rounds(50);
            }
            drop(attacker);
            precious.is_untouched(&format!("{name}, {target}, {link:?}"));
            for left in site.leftovers().iter().filter(|left| left.contains("displaced")) {
                fs::remove_file(site.path(left)).unwrap();
            }
        }
        // When they have tired of it all is as it was.
        wait_for("the pipe", || is_fifo(&site.pipe()).then_some(()));
        wait_for("the lock", || {
            (read_pid(&site.path("in.pipe.lock")) == Some(daemon.pid)).then_some(())
        });
        wait_for("the socket", || {
            let output = site.bdaemonctl(&["status"]).output().unwrap();
            output.status.success().then_some(())
        });
        site.write("all is well\n");
        wait_for("the record", || {
            site.texts("in.log").contains(&"all is well".to_owned()).then_some(())
        });
        precious.is_untouched("at the end");
    }
}

#[test]
fn what_has_a_second_name_is_refused_where_others_may_write() {
    if !is_root_or_skip() {
        return;
    }
    for (bits, owner) in [(0o777, 0), (0o1777, 0), (0o700, nobody().uid.as_raw())] {
        for (name, target) in TRAPS.into_iter().filter(|(name, _)| *name != "sock") {
            let site = open_site(bits);
            chown(site.directory(), Some(Uid::from_raw(owner)), None).unwrap();
            let precious = Precious::new();
            fs::hard_link(precious.path(target), site.path(name)).unwrap();
            let (code, stderr) = site.fail_to_start(&[]);
            assert_eq!(code, EX_CANTCREAT, "{stderr}");
            let what = if (name, target) == ("in.pipe", "file") {
                "a regular file"
            } else {
                "a second name"
            };
            assert!(stderr.contains(what), "{name}, {target}: {stderr}");
            precious.is_untouched(name);
            assert_eq!(site.leftovers(), if name == "in.log" { vec![] } else { vec![name] });
        }
    }
}

#[test]
fn what_another_user_has_planted_is_refused_or_set_aside() {
    if !is_root_or_skip() {
        return;
    }
    let another = |path: &Path| {
        chown(path, Some(Uid::from_raw(12345)), Some(Gid::from_raw(12345))).unwrap();
    };
    for bits in [0o777, 0o1777] {
        // A FIFO whose owner would read along, a lock that its owner could lock for ever.
        for name in ["in.pipe", "in.pipe.lock"] {
            let site = open_site(bits);
            if name == "in.pipe" {
                mkfifo(&site.path(name), Mode::from_bits_truncate(0o666)).unwrap();
            } else {
                fs::write(site.path(name), "").unwrap();
            }
            fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o666)).unwrap();
            another(&site.path(name));
            let (code, stderr) = site.fail_to_start(&[]);
            assert_eq!(code, EX_CANTCREAT);
            assert!(stderr.contains("belongs to user 12345"), "{stderr}");
            let metadata = fs::symlink_metadata(site.path(name)).unwrap();
            assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (12345, 0o666));
            assert_eq!(site.leftovers(), [name]);
        }
        // While it runs, only its own name is at stake.
        let site = open_site(bits);
        let daemon = site.start();
        let mut before = site.open_pipe("in.pipe");
        fs::remove_file(site.pipe()).unwrap();
        mkfifo(&site.pipe(), Mode::from_bits_truncate(0o666)).unwrap();
        another(&site.pipe());
        before.write_all(b"by the old one\n").unwrap();
        site.wait_own("was removed or replaced; made again");
        let displaced = site.path("in.pipe.displaced.1");
        let planted = fs::symlink_metadata(&displaced).unwrap();
        assert!(planted.file_type().is_fifo() && planted.uid() == 12345);
        assert_eq!(fs::symlink_metadata(site.pipe()).unwrap().uid(), 0);
        site.write("by the new one\n");
        let mut texts = site.wait_texts("in.log", 2);
        texts.sort();
        assert_eq!(texts, ["by the new one", "by the old one"]);
        fs::remove_file(displaced).unwrap();
        drop(before);
        daemon.stop();
    }
}

/// A site whose paths lead through its directory `run`.
fn site_with_run(keys: &str) -> Site {
    let site = Site::new();
    let directory = site.directory().display().to_string();
    let through = site.plain().replace(&format!("{directory}/"), &format!("{directory}/run/"));
    let through = through.replace("run/own.log", "own.log").replace("500ms", "10ms");
    site.configure(&format!("{keys}{through}"));
    site
}

#[test]
fn a_symlink_on_the_way_is_followed_only_where_root_or_the_daemon_has_put_it() {
    // Its own.
    let site = site_with_run("");
    let real = site.path("real");
    fs::create_dir(&real).unwrap();
    symlink("real", site.path("run")).unwrap();
    assert!(site.bdaemon(&[]).status().unwrap().success());
    let pid = read_pid(&real.join("pid")).expect("a pid file");
    let daemon = common::Daemon { site: &site, pid, child: None };
    site.open_pipe("run/in.pipe").write_all(b"through\n").unwrap();
    assert_eq!(site.wait_texts("real/in.log", 1), ["through"]);
    assert!(fs::symlink_metadata(real.join("sock")).unwrap().file_type().is_socket());
    assert!(site.ctl(&["status"]).contains("run/in.pipe"));
    drop(daemon);
    if !is_root_or_skip() {
        return;
    }
    // Another's.
    for bits in [0o755, 0o777, 0o1777] {
        let site = site_with_run("");
        let precious = Precious::new();
        symlink(precious.path("directory"), site.path("run")).unwrap();
        fs::set_permissions(site.directory(), fs::Permissions::from_mode(bits)).unwrap();
        if bits == 0o755 {
            chown(site.directory(), Some(nobody().uid), None).unwrap();
        }
        // Each of the paths by itself is refused.
        let directory = site.directory().display().to_string();
        for name in ["pid", "in.pipe", "in.log", "sock"] {
            let through = format!("{directory}/run/{name}\"");
            site.configure(&site.plain().replace(&format!("{directory}/{name}\""), &through));
            let (code, stderr) = site.fail_to_start(&[]);
            assert_eq!(code, EX_CANTCREAT, "{stderr}");
            assert!(stderr.contains("`run` on the way there is a symlink"), "{name}: {stderr}");
            precious.is_untouched(name);
        }
    }
}

#[test]
fn a_directory_that_flips_to_a_symlink_leads_nowhere() {
    if !is_root_or_skip() {
        return;
    }
    for keys in ["", "user = \"nobody\"\n"] {
        let site = site_with_run(keys);
        let nobody = nobody();
        chown(site.directory(), Some(nobody.uid), Some(nobody.gid)).unwrap();
        let precious = Precious::new();
        let target = precious.path("directory");
        let [run, real, link] = ["run", "real", "link"].map(|name| site.path(name));
        fs::create_dir(&real).unwrap();
        chown(&real, Some(nobody.uid), Some(nobody.gid)).unwrap();
        symlink(&target, &link).unwrap();
        let attacker = Attacker::new(move |round| {
            fs::rename(&real, &run).unwrap();
            if round % 2 == 0 {
                thread::sleep(Duration::from_micros(round % 400));
            }
            fs::rename(&run, &real).unwrap();
            fs::rename(&link, &run).unwrap();
            thread::yield_now();
            fs::rename(&run, &link).unwrap();
        });
        for _ in 0..40 {
            start_and_end(&site);
        }
        drop(attacker);
        precious.is_untouched(keys);
    }
}

#[test]
fn bdaemonctl_writes_into_nothing_but_a_pipe() {
    let site = Site::new();
    let precious = Precious::new();
    let daemon = site.start();
    daemon.stop();
    for link in [Link::Symbolic, Link::Hard] {
        for name in ["in.pipe", "in.pipe.lock"] {
            let attacker = flips(&site.path(name), &precious.path("file"), link);
            for _ in 0..10 {
                let output = run(&mut site.bdaemonctl(&["send", "--timeout", "1s", "harm"]), b"");
                assert!(!output.status.success());
            }
            drop(attacker);
            precious.is_untouched(name);
        }
    }
}
