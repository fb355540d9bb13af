//! What `make install`, the port and the package bring is the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use bdaemon::config::Config;
use common::{BDAEMON, BDAEMONCTL, described, has_program_or_skip, mode, text};
use tempfile::TempDir;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
const PORT_LIST: &str = include_str!("../port/pkg-plist");

/// The makes that this system has.
fn makes() -> Vec<&'static str> {
    ["make", "bmake"].into_iter().filter(|make| has_program_or_skip(make)).collect()
}

/// Runs `make install-files` of the programs under test into a stage.
fn stage(make: &str) -> TempDir {
    let stage = tempfile::tempdir().unwrap();
    install(make, stage.path());
    stage
}

fn install(make: &str, stage: &Path) {
    let built = Path::new(BDAEMON).parent().unwrap().display();
    let output = Command::new(make)
        .current_dir(PROJECT)
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .arg("install-files")
        .args([format!("BUILT={built}"), format!("DESTDIR={}", stage.display())])
        .args(["PREFIX=/usr/local", "FREEBSD="])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", described(&output));
}

/// The files and empty directories below `root`, as they are called on the target system.
fn tree(root: &Path) -> BTreeSet<PathBuf> {
    fn descend(root: &Path, directory: &Path, found: &mut BTreeSet<PathBuf>) {
        let entries: Vec<_> = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
        if entries.is_empty() {
            found.insert(on_target(root, directory));
        }
        for entry in entries {
            if entry.is_dir() {
                descend(root, &entry, found);
            } else {
                found.insert(on_target(root, &entry));
            }
        }
    }
    fn on_target(root: &Path, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(root).unwrap())
    }
    let mut found = BTreeSet::new();
    descend(root, root, &mut found);
    found
}

/// The files and directories of a list for pkg-create(8), with manual pages as they are before they
/// are compressed.
fn listed(list: &str) -> BTreeSet<PathBuf> {
    let lines = list.lines().filter(|line| !line.is_empty());
    let paths = lines.map(|line| {
        let path = line.split_whitespace().last().unwrap();
        let path = path.strip_suffix(".gz").unwrap_or(path);
        Path::new("/usr/local").join(path)
    });
    paths.collect()
}

#[test]
fn what_is_installed_is_what_the_port_lists() {
    for make in makes() {
        let stage = stage(make);
        assert_eq!(tree(stage.path()), listed(PORT_LIST), "{make}");
    }
}

/// pkg(8) takes modes from the stage, and only files that a list gives another owner are not root's.
#[test]
fn modes_are_those_of_programs_scripts_manuals_and_samples() {
    for make in makes() {
        let stage = stage(make);
        for path in tree(stage.path()) {
            let staged = stage.path().join(path.strip_prefix("/").unwrap());
            let name = path.to_str().unwrap();
            let expected = match name {
                "/var/run/bdaemon" => 0o755,
                _ if name.contains("/sbin/") || name.contains("/rc.d/") => 0o555,
                _ if name.ends_with(".sample") => 0o644,
                _ => 0o444,
            };
            assert_eq!(mode(&staged), expected, "{make}: {name}");
            let owner = fs::metadata(&staged).unwrap().uid();
            assert_eq!(owner, nix::unistd::geteuid().as_raw(), "{make}: {name}");
        }
    }
}

/// No file is written into that only root could write into: an ordinary user stages as well.
#[test]
fn what_is_installed_is_installed_again_over_itself() {
    let staged = stage(makes()[0]);
    let script = staged.path().join("usr/local/etc/rc.d/bdaemon");
    let first = fs::metadata(&script).unwrap().ino();
    let kept = fs::File::open(&script).unwrap();
    install(makes()[0], staged.path());
    assert_ne!(fs::metadata(&script).unwrap().ino(), first, "a new file");
    drop(kept);
}

/// The programs are there before the files are installed, with any number of jobs.
#[test]
fn a_parallel_make_installs_what_it_has_built() {
    for make in makes() {
        let (stage, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cargo = target.path().join("cargo");
        let script = "#!/bin/sh\nsleep 1\nmkdir \"$CARGO_TARGET_DIR/release\"\n\
                      cd \"$CARGO_TARGET_DIR/release\" && touch bdaemon bdaemonctl\n";
        fs::write(&cargo, script).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new(make)
            .current_dir(PROJECT)
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .args(["-j4", "install", "PREFIX=/usr/local", "FREEBSD="])
            .arg(format!("CARGO={}", cargo.display()))
            .arg(format!("TARGET={}", target.path().display()))
            .arg(format!("DESTDIR={}", stage.path().display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{make}: {}", described(&output));
        assert_eq!(tree(stage.path()), listed(PORT_LIST), "{make}");
    }
}

#[test]
fn the_rc_script_is_installed_for_its_prefix() {
    let stage = stage(makes()[0]);
    let script = fs::read_to_string(stage.path().join("usr/local/etc/rc.d/bdaemon")).unwrap();
    assert!(!script.contains("%%"), "{script}");
    assert!(script.contains("/usr/local/sbin/bdaemon"));
}

#[test]
fn the_kept_completions_are_those_that_bdaemonctl_prints() {
    for (shell, kept) in [
        ("bash", include_str!("../completions/bdaemonctl.bash")),
        ("fish", include_str!("../completions/bdaemonctl.fish")),
        ("zsh", include_str!("../completions/_bdaemonctl")),
    ] {
        let printed = Command::new(BDAEMONCTL).args(["completions", shell]).output().unwrap();
        assert!(text(&printed.stdout) == kept, "{shell}: run make completions");
    }
}

/// A stage, and the package's manifest, list and scripts, as they are given to pkg-create(8).
struct Described {
    stage: TempDir,
    directory: TempDir,
}

impl Described {
    fn new() -> Self {
        let (stage, directory) = (stage(makes()[0]), tempfile::tempdir().unwrap());
        let output = Command::new("sh")
            .arg(Path::new(PROJECT).join("scripts/package.sh"))
            .arg("describe")
            .args([stage.path(), Path::new("/usr/local"), directory.path()])
            .env("ABI", "FreeBSD:14:amd64")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", described(&output));
        Self { stage, directory }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    /// Runs a script as `pkg -r ROOT` does; gives what it printed.
    fn run(&self, script: &str, root: &Path, upgrade: bool) -> String {
        let mut command = Command::new("sh");
        command
            .arg(self.directory.path().join(script))
            .env("PW", Path::new(PROJECT).join("tests/freebsd/pw"))
            .env("PKG_PREFIX", "/usr/local")
            .env("PKG_ROOTDIR", root)
            .env_remove("PKG_UPGRADE");
        if upgrade {
            command.env("PKG_UPGRADE", "true");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", described(&output));
        assert_eq!(text(&output.stderr), "");
        text(&output.stdout)
    }
}

#[test]
fn the_package_lists_what_the_port_lists_and_what_is_staged() {
    let package = Described::new();
    let list = package.read("plist");
    assert_eq!(listed(&list), listed(PORT_LIST));
    assert!(!list.contains("@sample"), "which pkg(8) does not know without the ports");
    let compressed = |path: &PathBuf| {
        let is_manual = path.starts_with("/usr/local/share/man");
        PathBuf::from(path.display().to_string() + if is_manual { ".gz" } else { "" })
    };
    assert_eq!(
        tree(package.stage.path()),
        listed(&list).iter().map(compressed).collect::<BTreeSet<_>>()
    );
    let owned: Vec<_> = list.lines().filter(|line| line.starts_with('@')).collect();
    assert_eq!(owned, ["@dir(bdaemon,bdaemon,0755) /var/run/bdaemon"]);
}

#[test]
fn the_manifest_is_the_ports() {
    let manifest = Described::new().read("+MANIFEST");
    let port = fs::read_to_string(Path::new(PROJECT).join("port/Makefile")).unwrap();
    for (key, variable) in
        [("name", "PORTNAME"), ("maintainer", "MAINTAINER"), ("comment", "COMMENT")]
    {
        let value = port.lines().find_map(|line| line.strip_prefix(&format!("{variable}=\t")));
        let line = manifest.lines().find_map(|line| line.strip_prefix(&format!("{key}: ")));
        assert_eq!(line.map(|value| value.trim_matches('"')), value, "{key}");
    }
    assert!(manifest.contains(concat!("version: \"", env!("CARGO_PKG_VERSION"), "\"\n")));
    assert!(manifest.contains("origin: sysutils/bdaemon\n"));
    assert!(manifest.contains("abi: \"FreeBSD:*:amd64\"\n"), "good for what comes after 14");
    assert!(port.contains(concat!("DISTVERSION=\t", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn the_package_makes_its_user_and_group_once() {
    let package = Described::new();
    let root = tempfile::tempdir().unwrap();
    let etc = root.path().join("etc");
    fs::create_dir(&etc).unwrap();
    fs::write(etc.join("group"), "wheel:*:0:root\n").unwrap();
    fs::write(etc.join("passwd"), "root:*:0:0:Charlie &:/root:/bin/sh\n").unwrap();

    let first = package.run("+PRE_INSTALL", root.path(), false);
    assert_eq!(
        first,
        "Creating group 'bdaemon' with gid '397'.\nCreating user 'bdaemon' with uid '397'.\n"
    );
    let passwd = fs::read_to_string(etc.join("passwd")).unwrap();
    let group = fs::read_to_string(etc.join("group")).unwrap();
    assert_eq!(group, "wheel:*:0:root\nbdaemon:*:397:\n");
    assert_eq!(
        passwd,
        "root:*:0:0:Charlie &:/root:/bin/sh\n\
         bdaemon:*:397:397:bdaemon Daemon:/nonexistent:/usr/sbin/nologin\n"
    );

    assert_eq!(package.run("+PRE_INSTALL", root.path(), false), "", "they are there already");
    assert_eq!(fs::read_to_string(etc.join("passwd")).unwrap(), passwd);
    assert_eq!(fs::read_to_string(etc.join("group")).unwrap(), group);
    assert!(package.run("+POST_DEINSTALL", root.path(), false).contains("the user bdaemon"));
    assert_eq!(package.run("+POST_DEINSTALL", root.path(), true), "", "an upgrade goes on");
}

#[test]
fn a_configuration_that_was_edited_outlives_upgrade_and_removal() {
    let package = Described::new();
    let root = package.stage.path();
    let etc = root.join("usr/local/etc");
    let file = |name: &str| etc.join(name);
    let names = ["bdaemon.toml", "newsyslog.conf.d/bdaemon.conf", "syslog.d/bdaemon.conf"];

    package.run("+POST_INSTALL", root, false);
    for name in names {
        let sample = fs::read(file(name).with_extension(if name.ends_with("toml") {
            "toml.sample"
        } else {
            "conf.sample"
        }));
        assert_eq!(fs::read(file(name)).unwrap(), sample.unwrap(), "{name}: in use as shipped");
    }
    fs::write(file(names[0]), "# mine\n").unwrap();
    for upgrade in [true, false] {
        let said = package.run("+PRE_DEINSTALL", root, upgrade);
        assert_eq!(said.contains("bdaemon.toml"), !upgrade, "{said:?}");
        assert!(!file(names[1]).exists() && !file(names[2]).exists(), "never edited");
        package.run("+POST_INSTALL", root, upgrade);
        assert_eq!(fs::read_to_string(file(names[0])).unwrap(), "# mine\n");
        assert!(file(names[1]).exists() && file(names[2]).exists());
    }
}

#[test]
fn without_pkg_a_package_is_refused_in_one_line_that_says_how_to_get_it() {
    let output = Command::new("sh")
        .arg(Path::new(PROJECT).join("scripts/package.sh"))
        .arg("probe")
        .env("PKG", "/nonexistent/pkg")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69));
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("pkg bootstrap"), "{said}");
}

/// A port is taken by the framework's make as far as it goes without the ports tree.
#[test]
fn the_ports_makefile_says_what_a_port_has_to() {
    if !makes().contains(&"bmake") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("bsd.port.mk"), ".sinclude \"${.CURDIR}/Makefile.crates\"\n")
        .unwrap();
    fs::write(scratch.path().join("sys.mk"), "").unwrap();
    let value = |variable: &str| {
        let output = Command::new("bmake")
            .current_dir(Path::new(PROJECT).join("port"))
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .arg("-m")
            .arg(scratch.path())
            .args(["PORTSDIR=/usr/ports", "PREFIX=/usr/local", "WRKSRC=/wrksrc"])
            .arg("-V")
            .arg(format!("${{{variable}}}"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", described(&output));
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(value("PORTNAME"), "bdaemon");
    assert_eq!(value("CATEGORIES"), "sysutils");
    assert_eq!(value("USES"), "cargo");
    assert_eq!(value("LICENSE_FILE"), "/wrksrc/LICENSE");
    assert_eq!(value("CARGO_ENV"), "BDAEMON_CONFIG=/usr/local/etc/bdaemon.toml");
    assert!(value("UID_FILES").ends_with("port/UIDs /usr/ports/UIDs"));
    let locked = include_str!("../Cargo.lock").matches("\nchecksum = ").count();
    assert_eq!(value("CARGO_CRATES").split_whitespace().count(), locked);
}

/// The three samples are for one daemon: user, pid file, log files and tag are the same in all.
#[test]
fn the_samples_go_together() {
    let sample = include_str!("../conf/bdaemon.toml.sample");
    let config = Config::parse(Path::new("bdaemon.toml.sample"), sample).unwrap();
    let pid_file = config.pid_file.display().to_string();
    let user = config.user.unwrap();
    assert_eq!(config.log.tag, "bdaemon");

    let rotated: Vec<Vec<&str>> = include_str!("../conf/newsyslog.conf.sample")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_whitespace().collect())
        .collect();
    let [own, syslogs] = rotated.as_slice() else { panic!("{rotated:?}") };
    let owner = format!("{user}:{user}");
    assert_eq!(own[..3], ["/var/log/bdaemon.log", &owner, "640"], "the default of [log] path");
    assert_eq!(own[6..], ["J", &pid_file, "SIGUSR1"], "which reopens");
    assert_eq!(syslogs[1..3], ["root:wheel", "640"]);
    assert_eq!(syslogs[6..], ["JC"], "syslogd is told, and its file is made");

    let routed: Vec<_> = include_str!("../conf/syslog.conf.sample")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect();
    assert_eq!(routed, ["!bdaemon", "*.*", syslogs[0], "!*"]);
    assert!(include_str!("../port/UIDs").starts_with(&format!("{user}:*:")));
    assert!(include_str!("../port/GIDs").starts_with(&format!("{user}:*:")));
}
