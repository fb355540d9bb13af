//! A change of configuration: what a start does from nothing, and a reload from what there is.
//!
//! It comes in two steps. [`Change::prepare`] does all that can fail, and undoes it when something
//! does; [`Change::commit`] cannot fail. Pipes and targets that are the same before and after are
//! not touched.

use std::fs::File;
use std::io;
use std::path::Path;

use super::commands::Refusal;
use super::inlet::{Inlet, OutletId};
use super::outlet::Outlet;
use super::relay::Relay;
use super::start::StartError;
use super::{Daemon, journal};
use crate::config::{self, Config};
use crate::exit::Sysexit;
use crate::line::{Line, Sender};
use crate::pipe::{Origin, Pipe, PipeError, Rights};
use crate::sys::account::Identity;
use crate::sys::why;
use crate::target::Destination;

/// What is open that was not before, and what is kept.
pub(super) struct Change {
    /// Descriptors to spare: finding a directory takes two, and undoing the rest has to find some
    /// also when there are no others left.
    spare: [File; 2],
    outlets: Vec<Outlet>,
    pipes: Vec<Planned>,
}

/// A pipe of the new configuration.
struct Planned {
    settings: config::Pipe,
    rights: Rights,
    /// Open, if there was none at its path before.
    new: Option<Pipe>,
}

impl Planned {
    fn path(&self) -> &Path {
        &self.settings.path
    }
}

impl Change {
    /// Opens what `config` has and `relay` has not.
    pub(super) fn prepare(
        relay: &Relay,
        config: &Config,
        identity: Option<&Identity>,
        starting: bool,
    ) -> Result<Self, StartError> {
        let spare = || File::open("/dev/null").map_err(StartError::os("/dev/null"));
        let spare = [spare()?, spare()?];
        let mut change = Self { spare, outlets: Vec::new(), pipes: Vec::new() };
        match change.open(relay, config, identity, starting) {
            Ok(()) => Ok(change),
            Err(error) => {
                change.undo(relay);
                Err(error)
            }
        }
    }

    fn open(
        &mut self,
        relay: &Relay,
        config: &Config,
        identity: Option<&Identity>,
        starting: bool,
    ) -> Result<(), StartError> {
        for log in config.logs() {
            let destination = Destination::from(&log.target);
            let opened =
                self.outlets.iter().any(|outlet| outlet.destination.is_same_place(&destination));
            if !opened && relay.outlets.find(&destination).is_none() {
                let outlet = Outlet::open(destination.clone(), identity)
                    .map_err(|cause| StartError::Target { destination, cause })?;
                self.outlets.push(outlet);
            }
        }
        for settings in &config.pipes {
            let failed = |cause| StartError::Pipe {
                name: settings.name.clone(),
                path: settings.path.clone(),
                cause,
            };
            let rights =
                Rights::resolve(settings, identity).map_err(|error| failed(error.into()))?;
            let new = match serving(&relay.inlets, &settings.path) {
                Some(inlet) => {
                    if inlet.rights != rights {
                        inlet.pipe.set_rights(&rights).map_err(|cause| {
                            // What was changed before the failure is put back.
                            let _ = inlet.pipe.set_rights(&inlet.rights);
                            failed(PipeError::during("setting owner and mode")(cause))
                        })?;
                    }
                    None
                }
                None => Some(Pipe::open(&settings.path, &rights, starting).map_err(failed)?),
            };
            self.pipes.push(Planned { settings: settings.clone(), rights, new });
        }
        Ok(())
    }

    /// Makes everything as it was. What fails now is not worth more words than the error that led
    /// here.
    pub(super) fn undo(self, relay: &Relay) {
        drop(self.spare);
        for mut outlet in self.outlets {
            outlet.discard();
        }
        for planned in self.pipes {
            if let Some(inlet) = serving(&relay.inlets, planned.path()) {
                let _ = inlet.pipe.set_rights(&inlet.rights);
            }
            if let Some(pipe) = planned.new {
                pipe.discard();
            }
        }
    }

    /// Puts the change into force.
    pub(super) fn commit(self, relay: &mut Relay, config: &Config) {
        for outlet in self.outlets {
            relay.outlets.add(outlet);
        }
        relay.sender = Sender::this_process();
        for destination in config.logs().map(|log| Destination::from(&log.target)) {
            let id = relay.outlets.find(&destination);
            if let Some(outlet) = id.and_then(|id| relay.outlets.get_mut(id)) {
                outlet.configure(destination, config.poll_interval);
            }
        }
        relay.own = outlet_of(relay, &config.log)
            .map(|id| (Line::of_daemon(&config.log, &relay.sender), id));
        for inlet in &mut relay.inlets {
            let kept = self.pipes.iter().any(|planned| planned.path() == inlet.settings.path);
            if !kept && !inlet.retired {
                retire(inlet);
            }
        }
        for Planned { settings, rights, new } in self.pipes {
            // `prepare` has opened a target for every pipe.
            let Some(outlet) = outlet_of(relay, &settings.log) else { continue };
            match new {
                Some(pipe) => {
                    let how = match pipe.origin() {
                        Origin::Created => "created",
                        Origin::Adopted => "adopted",
                    };
                    log::info!("pipe {how}: {} ({})", settings.path.display(), settings.name);
                    relay.inlets.push(Inlet::new(settings, rights, pipe, outlet, &relay.sender));
                }
                None => {
                    let serving =
                        relay.inlets.iter_mut().find(|inlet| serves(inlet, &settings.path));
                    if let Some(inlet) = serving {
                        inlet.configure(settings, rights, outlet, &relay.sender);
                    }
                }
            }
        }
        // The first one is that of those who name none.
        relay.inlets.sort_by_key(|inlet| {
            let is_its = |pipe: &config::Pipe| serves(inlet, &pipe.path);
            config.pipes.iter().position(is_its).unwrap_or(usize::MAX)
        });
    }
}

fn outlet_of(relay: &Relay, log: &config::Log) -> Option<OutletId> {
    relay.outlets.find(&Destination::from(&log.target))
}

fn serves(inlet: &Inlet, path: &Path) -> bool {
    !inlet.retired && inlet.settings.path == path
}

/// The inlet that reads the pipe at this path.
fn serving<'a>(inlets: &'a [Inlet], path: &Path) -> Option<&'a Inlet> {
    inlets.iter().find(|inlet| serves(inlet, path))
}

/// Takes a pipe's name away; it is read on until its writers have gone.
pub(super) fn retire(inlet: &mut Inlet) {
    inlet.retired = true;
    let removed: io::Result<()> = inlet.pipe.retire();
    if let Err(error) = removed {
        log::warn!(
            "pipe {}: removing {}: {}",
            inlet.settings.name,
            inlet.settings.path.display(),
            why(&error)
        );
    }
}

impl Daemon {
    /// Reads the configuration again, and takes it or leaves everything as it was; opens the
    /// targets anew either way. Says what went wrong; that is logged as well.
    pub(super) fn reload(&mut self) -> Result<(), Refusal> {
        let outcome = self.try_reload().map_err(|error| error.to_string());
        match &outcome {
            Ok(()) => {
                self.reloads += 1;
                log::info!("configuration reloaded");
            }
            Err(error) => {
                self.failed_reloads += 1;
                self.last_reload_error = Some(error.clone());
                log::error!("configuration not reloaded, everything stays as it was: {error}");
            }
        }
        let reopened = self.reopen();
        outcome.map_err(|why| (Sysexit::Config, why))?;
        reopened.map_err(|why| (Sysexit::CantCreat, format!("configuration reloaded, but {why}")))
    }

    fn try_reload(&mut self) -> Result<(), StartError> {
        let mut config = Config::load(self.config_path.as_deref())?;
        if let Some(path) = &self.pid_file_option {
            config.set_pid_file(path).map_err(StartError::PidFileOption)?;
        }
        for (changed, key) in [
            (config.pid_file != self.config.pid_file, "pid_file"),
            (config.user != self.config.user, "user"),
            (config.group != self.config.group, "group"),
            (config.control != self.config.control, "[control]"),
        ] {
            if changed {
                return Err(StartError::NeedsRestart(key));
            }
        }
        if !self.has_stderr && config.logs().any(|log| log.target == config::Target::Stderr) {
            return Err(StartError::NoStderr);
        }
        let change = Change::prepare(&self.relay, &config, self.identity.as_ref(), false)?;
        // Messages about what comes are at the level that was just asked for.
        journal::install(config.log_level);
        change.commit(&mut self.relay, &config);
        self.next_look = self.next_look.min(std::time::Instant::now() + config.poll_interval);
        self.config = config;
        Ok(())
    }
}
