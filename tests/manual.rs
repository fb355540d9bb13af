//! The manual pages say what the programs and the configuration have, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use bdaemon::config::{self, Config};
use bdaemon::control::protocol::{Greeting, Reply, Request};
use serde_json::Value;

use common::{BDAEMON, BDAEMONCTL, described, has_program_or_skip, text};

const BDAEMON_PAGE: &str = include_str!("../man/bdaemon.8");
const BDAEMONCTL_PAGE: &str = include_str!("../man/bdaemonctl.8");
const TOML_PAGE: &str = include_str!("../man/bdaemon.toml.5");
const PROTOCOL_TEXT: &str = include_str!("../docs/control-protocol.md");

/// The page's heading for what stands above the first section of the file.
const TOP: &str = "The top";

/// The lines below a heading, `.Sh NAME` or `.Ss NAME`, to the next one of its kind or above.
fn below<'a>(page: &'a str, heading: &str) -> Vec<&'a str> {
    let is_subsection = heading.starts_with(".Ss ");
    let ends = |line: &str| line.starts_with(".Sh ") || (is_subsection && line.starts_with(".Ss "));
    let mut lines = page.lines().skip_while(|line| *line != heading);
    assert_eq!(lines.next(), Some(heading), "no such heading");
    lines.take_while(|line| !ends(line)).collect()
}

/// The flags of the items `.It Fl c Ar file , Fl -config Ar file`, as they are typed.
fn documented_flags<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let items = lines.into_iter().filter(|line| line.starts_with(".It Fl "));
    items
        .flat_map(|item| {
            let words: Vec<_> = item.split_whitespace().collect();
            let flags = words.windows(2).filter(|pair| pair[0].trim_start_matches('.') == "Fl");
            flags.map(|pair| format!("-{}", pair[1])).collect::<Vec<_>>()
        })
        .collect()
}

/// The short help: an option a paragraph, also where its values have a help of their own.
fn help(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).arg("-h").output().unwrap();
    assert!(output.status.success(), "{}", described(&output));
    text(&output.stdout)
}

/// The lines of a part of a help text, such as `Options:`.
fn help_part<'a>(help: &'a str, title: &str) -> impl Iterator<Item = &'a str> {
    help.lines().skip_while(move |line| *line != title).skip(1).take_while(|line| !line.is_empty())
}

/// The flags that a help text shows: `  -c, --config <FILE>  ...`.
fn flags(help: &str) -> BTreeSet<String> {
    let items = help_part(help, "Options:").map(str::trim).filter(|line| line.starts_with('-'));
    let flags: BTreeSet<_> = items
        .flat_map(|item| item.split_whitespace().take_while(|word| word.starts_with('-')))
        .map(|flag| flag.trim_end_matches(',').to_owned())
        .collect();
    assert!(flags.contains("--help"), "not understood: {help}");
    flags
}

fn commands(help: &str) -> BTreeSet<&str> {
    let items = help_part(help, "Commands:").filter_map(|line| line.strip_prefix("  "));
    items.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(' ').next()).collect()
}

/// The keys of `bdaemon.toml` by section, with what the page says that their defaults are:
/// `.It Ic poll_interval No = Qq 5s`.
fn documented_keys() -> BTreeSet<(String, String, Option<String>)> {
    let mut found = BTreeSet::new();
    let mut section = None;
    for line in TOML_PAGE.lines() {
        if let Some(heading) = line.strip_prefix(".Ss ") {
            section = Some(if heading == TOP { "" } else { heading.trim_matches(['[', ']']) });
        } else if line.starts_with(".Sh ") {
            section = None;
        } else if let Some(item) = line.strip_prefix(".It Ic ") {
            let section = section.expect("keys stand in a section").to_owned();
            let (key, default) = match item.split_once(" No = ") {
                None => (item, None),
                Some((key, value)) => (key, Some(value)),
            };
            let value = default.map(|value| match value.strip_prefix("Qq ") {
                Some(string) => format!("\"{string}\""),
                None => value.to_owned(),
            });
            found.insert((section, key.to_owned(), value));
        }
    }
    found
}

/// What `Display` prints: section, key, value.
fn printed(config: &Config) -> BTreeSet<(String, String, String)> {
    let mut section = String::new();
    let mut found = BTreeSet::new();
    for line in config.to_string().lines() {
        if line.starts_with('[') {
            line.trim_matches(['[', ']']).clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once(" = ") {
            found.insert((section.clone(), key.to_owned(), value.to_owned()));
        }
    }
    found
}

/// The page shows FreeBSD's defaults; two are others on Linux.
fn of_this_system(value: &str) -> &str {
    match value {
        "\"unix:/var/run/log\"" if cfg!(target_os = "linux") => "\"unix:/dev/log\"",
        "\"rfc5424\"" if cfg!(target_os = "linux") => "\"rfc3164\"",
        other => other,
    }
}

#[test]
fn the_page_of_bdaemon_has_every_flag_and_no_other() {
    assert_eq!(documented_flags(BDAEMON_PAGE.lines()), flags(&help(BDAEMON, &[])));
}

#[test]
fn the_page_of_bdaemonctl_has_every_command_and_flag_and_no_other() {
    let top = help(BDAEMONCTL, &[]);
    let headings = below(BDAEMONCTL_PAGE, ".Sh COMMANDS");
    let headings = headings.into_iter().filter_map(|line| line.strip_prefix(".Ss "));
    assert_eq!(headings.collect::<BTreeSet<_>>(), commands(&top));

    let common = documented_flags(below(BDAEMONCTL_PAGE, ".Sh DESCRIPTION"));
    assert_eq!(common, flags(&top));
    let mut all = common.clone();
    for command in commands(&top) {
        let documented = documented_flags(below(BDAEMONCTL_PAGE, &format!(".Ss {command}")));
        // `help` is clap's own, and has no help.
        let known = match command {
            "help" => BTreeSet::new(),
            _ => &flags(&help(BDAEMONCTL, &[command])) - &common,
        };
        assert_eq!(documented, known, "{command}");
        all.extend(documented);
    }
    assert_eq!(documented_flags(BDAEMONCTL_PAGE.lines()), all, "flags stand where they belong");
}

#[test]
fn the_page_of_the_configuration_has_every_key_and_no_other() {
    let documented: BTreeSet<_> =
        documented_keys().into_iter().map(|(section, key, _)| (section, key)).collect();
    let known: BTreeSet<_> = config::keys()
        .into_iter()
        .flat_map(|(section, keys)| keys.into_iter().map(move |key| (section, key)))
        .map(|(section, key)| (section.to_owned(), key.to_owned()))
        .collect();
    assert_eq!(documented, known);
}

#[test]
fn the_defaults_in_the_page_are_the_built_in_ones() {
    let documented: BTreeSet<_> = documented_keys()
        .into_iter()
        .filter_map(|(section, key, value)| {
            value.map(|value| (section, key, of_this_system(&value).to_owned()))
        })
        .collect();
    let file = Config::parse(Path::new("x"), "[log]\ntarget = \"file\"\n").unwrap();
    let is_chosen = |key: &str, value: &str| key == "target" && value == "\"file\"";
    let of_file = printed(&file).into_iter().filter(|(_, key, value)| !is_chosen(key, value));
    let mut known = printed(&Config::default());
    known.extend(of_file);
    // A pipe's own target has those of [log].
    known.retain(|(section, ..)| section != "pipe.log");
    assert_eq!(documented, known);
}

#[test]
fn the_configurations_in_the_pages_can_be_used() {
    let mut examples = 0;
    for page in [TOML_PAGE, BDAEMON_PAGE] {
        let lines = below(page, ".Sh EXAMPLES").join("\n");
        for block in lines.split(".Bd -literal -offset indent\n").skip(1) {
            let (block, _) = block.split_once("\n.Ed").expect("an end of the example");
            // In a here document, or all of it.
            let source = match block.split_once("<<EOF\n") {
                Some((_, rest)) => rest.split_once("\nEOF\n").expect("its end").0,
                None if block.contains(" = ") => block,
                None => continue,
            };
            Config::parse(Path::new("example"), source)
                .unwrap_or_else(|error| panic!("{error}\n{source}"));
            examples += 1;
        }
    }
    assert_eq!(examples, 3);
}

/// The lines of the examples that are marked so, as they are on the wire.
fn wire(mark: &str) -> impl Iterator<Item = Value> {
    let marked = PROTOCOL_TEXT.lines().filter_map(move |line| line.trim_start().strip_prefix(mark));
    marked.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
}

/// The names of all fields in a value, however deep.
fn fields(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(name, v)| [name.clone()].into_iter().chain(fields(v)))
            .collect(),
        Value::Array(values) => values.iter().flat_map(fields).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn the_examples_of_the_protocol_are_what_the_programs_say() {
    let mut commands = BTreeSet::new();
    for value in wire("> ") {
        commands.insert(value["command"].to_string());
        // One that does not know a field refuses it.
        serde_json::from_value::<Request>(value).unwrap();
    }
    assert_eq!(commands.len(), 7, "{commands:?}");
    let mut replies = BTreeSet::new();
    for value in wire("< ") {
        let encoded = if value.get("protocol").is_some() {
            serde_json::to_value(serde_json::from_value::<Greeting>(value.clone()).unwrap())
        } else {
            replies.insert(value["reply"].to_string());
            serde_json::to_value(serde_json::from_value::<Reply>(value.clone()).unwrap())
        };
        assert_eq!(encoded.unwrap(), value, "no field too few or too many");
    }
    assert_eq!(replies.len(), 8, "{replies:?}");
}

#[test]
fn the_page_of_bdaemonctl_has_the_fields_of_its_json() {
    let blocks = below(BDAEMONCTL_PAGE, ".Sh JSON").join("\n");
    let blocks = blocks.split(".Bd -literal -compact\n").skip(1);
    let blocks = blocks.map(|block| block.split_once("\n.Ed").expect("an end of the block").0);
    let names = blocks.flat_map(|block| block.split("\":").map(str::to_owned).collect::<Vec<_>>());
    let names = names.filter_map(|before| before.rsplit_once('"').map(|(_, name)| name.to_owned()));
    let is_name = |name: &String| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let documented: BTreeSet<_> = names.filter(is_name).collect();

    let shown = ["status", "record"];
    let shown = wire("< ").filter(|value| shown.iter().any(|reply| value["reply"] == *reply));
    let mut known: BTreeSet<_> = shown.flat_map(|value| fields(&value)).collect();
    known.remove("reply");
    known.extend(["drained", "lost"].map(str::to_owned));
    assert_eq!(documented, known);
}

#[test]
fn mandoc_finds_nothing_wrong_with_the_pages() {
    if !has_program_or_skip("mandoc") {
        return;
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    for page in ["bdaemon.8", "bdaemonctl.8", "bdaemon.toml.5"] {
        let mut mandoc = Command::new("mandoc");
        let output =
            mandoc.args(["-T", "lint", "-W", "warning"]).arg(directory.join(page)).output();
        let output = output.unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}", described(&output));
    }
}
