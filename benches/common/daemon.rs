//! bdaemon as it is measured.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use super::site::Site;

/// The program, or another build of it that was asked for.
pub(crate) fn program() -> OsString {
    let other = std::env::var_os("BENCH_BDAEMON");
    other.unwrap_or_else(|| env!("CARGO_BIN_EXE_bdaemon").into())
}

/// A pipe `NAME.pipe`, with more keys for it and for its target.
pub(crate) fn pipe(site: &Site, name: &str, keys: &str, target: &str) -> String {
    let path = site.path(&format!("{name}.pipe"));
    format!(
        "[[pipe]]\nname = \"{name}\"\npath = \"{}\"\n{keys}[pipe.log]\n{target}",
        path.display()
    )
}

/// A log file `NAME` in the output.
pub(crate) fn file(site: &Site, name: &str) -> String {
    format!("target = \"file\"\npath = \"{}\"\n", site.output().join(name).display())
}

pub(crate) fn to_file(site: &Site, format: &str) -> String {
    let target = file(site, "current") + &format!("format = \"{format}\"\n");
    pipe(site, "in", "", &target)
}

pub(crate) fn to_syslog(site: &Site) -> String {
    let target = format!("target = \"syslog\"\naddress = \"unix:{}\"\n", site.socket().display());
    pipe(site, "in", "", &target)
}

/// `bdaemon -f` with these pipes; everything else is as it is by default.
pub(crate) fn command(site: &Site, pipes: &str) -> Command {
    command_with(site, "", pipes)
}

/// The same with more keys that stand before all sections.
pub(crate) fn command_with(site: &Site, keys: &str, pipes: &str) -> Command {
    let path = |name| site.path(name).display().to_string();
    let config = format!(
        "{keys}pid_file = \"{}\"\n[log]\ntarget = \"file\"\npath = \"{}\"\n[control]\nsocket = \"{}\"\n{pipes}",
        path("pid"),
        path("own.log"),
        path("control"),
    );
    fs::write(site.path("bdaemon.toml"), config).unwrap();
    let mut command = Command::new(program());
    command.arg("-f").arg("-c").arg(site.path("bdaemon.toml"));
    command
}
