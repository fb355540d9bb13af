//! `service bdaemon VERB`: rc.d/bdaemon.in, with the real daemon and a stand-in for rc.subr, which
//! says of itself what it follows. Elsewhere than on FreeBSD, under shells that are an ash as its sh.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use common::{
    BDAEMON, BDAEMONCTL, Daemon, Site, described, has_program_or_skip, mode, read_pid, text,
    wait_for,
};
use nix::sys::signal::{Signal, kill};

const SCRIPT: &str = include_str!("../rc.d/bdaemon.in");
const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/freebsd/rc.subr");

const SHELLS: [&[&str]; 2] = [&["dash"], &["busybox", "sh"]];

/// The shells that this system has, of those that the script has to run under.
fn shells() -> Vec<&'static [&'static str]> {
    if cfg!(target_os = "freebsd") {
        return vec![&["sh"]];
    }
    SHELLS.into_iter().filter(|shell| has_program_or_skip(shell[0])).collect()
}

/// What rcorder(8) reads: after what it needs, before what may write to a pipe (DAEMON, and with it
/// LOGIN, cron and jails), stopped at a shutdown, and not kept out of jails.
#[test]
fn the_service_has_its_place_in_the_order_of_a_boot() {
    let words = |keyword: &str| {
        let line = SCRIPT.lines().find_map(|line| line.strip_prefix(&format!("# {keyword}: ")));
        let mut words: Vec<_> = line.expect(keyword).split(' ').collect();
        words.sort_unstable();
        words
    };
    assert_eq!(words("PROVIDE"), ["bdaemon"]);
    assert_eq!(words("REQUIRE"), ["FILESYSTEMS", "NETWORKING", "cleanvar", "syslogd"]);
    assert_eq!(words("BEFORE"), ["DAEMON"]);
    assert_eq!(words("KEYWORD"), ["shutdown"]);
}

/// The script as it is installed, in a scratch directory with a /var/run of its own.
struct Service {
    site: Site,
    shell: &'static [&'static str],
}

/// What a run of the script came to.
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Service {
    fn new(shell: &'static [&'static str]) -> Self {
        let service = Self { site: Site::new(), shell };
        let prefix = service.site.path("local");
        fs::create_dir_all(prefix.join("sbin")).unwrap();
        fs::create_dir_all(prefix.join("etc/rc.d")).unwrap();
        fs::create_dir_all(service.site.path("run")).unwrap();
        symlink(BDAEMON, prefix.join("sbin/bdaemon")).unwrap();
        symlink(BDAEMONCTL, prefix.join("sbin/bdaemonctl")).unwrap();
        let script = SCRIPT
            .replace("%%PREFIX%%", prefix.to_str().unwrap())
            .replace("/etc/rc.subr", STAND_IN)
            .replace("/var/run", service.site.path("run").to_str().unwrap());
        fs::write(prefix.join("etc/rc.d/bdaemon"), script).unwrap();
        service.rc_conf("bdaemon_enable=YES\n");
        service.configure("bdaemon/bdaemon.pid");
        service
    }

    fn rc_conf(&self, text: &str) {
        fs::write(self.site.path("rc.conf"), text).unwrap();
    }

    fn configure(&self, pid_file: &str) {
        let run = |name| self.site.path("run").join(name).display().to_string();
        let log = self.site.path("in.log").display().to_string();
        fs::write(
            self.site.path("local/etc/bdaemon.toml"),
            format!(
                "poll_interval = \"500ms\"\npid_file = \"{}\"\n[log]\ntarget = \"file\"\n\
                 path = \"{log}\"\n[[pipe]]\npath = \"{}\"\n[control]\nsocket = \"{}\"\n",
                run(pid_file),
                run("bdaemon/in.pipe"),
                run("bdaemon/bdaemon.sock"),
            ),
        )
        .unwrap();
    }

    /// Makes the configuration one that bdaemon refuses.
    fn spoil(&self) {
        let path = self.site.path("local/etc/bdaemon.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("poll_interval", "pole_interval")).unwrap();
    }

    fn run(&self, verb: &str) -> Outcome {
        let output: Output = Command::new(self.shell[0])
            .args(&self.shell[1..])
            .arg(self.site.path("local/etc/rc.d/bdaemon"))
            .arg(verb)
            .env("RC_CONF", self.site.path("rc.conf"))
            .output()
            .unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("{}", described(&output)));
        Outcome { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Runs a verb that has to work without complaint; gives what it printed.
    fn does(&self, verb: &str) -> String {
        let outcome = self.run(verb);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{:?} {verb}", self.shell);
        outcome.stdout
    }

    /// Runs a verb that has to fail with code 1; gives what it complained of.
    fn refuses(&self, verb: &str) -> String {
        let outcome = self.run(verb);
        assert_eq!(outcome.code, 1, "{:?} {verb}: {}", self.shell, outcome.stderr);
        outcome.stderr
    }

    /// `service bdaemon start`; the daemon is killed when the test ends.
    fn start(&self, pid_file: &str) -> Daemon<'_> {
        assert_eq!(self.does("start"), "Starting bdaemon.\n");
        self.daemon(pid_file)
    }

    /// Moves the pid file, and starts.
    fn start_as(&self, pid_file: &str) -> Daemon<'_> {
        self.configure(pid_file);
        self.start(pid_file)
    }

    fn daemon(&self, pid_file: &str) -> Daemon<'_> {
        let pid = read_pid(&self.site.path("run").join(pid_file)).expect("a pid file");
        Daemon { site: &self.site, pid, child: None }
    }

    fn write(&self, line: &str) {
        fs::write(self.site.path("run/bdaemon/in.pipe"), line).unwrap();
    }

    fn wait_log(&self, part: &str) {
        wait_for(format!("{part:?} in the log"), || {
            self.site.read("in.log").contains(part).then_some(())
        });
    }
}

/// A test that fails between a start and [`Service::daemon`] leaves none running either.
impl Drop for Service {
    fn drop(&mut self) {
        let program = self.site.path("local/sbin/bdaemon");
        let _ = Command::new("pkill").args(["-KILL", "-f"]).arg(program).status();
    }
}

const PID_FILE: &str = "bdaemon/bdaemon.pid";

#[test]
fn a_service_starts_once_says_so_and_stops() {
    for shell in shells() {
        let service = Service::new(shell);
        assert_eq!(service.run("status").stdout, "bdaemon is not running.\n");
        assert_eq!(service.run("status").code, 1);

        let mut daemon = service.start(PID_FILE);
        assert_eq!(mode(&service.site.path("run/bdaemon")), 0o755, "writers come through");
        assert_eq!(service.does("status"), format!("bdaemon is running as pid {}.\n", daemon.pid));
        let again = service.refuses("start");
        assert!(again.contains("already running") && again.contains(&daemon.pid.to_string()));
        service.write("first\n");

        assert_eq!(service.does("stop"), "Stopping bdaemon.\n");
        daemon.wait();
        assert!(service.site.read("in.log").contains("info: first\n"), "what was written is there");
        assert_eq!(fs::read_dir(service.site.path("run/bdaemon")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(service.site.path("run")).unwrap().count(), 1, "but the directory");
        let dead = service.refuses("stop");
        assert!(dead.contains("bdaemon not running?"), "{dead}");
    }
}

#[test]
fn a_service_that_is_not_enabled_does_not_start_but_by_force() {
    for shell in shells() {
        let service = Service::new(shell);
        service.rc_conf("");
        let outcome = service.run("start");
        assert_eq!(outcome.code, 0);
        assert!(outcome.stdout.contains("Set bdaemon_enable to YES"), "{}", outcome.stdout);
        assert_eq!(service.does("quietstart"), "", "as at boot");
        assert!(!service.site.path("run/bdaemon").exists());
        assert_eq!(service.does("onestart"), "Starting bdaemon.\n");
        let _daemon = service.daemon(PID_FILE);
        service.does("onestop");
    }
}

/// A boot starts services with `faststart` or `quietstart`.
#[test]
fn a_boot_prints_nothing() {
    for shell in shells() {
        let service = Service::new(shell);
        assert_eq!(service.does("quietstart"), "");
        let _daemon = service.daemon(PID_FILE);
        service.does("stop");
    }
}

#[test]
fn a_restart_is_another_process_that_reads_the_same_pipe() {
    for shell in shells() {
        let service = Service::new(shell);
        let first = service.start(PID_FILE);
        service.write("before\n");
        assert_eq!(service.does("restart"), "Stopping bdaemon.\nStarting bdaemon.\n");
        let second = service.daemon(PID_FILE);
        assert_ne!(first.pid, second.pid);
        assert!(!first.is_running());
        service.write("after\n");
        service.wait_log("info: before\n");
        service.wait_log("info: after\n");
        service.does("stop");
    }
}

#[test]
fn a_reload_applies_the_file_and_reports_the_outcome() {
    for shell in shells() {
        let service = Service::new(shell);
        let daemon = service.start(PID_FILE);
        let config = service.site.path("local/etc/bdaemon.toml");
        let good = fs::read_to_string(&config).unwrap();
        fs::write(&config, good.replace("[[pipe]]\n", "[[pipe]]\npriority = \"crit\"\n")).unwrap();
        assert_eq!(service.does("reload"), "");
        service.write("grave\n");
        service.wait_log("crit: grave\n");

        // Good as a file, and not to be applied: only the daemon can tell.
        let gone = service.site.path("no-such-directory/x.log").display().to_string();
        let unfit = good + "[pipe.log]\ntarget = \"file\"\npath = \"" + &gone + "\"\n";
        fs::write(&config, unfit).unwrap();
        let complaint = service.refuses("reload");
        assert!(complaint.contains("no-such-directory"), "{complaint}");
        service.write("still\n");
        service.wait_log("crit: still\n");
        assert!(daemon.is_running());
        service.does("stop");
    }
}

#[test]
fn a_reload_without_a_control_socket_goes_by_signal() {
    for shell in shells() {
        let service = Service::new(shell);
        let config = service.site.path("local/etc/bdaemon.toml");
        let mut text = fs::read_to_string(&config).unwrap();
        text = text.replace("[control]\n", "[control]\nenable = false\n");
        fs::write(&config, &text).unwrap();
        let _daemon = service.start(PID_FILE);
        fs::write(&config, text.replace("[[pipe]]\n", "[[pipe]]\npriority = \"crit\"\n")).unwrap();
        assert!(service.does("reload").contains("its log"));
        wait_for("the new severity", || {
            service.write("grave\n");
            service.site.read("in.log").contains("crit: grave\n").then_some(())
        });
        service.spoil();
        assert!(service.refuses("reload").contains("poll_interval"), "no signal tells that");
        service.does("stop");
    }
}

#[test]
fn a_bad_file_is_refused_and_stops_nothing_and_does_not_hinder_a_stop() {
    for shell in shells() {
        let service = Service::new(shell);
        let daemon = service.start(PID_FILE);
        service.spoil();
        for verb in ["configtest", "reload", "restart"] {
            let complaint = service.refuses(verb);
            assert!(complaint.contains("poll_interval"), "{verb}: {complaint}");
            assert!(complaint.contains("bdaemon.toml:1:1"), "{verb}: {complaint}");
            assert!(daemon.is_running(), "{verb}");
        }
        assert_eq!(service.does("status"), format!("bdaemon is running as pid {}.\n", daemon.pid));
        assert_eq!(service.does("stop"), "Stopping bdaemon.\n");
        assert!(!daemon.is_running());
        let complaint = service.refuses("start");
        assert!(complaint.contains("poll_interval"), "{complaint}");
    }
}

#[test]
fn a_missing_file_is_named() {
    for shell in shells() {
        let service = Service::new(shell);
        fs::remove_file(service.site.path("local/etc/bdaemon.toml")).unwrap();
        let complaint = service.refuses("start");
        assert!(complaint.contains("bdaemon.toml is not readable"), "{complaint}");
        // Another one may be named in rc.conf(5).
        let other = service.site.config();
        service.rc_conf(&format!("bdaemon_enable=YES\nbdaemon_config='{}'\n", other.display()));
        service.does("start");
        let pid = read_pid(&service.site.pid_file()).unwrap();
        let _daemon = Daemon { site: &service.site, pid, child: None };
        service.does("stop");
    }
}

#[test]
fn configtest_says_that_a_file_is_good() {
    for shell in shells() {
        let service = Service::new(shell);
        let config = service.site.path("local/etc/bdaemon.toml").display().to_string();
        assert_eq!(service.does("configtest"), format!("{config}: good\n"));
    }
}

#[test]
fn reopen_takes_up_a_rotated_log() {
    for shell in shells() {
        let service = Service::new(shell);
        let _daemon = service.start(PID_FILE);
        service.write("old\n");
        service.wait_log("info: old\n");
        fs::rename(service.site.path("in.log"), service.site.path("in.log.0")).unwrap();
        assert_eq!(service.does("reopen"), "");
        wait_for("the new file", || service.site.path("in.log").exists().then_some(()));
        service.write("new\n");
        service.wait_log("info: new\n");
        service.does("stop");
        for verb in ["reopen", "reload"] {
            let dead = service.refuses(verb);
            assert!(dead.contains("not running?"), "{verb}: {dead}");
        }
    }
}

#[test]
fn a_stale_pid_file_is_in_nobodys_way() {
    for shell in shells() {
        let service = Service::new(shell);
        let mut killed = service.start(PID_FILE);
        kill(common::pid_of(killed.pid), Signal::SIGKILL).unwrap();
        killed.wait();
        assert!(service.site.path("run").join(PID_FILE).exists());
        assert_eq!(service.run("status").stdout, "bdaemon is not running.\n");
        assert!(service.refuses("stop").contains("not running?"));
        // One with the pid of a process that is not bdaemon is as good as none.
        let _daemon = service.start(PID_FILE);
        service.does("stop");
        fs::write(service.site.path("run").join(PID_FILE), "1\n").unwrap();
        assert_eq!(service.run("status").stdout, "bdaemon is not running.\n");
        let _daemon = service.start(PID_FILE);
        service.does("stop");
    }
}

#[test]
fn a_moved_pid_file_is_found_where_the_daemon_has_it() {
    for shell in shells() {
        let service = Service::new(shell);
        let first = service.start_as("bdaemon/other.pid");
        assert_eq!(service.does("status"), format!("bdaemon is running as pid {}.\n", first.pid));

        // Moved while it runs: the daemon keeps the one that it has, and is found.
        service.configure("bdaemon/third.pid");
        assert_eq!(service.does("status"), format!("bdaemon is running as pid {}.\n", first.pid));
        service.does("restart");
        let second = service.daemon("bdaemon/third.pid");
        assert!(!first.is_running());
        assert_eq!(service.does("status"), format!("bdaemon is running as pid {}.\n", second.pid));
        service.does("stop");
        assert!(!second.is_running());

        // And on the command line.
        let path = service.site.path("run/bdaemon/fourth.pid");
        service.rc_conf(&format!("bdaemon_enable=YES\nbdaemon_flags='-p {}'\n", path.display()));
        let fourth = service.start("bdaemon/fourth.pid");
        assert_eq!(service.does("status"), format!("bdaemon is running as pid {}.\n", fourth.pid));
        service.does("stop");
        assert!(!fourth.is_running());

        service.rc_conf("bdaemon_enable=YES\n");
        let fifth = service.start_as("bdaemon/with space.pid");
        service.does("stop");
        assert!(!fifth.is_running());
        service.configure("bdaemon/back\\\\slash.pid");
        let complaint = service.refuses("start");
        assert!(complaint.contains("pid_file") && complaint.contains("plainer"), "{complaint}");
        assert!(!service.site.path("run/bdaemon/in.pipe").exists(), "nothing was started");
    }
}

/// It lies in a directory of the daemon's user, and rc.subr(8) evaluates, as root, what it finds in a
/// pid file.
#[test]
fn what_stands_in_the_daemons_pid_file_is_never_run() {
    for shell in shells() {
        let service = Service::new(shell);
        let daemon = service.start(PID_FILE);
        let pid_file = service.site.path("run").join(PID_FILE);
        let (trace, pid) = (service.site.path("run/trace"), daemon.pid);
        let command = format!("$(touch${{IFS}}{})", trace.display());
        fs::write(&pid_file, format!("{pid}{command}\n")).unwrap();
        assert_eq!(service.does("status"), format!("bdaemon is running as pid {pid}.\n"));
        fs::write(&pid_file, format!("{}\n", std::process::id())).unwrap();
        assert_eq!(service.does("status"), format!("bdaemon is running as pid {pid}.\n"));
        service.does("stop");
        assert!(!daemon.is_running());

        // There already when the service looks for the pid of what it has started.
        let program = service.site.path("local/sbin/quick");
        fs::write(
            &program,
            format!(
                "#!/bin/sh\n{BDAEMON} \"$@\" || exit\n\
                 case \" $* \" in *' -t '*) exit ;; esac\n\
                 mv {pid_file} {pid_file}.real\nprintf '%s\\n' '1{command}' >{pid_file}\n",
                pid_file = pid_file.display()
            ),
        )
        .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let conf = format!("bdaemon_enable=YES\nbdaemon_program={}\n", program.display());
        service.rc_conf(&conf);
        let complaint = service.refuses("start");
        assert!(complaint.contains("no pid in"), "{complaint}");
        let _daemon = service.daemon("bdaemon/bdaemon.pid.real");
        service.run("status");
        assert!(!trace.exists(), "{shell:?}");
    }
}

/// `user` has to make pipe, socket and pid file again, and so the directory is that user's.
#[test]
fn the_runtime_directory_belongs_to_the_configured_user() {
    if !common::is_root_or_skip() {
        return;
    }
    for shell in shells() {
        let service = Service::new(shell);
        fs::set_permissions(service.site.directory(), fs::Permissions::from_mode(0o755)).unwrap();
        let config = service.site.path("local/etc/bdaemon.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, String::from("user = \"nobody\"\ngroup = \"daemon\"\n") + &text)
            .unwrap();
        let _daemon = service.start(PID_FILE);
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
        let directory = service.site.path("run/bdaemon");
        let owner_of = |path: &Path| fs::metadata(path).unwrap().uid();
        assert_eq!(owner_of(&directory), nobody.uid.as_raw());
        let group = nix::unistd::Group::from_name("daemon").unwrap().unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().gid(), group.gid.as_raw());

        // Another user from the next start on; the daemon that runs has its files to remove.
        fs::write(&config, String::from("user = \"daemon\"\n") + &text).unwrap();
        assert_eq!(service.run("configtest").code, 0);
        assert_eq!(owner_of(&directory), nobody.uid.as_raw(), "a check changes nothing");
        service.does("stop");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        let daemon = nix::unistd::User::from_name("daemon").unwrap().unwrap();
        service.run("configtest");
        assert_eq!(owner_of(&directory), daemon.uid.as_raw());
        service.rc_conf("bdaemon_enable=YES\nbdaemon_user=nobody\n");
        service.run("configtest");
        assert_eq!(owner_of(&directory), nobody.uid.as_raw(), "whom rc.subr runs it as");
        assert_eq!(fs::metadata(&directory).unwrap().gid(), nobody.gid.as_raw());
    }
}

#[test]
fn a_daemon_that_was_started_by_hand_is_the_services_too() {
    for shell in shells() {
        let service = Service::new(shell);
        let killed = service.start(PID_FILE);
        kill(common::pid_of(killed.pid), Signal::SIGKILL).unwrap();
        wait_for("its end", || (!killed.is_running()).then_some(()));

        let by_hand = Command::new(service.site.path("local/sbin/bdaemon"))
            .arg("-c")
            .arg(service.site.path("local/etc/bdaemon.toml"))
            .status();
        assert!(by_hand.unwrap().success());
        let daemon = service.daemon(PID_FILE);
        assert_eq!(service.does("status"), format!("bdaemon is running as pid {}.\n", daemon.pid));
        assert!(service.refuses("start").contains("already running"));
        service.does("stop");
        assert!(!daemon.is_running());
    }
}
