//! Where and with what it was measured.

use std::fs;
use std::process::Command;

pub(crate) struct System {
    pub(crate) date: String,
    pub(crate) system: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) rustc: String,
}

impl System {
    pub(crate) fn look() -> Self {
        Self {
            date: jiff::Zoned::now().date().to_string(),
            system: system(),
            processor: processor(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            rustc: said(Command::new("rustc").arg("--version")),
        }
    }
}

/// The system's name, its version without what a vendor has appended, and the machine's kind.
fn system() -> String {
    let uname = said(Command::new("uname").arg("-srm"));
    let words = uname.split_whitespace().map(|word| word.split('-').next().unwrap_or(word));
    words.collect::<Vec<_>>().join(" ")
}

fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// The model's name: of proc(5) on Linux, of sysctl(8) on the BSDs.
fn processor() -> String {
    if cfg!(target_os = "linux") {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
    } else {
        said(Command::new("sysctl").args(["-n", "hw.model"]))
    }
}

/// The version of an installed package.
pub(crate) fn version(package: &str) -> String {
    let mut query = if cfg!(target_os = "linux") {
        let mut query = Command::new("dpkg-query");
        query.args(["-W", "-f", "${Version}", package]);
        query
    } else {
        let mut query = Command::new("pkg");
        query.args(["query", "%v", package]);
        query
    };
    let version = said(&mut query);
    if version.is_empty() { "unknown version".to_owned() } else { version }
}
