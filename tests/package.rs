//! What `make install`, the port and the package bring is the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{BDAEMON, BDAEMONCTL, described, mode, text};

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
const PORT_LIST: &str = include_str!("../port/pkg-plist");

/// The makes that this system has; under `BDAEMON_TEST_TOOLS=required`, both.
fn makes() -> Vec<&'static str> {
    let required = std::env::var("BDAEMON_TEST_TOOLS").is_ok_and(|value| value == "required");
    let there = |make: &&str| {
        let runs = Command::new(make).arg("-n").arg("demo").current_dir(PROJECT).output();
        assert!(runs.is_ok() || !required, "{make} is required, and is not there");
        if runs.is_err() {
            eprintln!("left out: {make} is not there");
        }
        runs.is_ok()
    };
    ["make", "bmake"].into_iter().filter(there).collect()
}

/// Runs `make install-files` of the programs under test into a stage.
fn stage(make: &str) -> tempfile::TempDir {
    let stage = tempfile::tempdir().unwrap();
    let built = Path::new(BDAEMON).parent().unwrap().display();
    let output = Command::new(make)
        .current_dir(PROJECT)
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .arg("install-files")
        .args([format!("BUILT={built}"), format!("DESTDIR={}", stage.path().display())])
        .args(["PREFIX=/usr/local", "FREEBSD="])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", described(&output));
    stage
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
