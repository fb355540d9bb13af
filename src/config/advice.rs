//! What a configuration needs of the machine that it will run on, and does not find there yet.
//! None of it is an error of the file: another machine, or a later moment, may have it.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Config, Target};
use crate::sys::account;

impl Config {
    /// Sentences for the administrator, one for each thing that will keep the daemon from working
    /// as configured on this machine; empty when all is well.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        self.advise_on_accounts(&mut advice);
        self.advise_on_directories(&mut advice);
        advice
    }

    fn advise_on_accounts(&self, advice: &mut Vec<String>) {
        let owners = self.pipes.iter().filter_map(|pipe| pipe.owner.as_deref());
        for name in self.user.as_deref().into_iter().chain(owners).collect::<BTreeSet<_>>() {
            if let Err(why) = account::user(name) {
                advice.push(format!("{why}; make it, for instance with pw(8)"));
            }
        }
        let groups = self.pipes.iter().filter_map(|pipe| pipe.group.as_deref());
        let groups = groups.chain(self.group.as_deref()).chain(self.control.group.as_deref());
        for name in groups.collect::<BTreeSet<_>>() {
            if let Err(why) = account::group(name) {
                advice.push(format!("{why}; make it, for instance with pw(8)"));
            }
        }
    }

    /// A daemon that has become `user` must still be able to remove and remake what it made.
    fn advise_on_directories(&self, advice: &mut Vec<String>) {
        let user = self.user.as_deref().and_then(|name| account::user(name).ok());
        let user = user.filter(|user| !user.uid.is_root());
        let made = self.directories_of_made_files();
        for directory in made.union(&self.directories_of_log_files()) {
            let place = directory.display();
            match nix::sys::stat::stat(*directory) {
                Err(why) => advice.push(format!("{place}: {}; make this directory", why.desc())),
                Ok(stat) => {
                    let Some(user) = user.as_ref().filter(|_| made.contains(directory)) else {
                        continue;
                    };
                    if stat.st_uid != user.uid.as_raw() {
                        advice.push(format!(
                            "{place} is not owned by {}, who cannot remove or remake files there; \
                             use a directory of its own, such as /var/run/bdaemon",
                            user.name
                        ));
                    }
                }
            }
        }
    }

    /// Where the daemon makes files, and removes them when it ends.
    fn directories_of_made_files(&self) -> BTreeSet<&Path> {
        let pipes = self.pipes.iter().filter_map(|pipe| pipe.path.parent());
        let socket = self.control.enable.then(|| self.control.socket.parent()).flatten();
        pipes.chain(self.pid_file.parent()).chain(socket).collect()
    }

    /// Log files stay, and newsyslog(8) makes new ones: their directories need only be there.
    fn directories_of_log_files(&self) -> BTreeSet<&Path> {
        let logs = self.pipes.iter().map(|pipe| &pipe.log).chain([&self.log]);
        logs.filter_map(|log| match &log.target {
            Target::File { path, .. } => path.parent(),
            Target::Syslog { .. } | Target::Stderr => None,
        })
        .collect()
    }
}
