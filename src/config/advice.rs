//! What a configuration needs of the machine that it will run on, and does not find there yet.
//! None of it is an error of the file: another machine, or a later moment, may have it.

use std::collections::BTreeSet;
use std::path::Path;

use nix::unistd::User;

use super::{Config, Target};
use crate::sys::account;

impl Config {
    /// Sentences for the administrator, one for each thing that will keep the daemon from working
    /// as configured on this machine; empty when all is well.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        self.advise_on_accounts(&mut advice);
        let run_as = self.user.as_deref().and_then(|name| account::user(name).ok());
        let run_as = run_as.filter(|user| !user.uid.is_root());
        self.advise_on_directories(run_as.as_ref(), &mut advice);
        if let Some(user) = &run_as {
            self.advise_on_ownership(user, &mut advice);
        }
        advice
    }

    fn advise_on_accounts(&self, advice: &mut Vec<String>) {
        let owners = self.pipes.iter().filter_map(|pipe| pipe.owner.as_deref());
        for name in self.user.as_deref().into_iter().chain(owners).collect::<BTreeSet<_>>() {
            if let Err(why) = account::user(name) {
                advice.push(why.to_string());
            }
        }
        let groups = self.pipes.iter().filter_map(|pipe| pipe.group.as_deref());
        let groups = groups.chain(self.group.as_deref()).chain(self.control.group.as_deref());
        for name in groups.collect::<BTreeSet<_>>() {
            if let Err(why) = account::group(name) {
                advice.push(why.to_string());
            }
        }
    }

    /// A daemon that has become `user` must still be able to remove and remake what it made.
    fn advise_on_directories(&self, user: Option<&User>, advice: &mut Vec<String>) {
        let made = self.directories_of_made_files();
        for directory in made.union(&self.directories_of_log_files()) {
            let place = directory.display();
            match nix::sys::stat::stat(*directory) {
                Err(why) => advice.push(format!("{place}: {}; make this directory", why.desc())),
                Ok(stat) => {
                    let Some(user) = user.filter(|_| made.contains(directory)) else {
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

    /// Only root gives files away, and only to a group of one's own can others: what root makes at
    /// the start could not be made again.
    fn advise_on_ownership(&self, user: &User, advice: &mut Vec<String>) {
        let run_as = self.group.as_deref().and_then(|name| account::group(name).ok());
        let groups = account::groups_of(user, run_as.unwrap_or(user.gid));
        for pipe in &self.pipes {
            let owner = pipe.owner.as_deref().and_then(|name| account::user(name).ok());
            if let Some(owner) = owner.filter(|owner| owner.uid != user.uid) {
                advice.push(format!(
                    "pipe {}: {} could not make it again for its owner {}; leave `owner` out",
                    pipe.name, user.name, owner.name
                ));
            }
            let group = pipe
                .group
                .as_deref()
                .filter(|name| account::group(name).is_ok_and(|gid| !groups.contains(&gid)));
            if let Some(group) = group {
                advice.push(format!(
                    "pipe {}: {} could not make it again for the group {group}; make {} a member",
                    pipe.name, user.name, user.name
                ));
            }
        }
        let group = self.control.group.as_deref().filter(|name| {
            let gid = account::group(name);
            self.control.enable && gid.is_ok_and(|gid| !groups.contains(&gid))
        });
        if let Some(group) = group {
            advice.push(format!(
                "control socket: {} could not make it again for the group {group}; make {} a member",
                user.name, user.name
            ));
        }
        for path in self.log_files().collect::<BTreeSet<_>>() {
            let stat = nix::sys::stat::lstat(path).ok();
            if stat.is_some_and(|stat| !account::may_write(user, &groups, &stat)) {
                advice.push(format!(
                    "{}: {} could not open it again after a rotation; give it to that user",
                    path.display(),
                    user.name
                ));
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
        self.log_files().filter_map(Path::parent).collect()
    }

    fn log_files(&self) -> impl Iterator<Item = &Path> {
        self.logs().filter_map(|log| match &log.target {
            Target::File { path, .. } => Some(path.as_path()),
            Target::Syslog { .. } | Target::Stderr => None,
        })
    }
}
