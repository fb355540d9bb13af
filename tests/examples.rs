//! The examples of the manual pages and of README, taken out of them and run.
//!
//! Only where things are is changed: paths below `/var/run` and `/tmp` are in a scratch directory,
//! and a program named without `-c` reads the configuration there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use common::{
    BDAEMON, BDAEMONCTL, Daemon, Site, described, has_program_or_skip, read_pid, text, wait_for,
};

/// The literal blocks among the examples of a manual page.
fn examples(page: &str) -> Vec<String> {
    let (_, section) = page.split_once("\n.Sh EXAMPLES\n").expect("examples");
    let section = section.split("\n.Sh ").next().unwrap();
    let blocks = section.split(".Bd -literal -offset indent\n").skip(1);
    blocks.map(|block| block.split_once("\n.Ed").unwrap().0.to_owned()).collect()
}

/// What is typed in an example: the lines behind a prompt, and those of a document that follows.
fn typed(example: &str) -> String {
    let prompted = |line: &str| {
        line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")).unwrap_or(line).to_owned()
    };
    example.lines().map(prompted).collect::<Vec<_>>().join("\n")
}

/// A scratch directory in which examples are typed.
struct Place {
    site: Site,
}

impl Place {
    /// With pipes `in` and `build`, and one whose target is away.
    fn new() -> Self {
        let place = Self { site: Site::new() };
        let away = place.site.path("away.pipe").display().to_string();
        place.site.configure(
            &(place.site.plain()
                + &place.site.pipe_section("build", "")
                + &format!(
                    "[[pipe]]\nname = \"away\"\npath = \"{away}\"\n[pipe.log]\n\
                     target = \"syslog\"\naddress = \"tcp:127.0.0.1:1\"\n"
                )),
        );
        fs::create_dir(place.site.path("bin")).unwrap();
        for (name, real) in [("bdaemon", BDAEMON), ("bdaemonctl", BDAEMONCTL)] {
            let config = place.site.config().display().to_string();
            // `check FILE` names its file without the flag.
            place.program(
                name,
                &format!(
                    "case \" $* \" in *' -c '* | *' check '*) exec {real} \"$@\" ;; esac\n\
                     exec {real} -c {config} \"$@\""
                ),
            );
        }
        place
    }

    /// A program that the example uses and that is not ours.
    fn program(&self, name: &str, script: &str) {
        let path = self.site.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What is typed, with the paths of this place.
    fn here(&self, script: &str) -> String {
        script
            .replace("/var/run/bd_in.pipe", "@/in.pipe")
            .replace("/var/run/bdaemon.pid", "@/pid")
            .replace("/var/tmp/", "@/")
            .replace("/tmp/", "@/")
            .replace("@/", &format!("{}/", self.site.directory().display()))
    }

    fn shell(&self, script: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-e", "-c", &self.here(script)])
            .current_dir(self.site.directory())
            .env("PATH", format!("{}:{path}", self.site.path("bin").display()))
            .stdin(Stdio::null());
        command
    }

    /// Types something that has to work; gives its standard output.
    fn types(&self, script: &str) -> String {
        let output = self.shell(script).output().unwrap();
        assert!(output.status.success(), "{script}\n{}", described(&output));
        assert_eq!(text(&output.stderr), "", "{script}");
        text(&output.stdout)
    }

    /// The daemon that an example has started.
    fn daemon(&self) -> Daemon<'_> {
        let pid = read_pid(&self.site.pid_file()).expect("a pid file");
        Daemon { site: &self.site, pid, child: None }
    }

    fn wait_line(&self, log: &str, part: &str) {
        wait_for(format!("{part:?} in {log}"), || self.site.read(log).contains(part).then_some(()));
    }
}

/// Something that goes on until it is stopped.
struct Endless(Child);

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_examples_of_bdaemon_work() {
    let examples = examples(include_str!("../man/bdaemon.8"));
    let [start, reload, rotation, watch] = examples.as_slice() else {
        panic!("another number of examples: {examples:?}");
    };
    let place = Place::new();

    place.types(&typed(start));
    let daemon = place.daemon();
    place.wait_line("in.log", "in.err: backup failed");

    let config = fs::read_to_string(place.site.config()).unwrap();
    place.site.configure(&config.replacen("[[pipe]]", "[[pipe]]\npriority = \"crit\"", 1));
    assert!(place.types(&typed(reload)).contains("priority = \"crit\""), "-t prints it");
    wait_for("the new severity", || {
        place.site.write("grave\n");
        place.site.read("in.log").contains("in.crit: grave").then_some(())
    });
    drop(daemon);

    // Nine fields, as newsyslog.conf(5) has them.
    let fields: Vec<_> = rotation.split_whitespace().collect();
    let ["/var/log/app.log", "bdaemon:bdaemon", "640", count, size, "*", "JC", pid_file, signal] =
        fields.as_slice()
    else {
        panic!("{rotation}");
    };
    assert!(count.parse::<u32>().is_ok() && size.parse::<u32>().is_ok());
    assert_eq!(*pid_file, "/var/run/bdaemon/bdaemon.pid");
    assert_eq!(*signal, "30", "SIGUSR1 on FreeBSD");

    let (document, command) = watch.split_once("\n$ bdaemon").unwrap();
    place.types(&typed(document));
    let mut foreground = place.shell(&format!("exec bdaemon{command}"));
    let said = fs::File::create(place.site.path("said")).unwrap();
    let _foreground = Endless(foreground.stderr(said).spawn().unwrap());
    wait_for("its pipe", || place.site.path("try.pipe").exists().then_some(()));
    fs::write(place.site.path("try.pipe"), "seen\n").unwrap();
    wait_for("the record", || place.site.read("said").contains("info: seen\n").then_some(()));
}

#[test]
fn the_examples_of_bdaemonctl_work() {
    let examples = examples(include_str!("../man/bdaemonctl.8"));
    let [send, cron, certain, see, exporter, count] = examples.as_slice() else {
        panic!("another number of examples: {examples:?}");
    };
    let place = Place::new();
    let _daemon = place.site.start();

    place.program("make", "echo \"--- all ---\"; echo \"cc -O2 $1.c\" >&2");
    place.types(&typed(send));
    place.wait_line("in.log", "in.warning: disk is nearly full\n");
    place.wait_line("build.log", "build.info: --- all ---\n");
    place.wait_line("build.log", "build.info: cc -O2 world.c\n");

    place.program("backup", "echo 17 files");
    let command = cron.strip_prefix("0 3 * * * ").expect("a line of crontab(5)");
    place.types(command);
    place.wait_line("in.log", "in.notice: 17 files\n");

    place.types(&typed(certain));
    assert!(place.site.read("in.log").contains("in.info: key 17 revoked\n"), "at once");

    let (tail, stalled) = see.split_once('\n').unwrap();
    let mut follower = place.shell(&format!("exec {}", typed(tail)));
    let follower = follower.stdout(fs::File::create(place.site.path("tail")).unwrap());
    let follower = Endless(follower.spawn().unwrap());
    wait_for("the last record of build", || {
        place.site.read("tail").contains("cc -O2 world.c").then_some(())
    });
    fs::write(place.site.path("build.pipe"), "live\n").unwrap();
    wait_for("what comes", || place.site.read("tail").contains("live\n").then_some(()));
    drop(follower);
    if has_program_or_skip("jq") {
        fs::write(place.site.path("away.pipe"), "held\n").unwrap();
        wait_for("the target that is away", || {
            place.types(&typed(stalled)).contains("tcp:127.0.0.1:1").then_some(())
        });
        assert!(!place.types(&typed(stalled)).contains("build.log"), "which is well");
    }

    fs::create_dir(place.site.path("node_exporter")).unwrap();
    let script = exporter.strip_prefix("#!/bin/sh\n").expect("a script");
    place.types(script);
    assert!(place.site.read("node_exporter/bdaemon.prom").contains("# TYPE bdaemon_"));
    assert!(!place.site.path("node_exporter/bdaemon.tmp").exists());

    assert_eq!(place.types(&typed(count)), "0\n1\n2\n3\n");
    place.wait_line("in.log", "in.info: 3\n");
}

/// Their syntax is a matter of tests/manual.rs; here a daemon runs by the first of them.
#[test]
fn the_examples_of_the_configuration_work() {
    let examples = examples(include_str!("../man/bdaemon.toml.5"));
    let place = Place::new();
    let directory = place.site.directory().display().to_string();
    let source = examples[0]
        .replace("/var/run/bdaemon/bdaemon.pid", &place.site.pid_file().display().to_string())
        .replace("/var/run/bdaemon", &directory)
        .replace("/var/log", &directory)
        .replace("user = \"bdaemon\"\n", "");
    let own = format!("[log]\ntarget = \"file\"\npath = \"{directory}/own.log\"\n");
    place.site.configure(&source.replacen("[[pipe]]", &(own + "[[pipe]]"), 1));
    let _daemon = place.site.start();
    fs::write(place.site.path("app.pipe"), "<4>disk\n").unwrap();
    place.wait_line("app.log", "\"severity\":\"warning\"");
    fs::write(place.site.path("jobs.pipe"), "done\n").unwrap();
    place.wait_line("own.log", "jobs.notice: done\n");
}

/// From the configuration to the stop, as one would type it; `make` and `make install` apart.
#[test]
fn the_first_session_of_the_readme_works() {
    let readme = include_str!("../README.md");
    let (_, session) = readme.split_once("\n## A first session\n").unwrap();
    let (session, _) = session.split_once("\n## ").unwrap();
    let lines: Vec<_> = session.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let ["make", "make install", session @ .., line] = lines.as_slice() else {
        panic!("another session: {lines:?}");
    };
    assert!(line.contains("bdaemon[812] backup.warning: tape 7 is nearly full"));

    let place = Place::new();
    let printed = place.types(&session.join("\n"));
    assert!(printed.contains("backup.info: nightly run began"), "tail shows it: {printed}");
    let first = place.site.read("try/bdaemon.log.0");
    for part in [
        "backup.info: nightly run began",
        "backup.warning: tape 7 is nearly full",
        "backup.notice: Filesystem",
        "backup.info: key 17 revoked",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert!(place.site.path("try/bdaemon.log").exists(), "opened anew");
    assert!(!place.site.path("try/bdaemon.pid").exists(), "stopped");
}
