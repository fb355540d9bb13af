//! The configuration: whatever the file says, it is understood or refused in one line, and what
//! was understood is printed as a file that says the same.

use std::path::Path;

use bdaemon::config::Config;

use super::framer::is_safe;

/// Any text, as a file.
pub fn check(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let path = Path::new("/etc/bdaemon.toml");
    match Config::parse(path, source) {
        Ok(config) => {
            check_meaning(&config);
            let printed = config.to_string();
            let again = Config::parse(path, &printed);
            let again =
                again.unwrap_or_else(|error| panic!("{error} in what it printed:\n{printed}"));
            assert_eq!(again, config, "printed as:\n{printed}");
            assert_eq!(again.to_string(), printed);
        }
        Err(error) => {
            let said = error.to_string();
            let place = said.strip_prefix("/etc/bdaemon.toml:").expect("the file's name first");
            let mut parts = place.splitn(3, ':');
            let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok());
            let (line, column) = (number().expect("a line"), number().expect("a column"));
            assert!(line >= 1 && line <= source.matches('\n').count() + 1, "{said}");
            assert!(column >= 1, "{said}");
            assert!(is_safe(&said), "one line, and nothing odd in it: {said:?}");
        }
    }
}

/// What the rest of the program takes for granted.
fn check_meaning(config: &Config) {
    assert!(!config.pipes.is_empty());
    assert!(!config.poll_interval.is_zero(), "it would never sleep");
    let mut paths = vec![config.pid_file.clone()];
    if config.control.enable {
        paths.push(config.control.socket.clone());
    }
    for pipe in &config.pipes {
        assert!(pipe.max_record >= 16, "{pipe:?}");
        assert_eq!(config.pipes.iter().filter(|other| other.name == pipe.name).count(), 1);
        paths.extend([pipe.path.clone(), pipe.lock_path()]);
    }
    for path in &paths {
        assert!(path.is_absolute() && path.file_name().is_some(), "{}", path.display());
        assert_eq!(paths.iter().filter(|other| *other == path).count(), 1, "{}", path.display());
    }
}
