//! The figures that are committed, and what they depend on.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// cargo runs a bench in the directory of its package.
pub(crate) const PATH: &str = "benches/instructions.toml";

const HEAD: &str = "\
# Instructions that bdaemon executes for a record, as `make bench-instructions` counts them and
# `make bench-instructions-update` writes them. They depend on the compiler, and on whether the
# processor has what the search for bytes is done with.
";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    pub(crate) rustc: String,
    pub(crate) machine: String,
    pub(crate) per_record: BTreeMap<String, f64>,
}

impl Figures {
    pub(crate) fn of_this_machine(per_record: Vec<(&'static str, f64)>) -> Self {
        let rustc = Command::new("rustc").arg("--version").output().unwrap().stdout;
        // One digit is more than what matters.
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        Self {
            rustc: String::from_utf8(rustc).unwrap().trim().to_owned(),
            machine: machine(),
            per_record: per_record
                .into_iter()
                .map(|(outlet, figure)| (outlet.to_owned(), rounded(figure)))
                .collect(),
        }
    }

    pub(crate) fn committed() -> Self {
        toml::from_str(&fs::read_to_string(PATH).unwrap()).unwrap()
    }

    pub(crate) fn commit(&self) {
        fs::write(PATH, format!("{HEAD}{}", toml::to_string(self).unwrap())).unwrap();
    }
}

/// The architecture, and the one choice that memchr makes when it runs.
fn machine() -> String {
    #[cfg(target_arch = "x86_64")]
    let vectors =
        if std::is_x86_feature_detected!("avx2") { " with AVX2" } else { " without AVX2" };
    #[cfg(not(target_arch = "x86_64"))]
    let vectors = "";
    format!("{} {}{vectors}", std::env::consts::OS, std::env::consts::ARCH)
}
