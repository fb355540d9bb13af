//! Who uses which path, so that two uses of one path are found before anything is opened.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::Fault;
use super::schema;
use super::values::span_if;
use super::{FileMode, Sync, Target};

/// The uses of paths that were found so far.
#[derive(Default)]
pub(super) struct Uses(HashMap<PathBuf, Use>);

struct Use {
    /// For what.
    by: String,
    /// Where the path is written; nowhere if it is a default.
    at: Option<Range<usize>>,
    /// Log files may be used by many, in one way.
    log_file: Option<(FileMode, Sync)>,
}

impl Uses {
    /// Notes a path that nothing else may use.
    pub(super) fn claim(
        &mut self,
        path: &Path,
        by: impl Into<String>,
        at: Option<Range<usize>>,
    ) -> Result<(), Fault> {
        let new = Use { by: by.into(), at, log_file: None };
        match self.0.get(path) {
            Some(old) => Err(collision(path, old, &new)),
            None => {
                self.0.insert(path.to_owned(), new);
                Ok(())
            }
        }
    }

    /// Notes the log file, if it is one, that `section` names.
    pub(super) fn write_to(&mut self, target: &Target, section: &schema::Log) -> Result<(), Fault> {
        let Target::File { path, mode, sync, .. } = target else { return Ok(()) };
        let at = span_if(section.path.as_ref()).or_else(|| span_if(section.target.as_ref()));
        let new = Use { by: "a log file".to_owned(), at, log_file: Some((*mode, *sync)) };
        let Some(old) = self.0.get(path) else {
            self.0.insert(path.clone(), new);
            return Ok(());
        };
        let Some((old_mode, old_sync)) = old.log_file else {
            return Err(collision(path, old, &new));
        };
        let (what, key) = if old_mode != *mode {
            ("mode", span_if(section.mode.as_ref()))
        } else if old_sync != *sync {
            ("sync", span_if(section.sync.as_ref()))
        } else {
            return Ok(());
        };
        let text = format!("{} has another {what} elsewhere; a file has one", path.display());
        Err(Fault::at(key.or(new.at).unwrap_or_default(), text))
    }
}

/// A default is not at fault: what was written is.
fn collision(path: &Path, old: &Use, new: &Use) -> Fault {
    let at = new.at.clone().or_else(|| old.at.clone()).unwrap_or_default();
    let path = path.display();
    Fault::at(at, format!("{path} is {} and {}; choose another path", old.by, new.by))
}
